"""The audit log: its entries, which the commit of a unit writes, and the tree over them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.exc import DBAPIError

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import (
    Values,
    client_ip_to_row,
    entry_from_row,
    entry_to_row,
    log_key_from_row,
    log_key_to_row,
)
from ubr.adapters.sql.statements import Row, Statement, inserting, insertion
from ubr.adapters.sql.tables import (
    log_checkpoints,
    log_client_ips,
    log_head,
    log_keys,
    log_leaves,
    log_nodes,
    log_pruned,
    log_queue,
    logs,
)
from ubr.application.ports.audit import Backlog, ComparedEntries, LogFilter
from ubr.application.ports.paging import After, Found
from ubr.domain.audit.checkpoint import LogKey
from ubr.domain.audit.entry import LogEntry, canonical_json
from ubr.domain.audit.log_check import Leaf
from ubr.domain.audit.merkle import Frontier, Node
from ubr.domain.errors import LogDamaged
from ubr.domain.ids import LogEntryId, UserId

T = TypeVar("T")

AHEAD: Final = 30_000
"""Number of entries among which a search with several conditions looks for a page: some 50 ms at most."""

_log: Final = logging.getLogger("ubr.sql")

_UNREADABLE: Final = (ValueError, TypeError, AttributeError, OverflowError, DBAPIError)
"""Errors caused by values that this service cannot have written. Errors of the driver with any other meaning are
translated earlier.
"""


@contextmanager
def _readable() -> Iterator[None]:
    """Errors: `LogDamaged` for a value that this service cannot have written."""
    try:
        yield
    except _UNREADABLE:
        raise LogDamaged("A part of the stored log cannot be read") from None


def _is(kind: type[T], value: object) -> T:
    """The value, if it has this type. Errors: `TypeError`. SQLite stores any type in any column."""
    if not isinstance(value, kind):
        raise TypeError
    return value


_HEAD: Final = select(log_head.c.only)

# The writer of the tree locks the row of its head. That requires the privilege to change it, which an advisory lock
# does not: any role that may connect could hold one, and block the log.
_TRY: Final = _HEAD.with_for_update(skip_locked=True)

_WAIT: Final = _HEAD.with_for_update()

# A client that freezes between the messages of one statement leaves its connection active, and reading from the client.
# No timeout of PostgreSQL ends a transaction in that state (before transaction_timeout of version 17).
_END_STALLED: Final = text(
    "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
    "WHERE relation = 'log_head'::regclass AND datname = current_database() AND pid <> pg_backend_pid() "
    "AND state = 'active' AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - interval '10 s' "
    "AND (pg_has_role(usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))"
)

_FIRST: Final = 256
"""The oldest of this many ids that wait counts. Ids begin with the time, so that they are older than all others."""

_KEYS_ALONE: Final = text("LOCK TABLE log_keys IN SHARE ROW EXCLUSIVE MODE")
_ADD_ENTRY: Final = inserting(logs)
_ADD_CLIENT_IP: Final = insert(log_client_ips).values(
    entry_id=bindparam("entry_id", type_=log_client_ips.c.entry_id.type),
    ip=bindparam("client_ip", type_=log_client_ips.c.ip.type),
    salt=bindparam("client_ip_salt", type_=log_client_ips.c.salt.type),
)
_ADD_IP: Final = Statement(_ADD_CLIENT_IP)
_ADD_WITH_IP: Final = Statement(insertion(logs).add_cte(_ADD_CLIENT_IP.cte("origin")))
_WITH_IP: Final = logs.outerjoin(log_client_ips, log_client_ips.c.entry_id == logs.c.id)
_ENTRY: Final = (logs, log_client_ips.c.ip, log_client_ips.c.salt)
_ADD_LEAVES: Final = inserting(log_leaves)
_ADD_NODES: Final = inserting(log_nodes)
_ADD_CHECKPOINT: Final = inserting(log_checkpoints)
_ADD_KEY: Final = inserting(log_keys)
_WAITING: Final = Statement(select(log_queue.c.entry_id).limit(1))


class SqlLogTree:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def anything_waiting(self) -> bool:
        return bool(await self._connection.rows(_WAITING))

    async def lead(self, *, wait: bool) -> bool:
        if not self._connection.locking:  # SQLite has one writing unit at a time
            return True
        if await self._connection.rows(_WAIT if wait else _TRY):
            return True
        # A missing head is an error, unlike a locked one: otherwise the log would stop without a message.
        if wait or not await self._connection.rows(_HEAD):
            return True
        if await self._connection.rows(_END_STALLED):
            _log.warning("Ended the connection of a stalled process that blocked the log")
        return False

    async def backlog(self) -> Backlog:
        queue = log_queue.c.entry_id
        first = select(queue).order_by(queue).limit(_FIRST)
        oldest = select(func.min(logs.c.timestamp)).where(logs.c.id.in_(first)).scalar_subquery()
        count = select(func.count()).select_from(log_queue).scalar_subquery()
        with _readable():
            [row] = await self._connection.rows(select(count.label("entries"), oldest.label("oldest")))
            return Backlog(*row)

    async def state(self) -> Frontier:
        with _readable():
            [row] = await self._connection.rows(select(log_head.c.size, log_head.c.frontier))
            return Frontier.from_bytes(_is(int, row[0]), _is(bytes, row[1]))

    async def waiting(self, limit: int) -> list[LogEntry]:
        # By ids and not by a join: no plan then reads the whole log, even with poor statistics.
        first = select(log_queue.c.entry_id).order_by(log_queue.c.entry_id)
        entries = await self._entries(first.limit(limit))
        while not entries:
            # Some waiting entries may be missing. They must not block the others.
            lost = [row[0] for row in await self._connection.rows(first.limit(limit))]
            if len(lost) < limit:
                break
            first = first.where(log_queue.c.entry_id > lost[-1])
            entries = await self._entries(first.limit(limit))
        return entries

    async def _entries(self, ids: Select[Any]) -> list[LogEntry]:
        statement = select(logs).where(logs.c.id.in_(ids)).order_by(logs.c.id)
        try:
            return [entry_from_row(row) for row in await self._connection.rows(statement)]
        except _UNREADABLE:
            # An unreadable entry does not get into the tree, and does not block the others.
            waiting = [row[0] for row in await self._connection.rows(ids)]
            return [entry for entry_id in waiting for entry in await self._readable_entry(entry_id)]

    async def _readable_entry(self, entry_id: UUID) -> list[LogEntry]:
        with suppress(*_UNREADABLE):
            return [
                entry_from_row(row) for row in await self._connection.rows(select(logs).where(logs.c.id == entry_id))
            ]
        return []

    async def extend(
        self,
        first: int,
        leaves: Sequence[tuple[LogEntryId, bytes]],
        nodes: Sequence[tuple[Node, bytes]],
        grown: Frontier,
        note: str,
    ) -> None:
        rows: list[Values] = [
            {"leaf_index": index, "entry_id": entry_id, "hash": leaf}
            for index, (entry_id, leaf) in enumerate(leaves, first)
        ]
        await self._connection.write(_ADD_LEAVES, rows)
        if nodes:
            rows = [{"level": node.level, "position": node.position, "hash": hashed} for node, hashed in nodes]
            await self._connection.write(_ADD_NODES, rows)
        sequenced = select(log_leaves.c.entry_id).where(log_leaves.c.leaf_index >= first)
        await self._connection.write(delete(log_queue).where(log_queue.c.entry_id.in_(sequenced)))
        await self._connection.write(_ADD_CHECKPOINT, {"size": grown.size, "note": note})
        await self._connection.write(update(log_head).values(size=grown.size, frontier=grown.to_bytes()))

    async def index_of(self, entry_id: LogEntryId) -> int | None:
        row = await self._connection.row(select(log_leaves.c.leaf_index).where(log_leaves.c.entry_id == entry_id))
        return None if row is None else int(row[0])

    async def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        if level == 0:
            at = log_leaves.c.leaf_index
            statement = select(log_leaves.c.hash).where(at >= first, at < first + count).order_by(at)
        else:
            at = log_nodes.c.position
            within = and_(log_nodes.c.level == level, at >= first, at < first + count)
            statement = select(log_nodes.c.hash).where(within).order_by(at)
        with _readable():
            return [_is(bytes, row[0]) for row in await self._connection.rows(statement)]

    async def newest_checkpoint(self) -> str | None:
        statement = select(log_checkpoints.c.note).order_by(log_checkpoints.c.size.desc()).limit(1)
        with _readable():
            row = await self._connection.row(statement)
            return None if row is None else _is(str, row[0])


class SqlLogRecords:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def leaves(self, first: int, limit: int) -> list[Leaf]:
        try:
            return await self._leaves(first, limit)
        except _UNREADABLE:
            # A value is one that this service cannot have written: read the other leaves one by one.
            c = log_leaves.c
            some = select(c.leaf_index).where(c.leaf_index >= first).order_by(c.leaf_index).limit(limit)
            indexes = [row[0] for row in await self._connection.rows(some)]
            return [leaf for index in indexes for leaf in await self._one(index)]

    async def _one(self, index: int) -> list[Leaf]:
        try:
            return await self._leaves(index, 1, at_most=index)
        except _UNREADABLE:
            return [Leaf(index=index, entry_id=UUID(int=0), hash=b"", entry=None, readable=False)]

    async def _leaves(self, first: int, limit: int, at_most: int | None = None) -> list[Leaf]:
        c = log_leaves.c
        statement = (
            select(c.leaf_index, c.entry_id, c.hash, *_ENTRY)
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
            return [(_is(int, row[0]), _is(str, row[1])) for row in await self._connection.rows(statement)]
        except _UNREADABLE:
            with _readable():
                sizes = [_is(int, row[0]) for row in await self._connection.rows(statement.with_only_columns(c.size))]
            return [(size, await self._readable_note(size)) for size in sizes]

    async def _readable_note(self, size: int) -> str:
        """A note; if the stored value is not text, an empty text, which is not a valid note."""
        note = select(log_checkpoints.c.note).where(log_checkpoints.c.size == size)
        with suppress(*_UNREADABLE):
            [row] = await self._connection.rows(note)
            return _is(str, row[0])
        return ""

    async def strays(self, after: LogEntryId | None, limit: int) -> ComparedEntries:
        c = logs.c
        within = literal(True) if after is None else c.id > after
        with _readable():
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
        with _readable():
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
        with _readable():
            [row] = await self._connection.rows(select(log_pruned.c.size))
            return _is(int, row[0])

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


class SqlLogKeys:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def all(self) -> Sequence[LogKey]:
        statement = select(log_keys).order_by(log_keys.c.number)
        with _readable():
            keys = [log_key_from_row(row) for row in await self._connection.rows(statement)]
            return [key for key in keys if str(key)]

    async def all_to_change(self) -> Sequence[LogKey]:
        if self._connection.locking:
            await self._connection.write(_KEYS_ALONE)
        return await self.all()

    async def add(self, key: LogKey) -> None:
        await self._connection.write(_ADD_KEY, log_key_to_row(key))

    async def save(self, key: LogKey) -> None:
        here = log_keys.c.number == key.number
        await self._connection.write(update(log_keys).where(here).values(private=key.private))


_SESSION: Final = list(logs.c).index(logs.c.session_id)


def _is_as_written(entry: LogEntry, session_id: object) -> bool:
    """True if every field has its type. The column of the session repeats a part of the canonical bytes."""
    return entry.in_order and session_id == entry.session_id and isinstance(entry.salt, bytes)


def _leaf(row: Row) -> Leaf:
    index, entry_id, hashed = row[:3]
    entry = None if row[3] is None else entry_from_row(row[3:])
    readable = isinstance(hashed, bytes) and (entry is None or _is_as_written(entry, row[3:][_SESSION]))
    return Leaf(index=index, entry_id=entry_id, hash=hashed, entry=entry, readable=readable)


class SqlLogs:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def page(self, which: LogFilter, after: After[datetime] | None, limit: int) -> list[LogEntry]:
        statement = _page(which, after).limit(limit)
        if which.session_id is None:
            return await self._entries(statement)
        # Two queries, each of which an index answers. Together they read no more than two pages.
        within = await self._entries(statement.where(logs.c.session_id == which.session_id))
        upon = await self._entries(
            statement.where(logs.c.target_type == "session", logs.c.target_id == str(which.session_id))
        )
        found = {entry.id: entry for entry in (*within, *upon)}
        return sorted(found.values(), key=lambda entry: (entry.timestamp, entry.id), reverse=True)[:limit]

    async def search(self, which: LogFilter, after: After[datetime] | None, limit: int) -> Found[LogEntry, datetime]:
        if which.session_id is not None or not which.several:  # indexes have it, in order of time
            return Found(await self.page(which, after, limit))
        # No index has all conditions: that of the first finds the next entries, and the others apply among them.
        (first, value), *others = which.equals.items()
        ahead = _page(LogFilter(since=which.since, until=which.until), after).where(logs.c[first] == value)
        among = ahead.with_only_columns(*logs.c).limit(AHEAD).subquery("ahead")
        ips = log_client_ips
        fitting = select(among, ips.c.ip, ips.c.salt).outerjoin_from(among, ips, ips.c.entry_id == among.c.id)
        fitting = fitting.where(*(among.c[name] == wanted for name, wanted in others))
        found = await self._entries(fitting.order_by(among.c.timestamp.desc(), among.c.id.desc()).limit(limit))
        if len(found) == limit:
            return Found(found)
        places = await self._connection.rows(
            ahead.with_only_columns(logs.c.timestamp, logs.c.id).offset(AHEAD - 1).limit(2)
        )
        return Found(found, After(*places[0]) if len(places) > 1 else None)

    async def counts(self, action: str, moments: Sequence[datetime], most: int) -> list[int]:
        c = logs.c
        parts = [
            select(literal(place).label("place"), func.count().label("entries")).select_from(
                select(c.id)
                .where(c.action == action, c.timestamp >= since, c.timestamp < until)
                .order_by(c.timestamp.desc())  # by the index of both: otherwise a planner may read all of the hour
                .limit(most)
                .subquery()
            )
            for place, (since, until) in enumerate(pairwise(moments))
        ]
        rows = await self._connection.rows(union_all(*parts).order_by("place"))
        return [entries for _, entries in rows]

    async def _entries(self, statement: Select[Any]) -> list[LogEntry]:
        return [entry_from_row(row) for row in await self._connection.rows(statement)]

    async def get(self, entry_id: LogEntryId) -> LogEntry | None:
        row = await self._connection.row(select(*_ENTRY).select_from(_WITH_IP).where(logs.c.id == entry_id))
        return None if row is None else entry_from_row(row)


def _page(which: LogFilter, after: After[datetime] | None) -> Select[Any]:
    """The query for entries after `after`, newest first, by all conditions but the session."""
    c = logs.c
    statement = select(*_ENTRY).select_from(_WITH_IP)
    statement = statement.where(*(c[name] == value for name, value in which.equals.items()))
    if which.since is not None:
        statement = statement.where(c.timestamp >= which.since)
    if which.until is not None:
        statement = statement.where(c.timestamp < which.until)
    if after is not None:
        there = tuple_(literal(after.key, c.timestamp.type), literal(after.id, c.id.type))
        statement = statement.where(tuple_(c.timestamp, c.id) < there)
    return statement.order_by(c.timestamp.desc(), c.id.desc())


async def write_entries(connection: SqlConnection, entries: Sequence[LogEntry]) -> None:
    """Add entries to the log, each with its client IP: in PostgreSQL in one statement."""
    rows = [entry_to_row(entry) for entry in entries if entry.client_ip is None]
    if rows:
        await connection.write(_ADD_ENTRY, rows)
    known = [(entry_to_row(entry), client_ip_to_row(entry, entry.client_ip)) for entry in entries if entry.client_ip]
    if not known:
        return
    if connection.dialect == "sqlite":
        await connection.write(_ADD_ENTRY, [row for row, _ in known])
        await connection.write(_ADD_IP, [ip for _, ip in known])
    else:
        await connection.write(_ADD_WITH_IP, [row | ip for row, ip in known])
