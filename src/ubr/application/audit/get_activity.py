from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.command import Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.events import LogInFailed, SessionOpened, SessionRevoked
from ubr.domain.roles.permissions import LOGS_READ

HOURS: Final = 24
MAX_COUNT: Final = 1000
"""Where the count of an hour ends, so that no number of entries makes it slow."""

_HOUR: Final = timedelta(hours=1)
_SETTLED: Final = timedelta(minutes=1)
"""After the end of an hour, when every entry of it is committed: a transaction is shorter."""


class ActivityResult(Result, frozen=True, kw_only=True):
    """Numbers of audit log entries in each of 24 hours, the last of which is the current one.

    `hours` are the beginnings of the hours. A number of 1000 means 1000 or more.
    """

    hours: list[datetime]
    logins: list[int]
    failed_logins: list[int]
    ended_sessions: list[int]


class GetActivity(msgspec.Struct, frozen=True):
    """Count the logins, the failed logins and the ended sessions of the last 24 hours, hour by hour.

    - Requires `logs:read`.
    - Reads a bounded number of entries, and remembers the numbers of past hours, because they do not change.
    - The numbers identify no user, so the log does not mention this read.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    denials: DenialLog
    past: dict[tuple[str, datetime], int] = msgspec.field(default_factory=dict)
    """The numbers of past hours, by action and beginning."""

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, *, actor: Actor | System) -> ActivityResult:
        (await self.authorize(actor)).require(LOGS_READ)
        async with self.unit_of_work.read() as tx:
            current = tx.now.replace(minute=0, second=0, microsecond=0)
            moments = [current + _HOUR * (ahead - HOURS) for ahead in range(1, HOURS + 2)]
            return ActivityResult(
                hours=moments[:-1],
                logins=await self._counts(tx, SessionOpened.action, moments),
                failed_logins=await self._counts(tx, LogInFailed.action, moments),
                ended_sessions=await self._counts(tx, SessionRevoked.action, moments),
            )

    async def _counts(self, tx: Transaction, action: str, moments: Sequence[datetime]) -> list[int]:
        hours = moments[:-1]
        unknown = next((place for place, hour in enumerate(hours) if (action, hour) not in self.past), len(hours))
        known = [self.past[action, hour] for hour in hours[:unknown]]
        fresh = await tx.logs.counts(action, moments[unknown:], MAX_COUNT)
        for hour, number in zip(hours[unknown:], fresh, strict=True):
            if hour + _HOUR + _SETTLED <= tx.now:
                self.past[action, hour] = number
        for old in [key for key in self.past if key[1] < hours[0]]:
            del self.past[old]
        return known + fresh
