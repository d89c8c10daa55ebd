from __future__ import annotations

from uuid import UUID

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.access.field_access import reading
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.representations import UserResult, user_result
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.system import Clock
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.domain.actor import Actor, System
from ubr.domain.errors import UserNotFound
from ubr.domain.ids import UserId
from ubr.domain.roles.permissions import USERS_READ


class GetUserCommand(Command, frozen=True, kw_only=True):
    user_id: UUID


class GetUser(msgspec.Struct, frozen=True):
    """Read one user.

    - Users may read themselves; another user requires `users:read`. Without it the answer does not reveal whether
      the user exists.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    clock: Clock
    denials: DenialLog
    user_fields: UserFields = NO_FIELDS

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: GetUserCommand, /, *, actor: Actor | System) -> UserResult:
        user_id = UserId(command.user_id)
        who = await self.authorize(actor)
        view = self.user_fields.seen_by(reading(who))
        if who.principal is not None and who.is_user(user_id):
            return user_result(UserResult, who.principal.user, who.principal.roles, self.clock(), view)
        who.require(USERS_READ)
        async with self.unit_of_work.peek() as tx:
            user = await tx.users.get(user_id)
            if user is None:
                raise UserNotFound
            roles = await tx.roles.many(user.grants)
        return user_result(UserResult, user, roles, self.clock(), view)
