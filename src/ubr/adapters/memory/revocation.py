"""The change feed in memory, and the fast path between workers of one process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import msgspec

from ubr.adapters.memory.store import MemoryStore
from ubr.application.ports.revocation import CommittedChanges, FeedPosition, FeedRead, Listener, WorkerId
from ubr.domain.revocation.changes import Change, ChangeRecord


class MemoryChangeFeed(msgspec.Struct, frozen=True):
    """Reads the change records of a `MemoryStore`."""

    store: MemoryStore

    async def read(self, since: int | None) -> FeedRead:
        position = FeedPosition(epoch=self.store.epoch, number=len(self.store.feed))
        return FeedRead(position=position, rows=() if since is None else tuple(self.store.feed[since:]))

    async def committed_changes(self, commit_id: UUID) -> CommittedChanges:
        return CommittedChanges(
            epoch=self.store.epoch,
            rows=self.store.commits.get(commit_id, ()),
            workers=frozenset(self.store.workers),
            steady=self.store.steady,
        )

    async def latest_change(self, change: Change) -> CommittedChanges:
        found = next((record for record in reversed(self.store.feed) if record.change == change), None)
        return CommittedChanges(
            epoch=self.store.epoch,
            rows=() if found is None else (found,),
            workers=frozenset(self.store.workers),
            steady=self.store.steady,
        )

    async def renew(self, worker: WorkerId) -> None:
        self.store.renewals += 1
        self.store.workers[worker] = self.store.renewals

    async def leave(self, worker: WorkerId) -> None:
        self.store.workers.pop(worker, None)

    async def workers(self) -> Mapping[WorkerId, Hashable]:
        return dict(self.store.workers)

    async def remove_worker(self, worker: WorkerId, renewal: Hashable) -> None:
        if self.store.workers.get(worker) == renewal:
            del self.store.workers[worker]

    async def forget(self, older: timedelta, limit: int) -> int:  # noqa: ARG002
        """Keep all change records: their index is their number, and a store in memory does not live long."""
        return 0


class MemoryChangeNotifier:
    """Delivers change records immediately, to workers of the same process."""

    def __init__(self) -> None:
        self._listeners: dict[WorkerId, Listener] = {}

    async def deliver(self, epoch: str, rows: Sequence[ChangeRecord], to: frozenset[WorkerId]) -> bool:
        for worker in to & self._listeners.keys():
            self._listeners[worker](epoch, rows)
        return to <= self._listeners.keys()

    async def acknowledge(self, worker: WorkerId, epoch: str, number: int) -> None:
        """Ignore it: no caller here waits for workers that do not listen."""

    @asynccontextmanager
    async def listen(self, worker: WorkerId, listener: Listener) -> AsyncIterator[None]:
        self._listeners[worker] = listener
        try:
            yield
        finally:
            del self._listeners[worker]
