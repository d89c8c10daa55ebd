"""Roles."""

from __future__ import annotations

from ubr.application.kernel.representations import Page, RoleResult
from ubr.application.roles.create_role import CreateRole, CreateRoleCommand
from ubr.application.roles.delete_role import DeleteRole, DeleteRoleCommand
from ubr.application.roles.get_role import GetRole, GetRoleCommand
from ubr.application.roles.list_roles import ListRoles, ListRolesCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRole, UpdateRoleCommand
from ubr.domain.errors import BuiltInRole, GrantExceedsOwn, InvalidCursor, RoleNameTaken, RoleNotFound
from ubr.entrypoints.http.call import Call, operation
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.responses import created, page, revised
from ubr.entrypoints.http.routing import Controller, delete, get, post, put


class Roles(Controller):
    path = "/api/roles"

    @get(
        "/",
        operation(
            ListRoles,
            "roles",
            summary="List roles",
            query=ListRolesCommand,
            answer=Page[RoleResult],
            problems=(InvalidCursor,),
        ),
    )
    async def list_all(self, call: Call) -> Response:
        return page(call, await call.ubr.list_roles(call.filters(ListRolesCommand), actor=call.actor))

    @post(
        "/",
        operation(
            CreateRole,
            "roles",
            status=201,
            summary="Create a role",
            body=CreateRoleCommand,
            answer=RoleResult,
            tagged=True,
            located=True,
            keyed=True,
            problems=(GrantExceedsOwn, RoleNameTaken),
        ),
    )
    async def create(self, call: Call) -> Response:
        command = call.command(CreateRoleCommand)
        role = await call.ubr.create_role(command, actor=call.actor, idempotency_key=call.idempotency_key)
        return created(call, role, "/api/roles", role.id)

    @get(
        "/{role_id}",
        operation(GetRole, "roles", summary="Read one role", answer=RoleResult, tagged=True, problems=(RoleNotFound,)),
    )
    async def read(self, call: Call) -> Response:
        return revised(call, await call.ubr.get_role(GetRoleCommand(role_id=call.id("role_id")), actor=call.actor))

    @put(
        "/{role_id}",
        operation(
            UpdateRole,
            "roles",
            summary="Update a role",
            body=RoleChanges,
            answer=RoleResult,
            tagged=True,
            conditional=True,
            problems=(RoleNotFound, GrantExceedsOwn, RoleNameTaken, BuiltInRole),
        ),
    )
    async def update(self, call: Call) -> Response:
        changes = call.command(RoleChanges)
        command = UpdateRoleCommand(role_id=call.id("role_id"), changes=changes, if_match=call.if_match)
        return revised(call, await call.ubr.update_role(command, actor=call.actor))

    @delete(
        "/{role_id}",
        operation(
            DeleteRole,
            "roles",
            status=204,
            summary="Delete a role",
            conditional=True,
            problems=(RoleNotFound, GrantExceedsOwn, BuiltInRole),
        ),
    )
    async def remove(self, call: Call) -> None:
        command = DeleteRoleCommand(role_id=call.id("role_id"), if_match=call.if_match)
        await call.ubr.delete_role(command, actor=call.actor)
