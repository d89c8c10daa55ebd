from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

import msgspec

from ubr.application.access.authorization import authority, permissions_of
from ubr.application.accounts.delete_user import delete_account
from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import example
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import Forbidden, UserNotFound
from ubr.domain.events import UserErased
from ubr.domain.ids import UserId
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.permissions import USERS_ERASE, forbid_escalation

BATCH: Final = 5000
"""The entries whose client IPs one unit deletes."""


class EraseUserCommand(Command, frozen=True, kw_only=True):
    user_id: UUID


class ErasedUserResult(Result, frozen=True, kw_only=True):
    """`entries` is the number of audit log entries whose client IP this call erased."""

    entries: Annotated[int, example(42)]


class EraseUser(msgspec.Struct, frozen=True):
    """Delete a user, if that was not done yet, and erase the user's client IPs from the audit log.

    - Requires `users:erase`. Users cannot erase themselves: their client IPs may be evidence against them.
    - No escalation: a user with permissions that the actor lacks cannot be erased.
    - The last administrator cannot be erased. The account of a machine is deleted first: 409 `machine-account`.
    - The entries stay, and so do their hashes: the log still verifies. Each batch is an entry, `user.erased`.
    - A call that was interrupted is completed by another one.
    """

    unit_of_work: EndingUnitOfWork
    denials: DenialLog

    @denials_recorded
    async def __call__(self, command: EraseUserCommand, /, *, actor: Actor | System) -> ErasedUserResult:
        user_id = UserId(command.user_id)
        await self._delete(user_id, actor)
        await self.denials.settle_user(user_id)  # their client IPs too
        erased, more = 0, True
        while more:
            count = await self._forget(user_id, actor)
            erased += count
            more = count == BATCH
        return ErasedUserResult(entries=erased)

    @retry_on_conflict
    async def _delete(self, user_id: UserId, actor: Actor | System) -> None:
        async with self.unit_of_work.ending(Change("user", str(user_id)), actor=actor) as tx:
            who = await authority(tx, actor)
            who.require(USERS_ERASE)
            if who.is_user(user_id):
                raise Forbidden("Another user has to erase your account")
            user = await tx.users.get(user_id)
            if user is not None:
                user.require_person()
                forbid_escalation(who.permissions, await permissions_of(tx, user))
                await delete_account(tx, user, actor=actor)
            elif not await tx.log_records.mentions(user_id):
                raise UserNotFound

    @retry_on_conflict
    async def _forget(self, user_id: UserId, actor: Actor | System) -> int:
        async with self.unit_of_work.begin(actor) as tx:
            count = await tx.log_records.forget_client_ips(user_id, BATCH)
            tx.record(UserErased(user_id=user_id, entries=count))
            await tx.commit()
        return count
