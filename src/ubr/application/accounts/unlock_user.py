from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec

from ubr.application.access.authorization import authority, permissions_of
from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import example
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.protection.account_locks import AccountLocks
from ubr.domain.actor import Actor, System
from ubr.domain.errors import Forbidden, UserNotFound
from ubr.domain.events import UserUnlocked
from ubr.domain.ids import UserId
from ubr.domain.roles.permissions import USERS_WRITE, forbid_escalation


class UnlockUserCommand(Command, frozen=True, kw_only=True):
    user_id: UUID


class UnlockedUserResult(Result, frozen=True, kw_only=True):
    """`locks` is the number of locks that were in force: that of the account, and those of clients known to it."""

    locks: Annotated[int, example(1)]


class UnlockUser(msgspec.Struct, frozen=True):
    """End the locks of an account after wrong passwords.

    - Requires `users:write`.
    - No escalation: a user with permissions that the actor lacks is not unlocked. Each call allows as many guesses as
      the limit does.
    - Users cannot unlock themselves: otherwise the holder of a stolen access token could guess without a limit.
    - The wrong passwords counted so far no longer count. Known clients stay known.
    - Each call is an audit log entry, also if there was no lock.
    """

    unit_of_work: UnitOfWork
    locks: AccountLocks
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: UnlockUserCommand, /, *, actor: Actor | System) -> UnlockedUserResult:
        user_id = UserId(command.user_id)
        async with self.unit_of_work.begin(actor) as tx:
            who = await authority(tx, actor)
            who.require(USERS_WRITE)
            if who.is_user(user_id):
                raise Forbidden("Another user has to end the locks of your own account")
            user = await tx.users.get(user_id)
            if user is None:
                raise UserNotFound
            forbid_escalation(who.permissions, await permissions_of(tx, user))
            locks = await self.locks.of(tx, user.email, user)
            account = self.locks.passwords.bucket(user.email)
            await tx.password_attempts.clear({account, *(lock.bucket for lock in locks)})
            tx.record(UserUnlocked(user_id=user.id, locks=len(locks)))
            await tx.commit()
        return UnlockedUserResult(locks=len(locks))
