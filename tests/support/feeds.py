"""A feed that passes everything on, for tests that inspect or delay it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from datetime import timedelta
from uuid import UUID

from ubr.application.ports.revocation import ChangeFeed, CommittedChanges, FeedRead, WorkerId
from ubr.domain.revocation.changes import Change


class PassedOn:
    def __init__(self, inner: ChangeFeed) -> None:
        self.inner = inner

    async def read(self, since: int | None) -> FeedRead:
        return await self.inner.read(since)

    async def committed_changes(self, commit_id: UUID) -> CommittedChanges:
        return await self.inner.committed_changes(commit_id)

    async def latest_change(self, change: Change) -> CommittedChanges:
        return await self.inner.latest_change(change)

    async def renew(self, worker: WorkerId) -> None:
        await self.inner.renew(worker)

    async def leave(self, worker: WorkerId) -> None:
        await self.inner.leave(worker)

    async def workers(self) -> Mapping[WorkerId, Hashable]:
        return await self.inner.workers()

    async def remove_worker(self, worker: WorkerId, renewal: Hashable) -> None:
        await self.inner.remove_worker(worker, renewal)

    async def forget(self, older: timedelta, limit: int) -> int:
        return await self.inner.forget(older, limit)
