"""Stored results of idempotent calls, on a draft of their table."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from ubr.adapters.memory.store import Drafts
from ubr.application.ports.idempotency import IdempotencyRecord
from ubr.domain.errors import TransactionConflict


class MemoryIdempotencyStore:
    def __init__(self, drafts: Drafts) -> None:
        self._drafts = drafts

    async def find(self, digest: bytes, now: datetime) -> IdempotencyRecord | None:
        replay = self._drafts.replays.get(digest)
        return replay if replay is not None and replay.expires_at > now else None

    async def claim(self, digest: bytes, now: datetime) -> IdempotencyRecord | None:
        """There is only one writer, so no claim is needed."""
        return await self.find(digest, now)

    async def keep(self, replay: IdempotencyRecord) -> None:
        if any(id is not None and self._drafts.users.get(id) is None for id in (replay.actor_id, replay.user_id)):
            raise TransactionConflict
        self._drafts.replays.put(replay.digest, replay)

    async def mismatched(self, digest: bytes, limit: int) -> int:
        replay = self._drafts.replays.get(digest)
        if replay is None or replay.mismatches >= limit:
            return 0
        counted = replace(replay, mismatches=replay.mismatches + 1)
        if counted.mismatches == limit:
            counted = replace(counted, fingerprint=b"", result=b"")
        self._drafts.replays.put(digest, counted)
        return counted.mismatches

    async def forget(self, expired_before: datetime, limit: int) -> int:
        expired = [replay for replay in self._drafts.replays if replay.expires_at < expired_before][:limit]
        for replay in expired:
            self._drafts.replays.drop(replay.digest)
        return len(expired)
