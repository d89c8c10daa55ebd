from __future__ import annotations

from uuid import UUID

import msgspec

from ubr.application.access.authorization import authority, keep_an_admin, permissions_of
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.hooks import NO_HOOKS, Hooks
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import RoleNotFound, UserNotFound
from ubr.domain.ids import UserId
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.permissions import ROLES_ASSIGN, forbid_escalation
from ubr.domain.roles.role import RoleName


class UnassignRoleCommand(Command, frozen=True, kw_only=True):
    user_id: UUID
    role: str


class UnassignRole(msgspec.Struct, frozen=True):
    """Remove a role from a user.

    - Requires `roles:assign`.
    - No escalation: a user with permissions that the actor lacks keeps every role.
    - Removing a role that the user does not have is not an error; `user` cannot be removed.
    - The last administrator keeps the role.
    """

    unit_of_work: EndingUnitOfWork
    denials: DenialLog
    hooks: Hooks = NO_HOOKS

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: UnassignRoleCommand, /, *, actor: Actor | System) -> None:
        name = RoleName.parse(command.role, "")
        await self.hooks.run_before(command, actor)
        async with self.unit_of_work.ending(Change("user", str(command.user_id)), actor=actor) as tx:
            who = await authority(tx, actor)
            who.require(ROLES_ASSIGN)
            user = await tx.users.get(UserId(command.user_id))
            if user is None:
                raise UserNotFound
            forbid_escalation(who.permissions, await permissions_of(tx, user))
            role = await tx.roles.by_name(name)
            if role is None:
                raise RoleNotFound
            was_lasting = user.lasting_admin
            user.ungrant(role.id, now=tx.now)
            await keep_an_admin(tx, user, was_lasting=was_lasting)
            await tx.users.save(user)
