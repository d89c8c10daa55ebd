from __future__ import annotations

from datetime import datetime

import msgspec

from ubr.application.kernel.command import Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import System
from ubr.domain.errors import Forbidden


class KnownLogKeyResult(Result, frozen=True, kw_only=True):
    """`key` is the public key in the text form for verifiers."""

    key: str
    created_at: datetime


class ListLogKeys(msgspec.Struct, frozen=True):
    """List every current or former public key of the log, newest first. Only the service itself may."""

    unit_of_work: UnitOfWork
    denials: DenialLog

    @denials_recorded
    async def __call__(self, *, actor: System) -> list[KnownLogKeyResult]:
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may list the log's signing keys")
        async with self.unit_of_work.read() as tx:
            keys = await tx.log_keys.all()
        return [KnownLogKeyResult(key=str(key), created_at=key.created_at) for key in reversed(keys)]
