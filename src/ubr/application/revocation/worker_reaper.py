"""Removes the rows of workers that are gone, so that nobody waits for them any more."""

from __future__ import annotations

from collections.abc import Hashable

from ubr.application.ports.revocation import ChangeFeed, Elapsed, WorkerId


class WorkerReaper:
    """Looks at the rows of all workers again and again.

    A row goes when it was not renewed for `row` seconds on this worker's own clock: far longer than any lease lasts.
    No time that is written in it counts: the clock of the store can be set, and then all workers would look dead at
    once, and nobody would be waited for.
    """

    def __init__(self, feed: ChangeFeed, elapsed: Elapsed, row: float) -> None:
        self._feed = feed
        self._elapsed = elapsed
        self._row = row
        self._seen: dict[WorkerId, tuple[Hashable, float]] = {}
        """The last renewal that was seen of each, and when it had been seen for the first time."""

    async def __call__(self) -> None:
        """One look. Errors: `StoreUnavailable`."""
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
