"""Removal of dead workers, so that no unit waits for them."""

from __future__ import annotations

from collections.abc import Hashable

from ubr.application.ports.revocation import ChangeFeed, Elapsed, WorkerId


class WorkerReaper:
    """Checks the rows of all workers periodically.

    A row is removed if it was not renewed for `row` seconds on this worker's own clock: far longer than any lease
    lasts. Times stored in the row do not count: if the clock of the store were set, all workers would look dead at
    once, and no unit would wait for them.
    """

    def __init__(self, feed: ChangeFeed, elapsed: Elapsed, row: float) -> None:
        self._feed = feed
        self._elapsed = elapsed
        self._row = row
        self._seen: dict[WorkerId, tuple[Hashable, float]] = {}
        """The last seen renewal of each worker, and when it was first seen."""

    async def __call__(self) -> None:
        """Run one check. Errors: `StoreUnavailable`."""
        asked = self._elapsed()
        found = await self._feed.workers()
        answered = self._elapsed()
        before, self._seen = self._seen, {}
        for worker, renewal in found.items():
            known, since = before.get(worker, (None, answered))
            self._seen[worker] = renewal, since if known == renewal else answered
        gone = [worker for worker, (_, since) in self._seen.items() if asked - since >= self._row]
        for worker in gone:
            await self._feed.remove_worker(worker, self._seen.pop(worker)[0])
