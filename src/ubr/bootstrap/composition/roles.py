"""Builds the use cases of roles."""

from __future__ import annotations

from ubr.application.app import RoleUseCases
from ubr.application.roles.assign_role import AssignRole
from ubr.application.roles.create_role import CreateRole
from ubr.application.roles.delete_role import DeleteRole
from ubr.application.roles.get_role import GetRole
from ubr.application.roles.list_roles import ListRoles
from ubr.application.roles.list_user_roles import ListUserRoles
from ubr.application.roles.permits import Permits
from ubr.application.roles.unassign_role import UnassignRole
from ubr.application.roles.update_role import UpdateRole
from ubr.bootstrap.ports import Ports
from ubr.bootstrap.services import Services


def role_use_cases(ports: Ports, services: Services) -> RoleUseCases:
    return RoleUseCases(
        get_role=GetRole(authorize=services.authorize, unit_of_work=services.unit_of_work, denials=services.denials),
        list_roles=ListRoles(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            pager=services.pager,
            denials=services.denials,
        ),
        create_role=CreateRole(
            unit_of_work=services.unit_of_work,
            new_id=ports.new_id,
            policy=ports.decisions.policy,
            idempotency=services.idempotency,
            denials=services.denials,
        ),
        update_role=UpdateRole(
            unit_of_work=services.unit_of_work, policy=ports.decisions.policy, denials=services.denials
        ),
        delete_role=DeleteRole(unit_of_work=services.unit_of_work, denials=services.denials),
        assign_role=AssignRole(
            unit_of_work=services.unit_of_work, clock=ports.clock, denials=services.denials, hooks=ports.hooks
        ),
        permits=Permits(authorize=services.authorize, policy=ports.decisions.policy),
        unassign_role=UnassignRole(unit_of_work=services.unit_of_work, denials=services.denials, hooks=ports.hooks),
        list_user_roles=ListUserRoles(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            clock=ports.clock,
            pager=services.pager,
            denials=services.denials,
        ),
    )
