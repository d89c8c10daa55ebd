"""The tree over the log, and the entries that wait for their place in it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, and_, delete, func, select, text, update

from ubr.adapters.sql.audit.damage import UNREADABLE, readable, typed
from ubr.adapters.sql.audit.rows import entry_from_row
from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import Values
from ubr.adapters.sql.statements import Statement, inserting
from ubr.adapters.sql.tables import log_checkpoints, log_head, log_leaves, log_nodes, log_queue, logs
from ubr.application.ports.audit import Backlog
from ubr.domain.audit.entry import LogEntry
from ubr.domain.audit.merkle import Frontier, Node
from ubr.domain.ids import LogEntryId

_log: Final = logging.getLogger("ubr.sql")

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

_ADD_LEAVES: Final = inserting(log_leaves)
_ADD_NODES: Final = inserting(log_nodes)
_ADD_CHECKPOINT: Final = inserting(log_checkpoints)
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
        with readable():
            [row] = await self._connection.rows(select(count.label("entries"), oldest.label("oldest")))
            return Backlog(*row)

    async def state(self) -> Frontier:
        with readable():
            [row] = await self._connection.rows(select(log_head.c.size, log_head.c.frontier))
            return Frontier.from_bytes(typed(int, row[0]), typed(bytes, row[1]))

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
        except UNREADABLE:
            # An unreadable entry does not get into the tree, and does not block the others.
            waiting = [row[0] for row in await self._connection.rows(ids)]
            return [entry for entry_id in waiting for entry in await self._readable_entry(entry_id)]

    async def _readable_entry(self, entry_id: UUID) -> list[LogEntry]:
        with suppress(*UNREADABLE):
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
        with readable():
            return [typed(bytes, row[0]) for row in await self._connection.rows(statement)]

    async def newest_checkpoint(self) -> str | None:
        statement = select(log_checkpoints.c.note).order_by(log_checkpoints.c.size.desc()).limit(1)
        with readable():
            row = await self._connection.row(statement)
            return None if row is None else typed(str, row[0])
