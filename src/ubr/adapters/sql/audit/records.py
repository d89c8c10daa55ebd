"""The rows of the log for its check, its pruning and the erasure of a user."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, literal, or_, select, update

from ubr.adapters.sql.audit.damage import UNREADABLE, readable, typed
from ubr.adapters.sql.audit.entries import ENTRY
from ubr.adapters.sql.audit.rows import entry_from_row
from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.statements import Row
from ubr.adapters.sql.tables import log_checkpoints, log_client_ips, log_leaves, log_pruned, log_queue, logs
from ubr.application.ports.audit import ComparedEntries
from ubr.domain.audit.entry import LogEntry, canonical_json
from ubr.domain.audit.log_check import Leaf
from ubr.domain.ids import LogEntryId, UserId

_SESSION: Final = list(logs.c).index(logs.c.session_id)


class SqlLogRecords:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def leaves(self, first: int, limit: int) -> list[Leaf]:
        try:
            return await self._leaves(first, limit)
        except UNREADABLE:
            # A value is one that this service cannot have written: read the other leaves one by one.
            c = log_leaves.c
            some = select(c.leaf_index).where(c.leaf_index >= first).order_by(c.leaf_index).limit(limit)
            indexes = [row[0] for row in await self._connection.rows(some)]
            return [leaf for index in indexes for leaf in await self._one(index)]

    async def _one(self, index: int) -> list[Leaf]:
        try:
            return await self._leaves(index, 1, at_most=index)
        except UNREADABLE:
            return [Leaf(index=index, entry_id=UUID(int=0), hash=b"", entry=None, readable=False)]

    async def _leaves(self, first: int, limit: int, at_most: int | None = None) -> list[Leaf]:
        c = log_leaves.c
        statement = (
            select(c.leaf_index, c.entry_id, c.hash, *ENTRY)
            .select_from(
                log_leaves.outerjoin(logs, logs.c.id == c.entry_id).outerjoin(
                    log_client_ips, log_client_ips.c.entry_id == c.entry_id
                )
            )
            .where(c.leaf_index >= first)
            .order_by(c.leaf_index)
            .limit(limit)
        )
        if at_most is not None:
            statement = statement.where(c.leaf_index <= at_most)
        return [_leaf(row) for row in await self._connection.rows(statement)]

    async def checkpoints(self, above: int | None, limit: int) -> list[tuple[int, str]]:
        c = log_checkpoints.c
        statement = select(c.size, c.note).order_by(c.size).limit(limit)
        if above is not None:
            statement = statement.where(c.size > above)
        try:
            return [(typed(int, row[0]), typed(str, row[1])) for row in await self._connection.rows(statement)]
        except UNREADABLE:
            with readable():
                sizes = [typed(int, row[0]) for row in await self._connection.rows(statement.with_only_columns(c.size))]
            return [(size, await self._readable_note(size)) for size in sizes]

    async def _readable_note(self, size: int) -> str:
        """A note; if the stored value is not text, an empty text, which is not a valid note."""
        note = select(log_checkpoints.c.note).where(log_checkpoints.c.size == size)
        with suppress(*UNREADABLE):
            [row] = await self._connection.rows(note)
            return typed(str, row[0])
        return ""

    async def strays(self, after: LogEntryId | None, limit: int) -> ComparedEntries:
        c = logs.c
        within = literal(True) if after is None else c.id > after
        with readable():
            end = await self._connection.row(select(c.id).where(within).order_by(c.id).offset(limit - 1).limit(1))
            if end is not None:
                within = and_(within, c.id <= end[0])
            statement = (
                select(c.id)
                .select_from(
                    logs.outerjoin(log_leaves, log_leaves.c.entry_id == c.id).outerjoin(
                        log_queue, log_queue.c.entry_id == c.id
                    )
                )
                .where(within, log_leaves.c.entry_id.is_(None), log_queue.c.entry_id.is_(None))
            )
            found = [row[0] for row in await self._connection.rows(statement)]
        return ComparedEntries(found, None if end is None else end[0])

    async def lost(self, limit: int) -> list[LogEntryId]:
        statement = (
            select(log_queue.c.entry_id)
            .select_from(
                log_queue.outerjoin(logs, logs.c.id == log_queue.c.entry_id).outerjoin(
                    log_leaves, log_leaves.c.entry_id == log_queue.c.entry_id
                )
            )
            .where(or_(logs.c.id.is_(None), log_leaves.c.entry_id.is_not(None)))
            .limit(limit)
        )
        with readable():
            return [row[0] for row in await self._connection.rows(statement)]

    async def older(self, than: datetime, first: int, limit: int) -> int:
        c = log_leaves.c
        within = and_(c.leaf_index >= first, c.leaf_index < first + limit)
        young = (
            select(func.min(c.leaf_index).label("first"))
            .select_from(log_leaves.join(logs, logs.c.id == c.entry_id))
            .where(within, logs.c.timestamp >= than)
        )
        [row] = await self._connection.rows(young)
        if row[0] is not None:
            return int(row[0]) - first
        [row] = await self._connection.rows(select(func.count().label("count")).select_from(log_leaves).where(within))
        return int(row[0])

    async def pruned(self) -> int:
        with readable():
            [row] = await self._connection.rows(select(log_pruned.c.size))
            return typed(int, row[0])

    async def prune(self, until: int) -> int:
        if self._connection.dialect == "postgresql":
            [row] = await self._connection.change(select(func.prune_logs(until).label("deleted")))
            return int(row[0])
        before = await self.pruned()
        await self._connection.write(update(log_pruned).where(log_pruned.c.size < until).values(size=until))
        c = log_leaves.c
        old = select(c.entry_id).where(c.leaf_index >= before, c.leaf_index < until)
        await self._connection.write(delete(log_client_ips).where(log_client_ips.c.entry_id.in_(old)))
        return await self._connection.write(delete(logs).where(logs.c.id.in_(old)))

    async def mentions(self, user_id: UserId) -> bool:
        about = and_(logs.c.target_id == str(user_id), logs.c.target_type == "user")
        found = select(logs.c.id).where(or_(logs.c.actor_id == user_id, about)).limit(1)
        return await self._connection.row(found) is not None

    async def forget_client_ips(self, user_id: UserId, limit: int) -> int:
        deleted = 0
        for condition in _about(user_id):
            # One statement for each: every one then has an index.
            some = select(logs.c.id).join_from(logs, log_client_ips, log_client_ips.c.entry_id == logs.c.id)
            some = some.where(condition).limit(limit - deleted)
            deleted += await self._connection.write(delete(log_client_ips).where(log_client_ips.c.entry_id.in_(some)))
        return deleted


def _about(user_id: UserId) -> list[ColumnElement[bool]]:
    """The conditions of the entries whose client IP is counted to a user, as `LogEntry.person` has them."""
    c, acts = logs.c, logs.alias("acts")
    # They may have ended sessions of others: the entry itself says whose session it is about.
    sessions = select(acts.c.target_id).where(acts.c.actor_id == user_id, acts.c.target_type == "session")
    theirs = c.data.contains(canonical_json({"user_id": str(user_id)}).strip("{}"), autoescape=True)
    return [
        c.actor_id == user_id,
        and_(c.target_id == str(user_id), c.target_type == "user", c.actor_id.is_(None)),
        and_(c.target_id.in_(sessions), c.target_type == "session", c.actor_id.is_(None), theirs),
    ]


def _is_as_written(entry: LogEntry, session_id: object) -> bool:
    """True if every field has its type. The column of the session repeats a part of the canonical bytes."""
    return entry.in_order and session_id == entry.session_id and isinstance(entry.salt, bytes)


def _leaf(row: Row) -> Leaf:
    index, entry_id, hashed = row[:3]
    entry = None if row[3] is None else entry_from_row(row[3:])
    as_written = isinstance(hashed, bytes) and (entry is None or _is_as_written(entry, row[3:][_SESSION]))
    return Leaf(index=index, entry_id=entry_id, hash=hashed, entry=entry, readable=as_written)
