"""Counts calls in the database, if there is no Redis or it cannot be reached."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from ubr.adapters.sql.protection import MICROSECOND, microseconds_of
from ubr.adapters.sql.unit_of_work import SqlUnitOfWork
from ubr.application.ports.protection import Decision, Quota
from ubr.application.ports.secrets import Signer

PURPOSE: Final = "sql counter"

_CONNECTIONS: Final = 3
"""Maximum number of connections in use at a time: a flood of anonymous calls leaves the others free."""


class SqlRateLimitStore:
    """The generic cell rate algorithm, with a row for each name, under the name's HMAC. A take is one upsert."""

    def __init__(self, unit_of_work: SqlUnitOfWork, signer: Signer) -> None:
        self._unit_of_work = unit_of_work
        self._signer = signer
        self._home = unit_of_work.home
        self._semaphore = asyncio.Semaphore(_CONNECTIONS)

    async def take(self, name: str, quota: Quota) -> Decision:
        self._home.check()
        interval, span = _times(quota)
        async with self._semaphore, self._unit_of_work.autocommit() as tx:
            allowed, full_in = await tx.counters.take(self._key(name), interval, span)
        return Decision(
            allowed=allowed,
            remaining=(span - full_in) // interval,
            retry_after=max(timedelta(0), (full_in + interval - span) * MICROSECOND),
        )

    async def look(self, name: str, quota: Quota) -> Decision:
        self._home.check()
        interval, span = _times(quota)
        async with self._semaphore, self._unit_of_work.peek() as tx:
            full_in = await tx.counters.look(self._key(name), span)
        remaining = (span - full_in) // interval
        retry_after = max(timedelta(0), (full_in + interval - span) * MICROSECOND)
        return Decision(allowed=remaining > 0, remaining=remaining, retry_after=retry_after)

    async def give_back(self, name: str, quota: Quota) -> None:
        self._home.check()
        async with self._semaphore, self._unit_of_work.autocommit() as tx:
            await tx.counters.give_back(self._key(name), *_times(quota))

    async def forget(self, limit: int) -> int:
        async with self._unit_of_work.begin(None) as tx:
            forgotten = await tx.counters.forget(microseconds_of(tx.now), limit)
            await tx.commit()
        return forgotten

    def _key(self, name: str) -> bytes:
        return self._signer.sign(PURPOSE, name.encode("utf-8", "surrogatepass"))


def _times(quota: Quota) -> tuple[int, int]:
    """The time that restores one call, and the time that restores all of them."""
    # Rounded up: a microsecond more or less in a third of a second must not allow an extra call.
    interval = -(-(quota.per // MICROSECOND) // quota.limit)
    return interval, interval * quota.limit
