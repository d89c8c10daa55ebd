"""Background job that keeps a worker's session cache fresh, so that no request has to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec

from ubr.application.access.session_cache import SessionCache
from ubr.application.kernel.periodic import running_beside
from ubr.application.ports.revocation import ChangeNotifier
from ubr.application.revocation.worker_reaper import WorkerReaper
from ubr.domain.errors import StoreUnavailable


class FeedFollower(msgspec.Struct, frozen=True):
    """Follows the feed, renews the lease and removes dead workers, for as long as a worker serves.

    Only speed depends on it: without it, the first request after a pause makes the cache fresh.
    """

    session_cache: SessionCache
    notifier: ChangeNotifier
    reaper: WorkerReaper

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow the feed until the context ends. After that, no unit waits for this worker."""
        async with self.notifier.listen(self.session_cache.worker, self.session_cache.apply):
            times = self.session_cache.times
            polls = (self.session_cache.poll_feed, times.poll)
            renewals, looks = (self.session_cache.renew, times.renewal), (self.reaper, times.renewal)
            try:
                async with running_beside(polls, renewals, looks):
                    yield
            finally:
                with suppress(StoreUnavailable):  # the row expires by itself
                    await self.session_cache.leave()
