"""The line of those who wait for a connection."""

from __future__ import annotations

import asyncio
from typing import Final

from ubr.adapters.sql.complaints import complain
from ubr.adapters.sql.errors import SqlUnavailable

PLACES: Final = "ubr_places"
"""The execution option with the `Places` of an engine."""


class Places:
    """As many places as a pool has connections, given out in the order of the requests.

    In SQLAlchemy's pool, a new request overtakes those that wait whenever a connection becomes free. Under load, some
    wait twenty times as long as others.
    """

    def __init__(self, number: int, patience: float) -> None:
        self._free = asyncio.Semaphore(number)
        self._patience = patience

    async def take(self) -> None:
        """Errors: `SqlUnavailable` if none is free in time."""
        if not self._free.locked():
            await self._free.acquire()  # this does not wait
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        except TimeoutError:
            late = SqlUnavailable("no connection was free")
            complain(late)
            raise late from None

    def give_back(self) -> None:
        self._free.release()
