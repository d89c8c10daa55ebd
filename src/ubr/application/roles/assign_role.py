from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from ubr.application.access.authorization import authority, keep_an_admin, permissions_of
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.hooks import NO_HOOKS, Hooks
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.system import Clock
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import BuiltInRole, Invalid, RoleNotFound, UserNotFound
from ubr.domain.ids import UserId
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.grant import MIN_GRANT_DURATION
from ubr.domain.roles.permissions import ROLES_ASSIGN, Permissions, forbid_escalation
from ubr.domain.roles.role import USER_ROLE_ID, RoleName
from ubr.domain.text import parse_moment


class AssignRoleCommand(Command, frozen=True, kw_only=True):
    """`expires_at` None means without end."""

    user_id: UUID
    role: str
    expires_at: datetime | None = None


class AssignRole(msgspec.Struct, frozen=True):
    """Assign a role to a user, without end or until a moment at least 60 seconds ahead.

    - Requires `roles:assign`.
    - No escalation: neither the user nor the role may hold a permission that the actor lacks, and the grant ends
      no later than the actor's own.
    - Assigning it again changes its end. If nothing changes, that is not an error.
    - The last administrator's grant cannot get an end.
    - Every user has `user`: it cannot be assigned or ended.
    """

    unit_of_work: EndingUnitOfWork
    clock: Clock
    denials: DenialLog
    hooks: Hooks = NO_HOOKS

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: AssignRoleCommand, /, *, actor: Actor | System) -> None:
        name = RoleName.parse(command.role, "")
        expires_at = self._end(command.expires_at)
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
            forbid_escalation(who.permissions, role.permissions)
            if role.id == USER_ROLE_ID:
                raise BuiltInRole("Everyone has the role user, for good")
            who.forbid_outliving(role.permissions | Permissions.of([ROLES_ASSIGN]), expires_at, tx.now)
            was_lasting = user.lasting_admin
            user.grant(role.id, by=who.user_id, now=tx.now, expires_at=expires_at)
            await keep_an_admin(tx, user, was_lasting=was_lasting)
            await tx.users.save(user)

    def _end(self, raw: datetime | None) -> datetime | None:
        if raw is None:
            return None
        end = parse_moment(raw, "/expires_at")
        if end - self.clock() < MIN_GRANT_DURATION:
            raise Invalid.at("/expires_at", "must be at least 60 seconds ahead")
        return end
