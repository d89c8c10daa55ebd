"""Stored results of calls with an idempotency key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Executable, bindparam, select, update

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.errors import SqlTransactionConflict
from ubr.adapters.sql.rows import Values, replay_from_row, replay_to_row
from ubr.adapters.sql.statements import Locking, Statement, updating, upserting
from ubr.adapters.sql.tables import replays
from ubr.application.ports.idempotency import IdempotencyRecord

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CLAIM: Final[Values] = {
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


_FIND: Final = Locking(
    select(replays).where(replays.c.digest == bindparam("digest"), replays.c.expires_at > bindparam("now"))
)


def _claiming(dialect: str) -> Executable:
    # PostgreSQL waits here for a unit that inserted the same digest and is still open. Afterwards the row is locked in
    # every case, so it can be read.
    claim = (
        upserting(dialect, replays)
        .values(digest=bindparam("digest"), **_CLAIM)
        .on_conflict_do_update(
            index_elements=[replays.c.digest],
            set_=_CLAIM,
            where=replays.c.expires_at <= bindparam("now", type_=replays.c.expires_at.type),
        )
    )
    statement: Executable = claim.returning(replays.c.digest)
    return statement


_TAKE: Final = Statement(_claiming)
_COUNT_MISMATCH: Final = Statement(
    update(replays)
    .where(
        replays.c.digest == bindparam("its_digest"),
        replays.c.mismatches < bindparam("limit", type_=replays.c.mismatches.type),
    )
    .values(mismatches=replays.c.mismatches + 1)
    .returning(replays.c.mismatches)
)
_ERASE: Final = Statement(
    update(replays).where(replays.c.digest == bindparam("its_digest")).values(fingerprint=b"", result=b"")
)
_KEEP: Final = updating(replays, replays.c.digest == bindparam("its_digest"))


class SqlIdempotencyStore:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def find(self, digest: bytes, now: datetime) -> IdempotencyRecord | None:
        row = await self._connection.row(_FIND.on(self._connection), {"digest": digest, "now": now})
        return None if row is None else replay_from_row(row)

    async def claim(self, digest: bytes, now: datetime) -> IdempotencyRecord | None:
        if await self._connection.change(_TAKE, {"digest": digest, "now": now}):
            return None
        found = await self.find(digest, now)
        if found is None:
            raise SqlTransactionConflict("a row was deleted")
        return found

    async def keep(self, replay: IdempotencyRecord) -> None:
        await self._connection.write(_KEEP, {**replay_to_row(replay), "its_digest": replay.digest})

    async def mismatched(self, digest: bytes, limit: int) -> int:
        counted = await self._connection.change(_COUNT_MISMATCH, {"its_digest": digest, "limit": limit})
        count: int = counted[0][0] if counted else 0
        if count == limit:
            await self._connection.write(_ERASE, {"its_digest": digest})
        return count

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """Skips rows that another unit has locked; a later call deletes them."""
        c = replays.c
        expired = select(c.digest).where(c.expires_at < expired_before).order_by(c.expires_at).limit(limit)
        return await self._connection.forget(c.digest, expired.with_for_update(skip_locked=True))
