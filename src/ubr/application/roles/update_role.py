from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from ubr.application.access.authorization import authority
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import PermissionList, RoleDescriptionStr, RoleNameStr, example
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.representations import RoleResult, check_revision, role_result, role_revision
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.application.roles.role_names import give_up_name, take_name
from ubr.domain.actor import Actor, System
from ubr.domain.errors import RoleNotFound
from ubr.domain.ids import RoleId
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.permissions import ROLES_WRITE, Permissions, forbid_escalation
from ubr.domain.roles.role import MAX_DESCRIPTION_LENGTH, RoleName
from ubr.domain.text import parse_text


class RoleChanges(Command, frozen=True, kw_only=True):
    """An absent field stays unchanged; null clears the description."""

    name: RoleNameStr | UnsetType = UNSET
    description: Annotated[RoleDescriptionStr | UnsetType | None, example(None)] = UNSET
    permissions: Annotated[PermissionList | UnsetType, example(["users:read", "logs:read"])] = UNSET


class UpdateRoleCommand(Command, frozen=True, kw_only=True):
    """`if_match` holds the revisions that the caller accepts; None accepts any."""

    role_id: UUID
    changes: RoleChanges
    if_match: tuple[str, ...] | None = None


class UpdateRole(msgspec.Struct, frozen=True):
    """Update a role. Its holders have the new permissions at once, and no session ends.

    - Requires `roles:write`.
    - No escalation: the actor must have every permission that the role has before or after the update.
    - Another name for a role that users hold also requires `roles:assign`, because other services may trust it. For a
      day, so does a name that another role gave up.
    - The name of a built-in role and the permissions of `admin` cannot be changed.
    - The permissions of `user` apply to every user, including future ones.
    """

    unit_of_work: EndingUnitOfWork
    policy: OperatorPolicy
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: UpdateRoleCommand, /, *, actor: Actor | System) -> RoleResult:
        changes = command.changes
        name = UNSET if changes.name is UNSET else RoleName.parse(changes.name)
        description = changes.description
        if isinstance(description, str):
            description = parse_text(description, "/description", longest=MAX_DESCRIPTION_LENGTH)
        permissions = UNSET if changes.permissions is UNSET else self.policy.permissions(changes.permissions)
        async with self.unit_of_work.ending(Change("role", str(command.role_id)), actor=actor) as tx:
            who = await authority(tx, actor)
            who.require(ROLES_WRITE)
            role = await tx.roles.get(RoleId(command.role_id))
            if role is None:
                raise RoleNotFound
            after = role.permissions if permissions is UNSET else permissions
            forbid_escalation(who.permissions, role.permissions, after)
            who.forbid_outliving(Permissions(after.names - role.permissions.names), None, tx.now)
            check_revision(command.if_match, role_revision(role))
            renamed = name is not UNSET and name != role.name and not role.built_in
            if renamed:
                await give_up_name(tx, who, role, renamed=True)
            role.update(
                name=role.name if name is UNSET else name,
                description=role.description if description is UNSET else description,
                permissions=after,
                held=await tx.roles.held(role.id, tx.now),
                now=tx.now,
            )
            await tx.roles.save(role)
            if renamed:
                await take_name(tx, who, role)
        return role_result(role)
