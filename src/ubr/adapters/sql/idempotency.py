"""Stored results of calls with an idempotency key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.errors import SqlTransactionConflict
from ubr.adapters.sql.rows import Row, replay_from_row, replay_to_row
from ubr.adapters.sql.tables import replays
from ubr.application.ports.idempotency import IdempotencyRecord

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CLAIM: Final[Row] = {
    "fingerprint": b"",
    "actor_id": None,
    "user_id": None,
    "result": b"",
    "expires_at": _LONG_AGO,
    "mismatches": 0,
}
"""A claim without a result has already expired: if a unit ends without a result, no call finds the row. The row gets
its users only at the end of the unit, because that locks users, and roles are locked before users.
"""


class SqlIdempotencyStore:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def find(self, digest: bytes, now: datetime) -> IdempotencyRecord | None:
        statement = select(replays).where(replays.c.digest == digest, replays.c.expires_at > now)
        if self._connection.locking:
            statement = statement.with_for_update(key_share=True)
        row = await self._connection.row(statement)
        return None if row is None else replay_from_row(row)

    async def claim(self, digest: bytes, now: datetime) -> IdempotencyRecord | None:
        insert = (sqlite if self._connection.dialect == "sqlite" else postgresql).insert(replays)
        # PostgreSQL waits here for a unit that inserted the same digest and is still open. Whatever its outcome, the
        # row is locked afterwards, so it can be read.
        claim = insert.values(digest=digest, **_CLAIM).on_conflict_do_update(
            index_elements=[replays.c.digest], set_=_CLAIM, where=replays.c.expires_at <= now
        )
        if await self._connection.change(claim.returning(replays.c.digest)):
            return None
        found = await self.find(digest, now)
        if found is None:
            raise SqlTransactionConflict("a row went away")
        return found

    async def keep(self, replay: IdempotencyRecord) -> None:
        await self._connection.write(
            update(replays).where(replays.c.digest == replay.digest).values(replay_to_row(replay))
        )

    async def mismatched(self, digest: bytes, limit: int) -> int:
        c = replays.c
        counting = update(replays).where(c.digest == digest, c.mismatches < limit).values(mismatches=c.mismatches + 1)
        counted = await self._connection.change(counting.returning(c.mismatches))
        count: int = counted[0]["mismatches"] if counted else 0
        if count == limit:
            erasing = update(replays).where(c.digest == digest).values(fingerprint=b"", result=b"")
            await self._connection.write(erasing)
        return count

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """Skips rows that another unit has locked; a later call deletes them."""
        c = replays.c
        expired = (
            select(c.digest)
            .where(c.expires_at < expired_before)
            .order_by(c.expires_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("expired")  # evaluated once
        )
        forgotten = delete(replays).where(c.digest.in_(select(expired.c.digest))).returning(c.digest)
        return len(await self._connection.change(forgotten))
