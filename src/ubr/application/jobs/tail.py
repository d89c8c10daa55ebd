"""Keeps a worker's view fresh, so that no request has to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from ubr.application.ports.revocation import Nudges
from ubr.application.view import View
from ubr.domain.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class Tail:
    """Follows the feed and renews the lease for as long as a worker serves.

    Without it a view is right all the same: the first request after a pause freshens it.
    """

    view: View
    nudges: Nudges

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow for as long as the context lasts; at its end nobody has to wait for this worker any more."""
        async with self.nudges.listen(self.view.worker, self.view.take):
            tasks = [asyncio.create_task(self._every(self.view.times.poll, self.view.cycle))]
            tasks.append(asyncio.create_task(self._every(self.view.times.renewal, self.view.renew)))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                with suppress(StoreUnavailable):  # the row grows old by itself
                    await self.view.leave()

    @staticmethod
    async def _every(seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            with suppress(StoreUnavailable):  # the next round may succeed; until then nothing here is fresh
                await act()
            await asyncio.sleep(seconds)
