"""Keeps a worker's view fresh, so that no request has to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from ubr.application.access.session_cache import SessionCache
from ubr.application.kernel.periodic import beside
from ubr.application.ports.revocation import ChangeNotifier
from ubr.application.revocation.worker_reaper import Census
from ubr.domain.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class Tail:
    """Follows the feed, renews the lease and looks after the rows of others, for as long as a worker serves.

    Without it a view is right all the same: the first request after a pause freshens it.
    """

    session_cache: SessionCache
    notifier: ChangeNotifier
    census: Census

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow for as long as the context lasts; at its end nobody has to wait for this worker any more."""
        async with self.notifier.listen(self.session_cache.worker, self.session_cache.apply):
            times = self.session_cache.times
            cycles = (self.session_cache.poll_feed, times.poll)
            renewals, looks = (self.session_cache.renew, times.renewal), (self.census, times.renewal)
            try:
                async with beside(cycles, renewals, looks):
                    yield
            finally:
                with suppress(StoreUnavailable):  # the row grows old by itself
                    await self.session_cache.leave()
