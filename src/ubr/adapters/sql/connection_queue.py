"""The line of those who wait for a connection."""

from __future__ import annotations

import asyncio
from typing import Final

from ubr.adapters.sql.errors import NO_CONNECTION, SqlUnavailable
from ubr.adapters.sql.failure_log import log_failure
from ubr.application.ports.metrics import Load

CONNECTION_QUEUE: Final = "ubr_connection_queue"
"""The execution option with the queue of an engine."""


class ConnectionQueue:
    """As many places as a pool has connections, given out in the order of the requests.

    In SQLAlchemy's pool, a new request overtakes those that wait whenever a connection becomes free. Under load, some
    wait twenty times as long as others.
    """

    def __init__(self, number: int, patience: float) -> None:
        self._free = asyncio.Semaphore(number)
        self._patience = patience
        self._used = 0
        self._waiting = 0

    @property
    def load(self) -> Load:
        return Load(self._used, self._waiting)

    async def take(self) -> None:
        """Errors: `SqlUnavailable` if none is free in time."""
        if not self._free.locked():
            await self._free.acquire()  # this does not wait
        else:
            await self._wait()
        self._used += 1

    async def _wait(self) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        except TimeoutError:
            late = SqlUnavailable("no connection was free", NO_CONNECTION)
            log_failure(late)
            raise late from None
        finally:
            self._waiting -= 1

    def give_back(self) -> None:
        self._used -= 1
        self._free.release()
