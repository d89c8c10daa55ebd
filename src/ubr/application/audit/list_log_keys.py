from __future__ import annotations

from datetime import datetime

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.command import Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.roles.permissions import LOGS_READ


class KnownLogKeyResult(Result, frozen=True, kw_only=True):
    """`key` is the public key in the text form for verifiers."""

    key: str
    created_at: datetime


class ListLogKeys(msgspec.Struct, frozen=True):
    """List every current or former public key of the log, newest first. Requires `logs:read`."""

    authorize: Authorize
    unit_of_work: UnitOfWork
    denials: DenialLog

    @denials_recorded
    async def __call__(self, *, actor: Actor | System) -> list[KnownLogKeyResult]:
        (await self.authorize(actor)).require(LOGS_READ)
        async with self.unit_of_work.read() as tx:
            keys = await tx.log_keys.all()
        return [KnownLogKeyResult(key=str(key), created_at=key.created_at) for key in reversed(keys)]
