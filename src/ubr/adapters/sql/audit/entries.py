"""The entries of the log: how they are written, found and counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import Select, bindparam, column, func, insert, literal, select, tuple_, values

from ubr.adapters.sql.audit.rows import client_ip_to_row, entry_from_row, entry_to_row
from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.statements import Statement, inserting, insertion
from ubr.adapters.sql.tables import log_client_ips, logs
from ubr.application.ports.audit import LogFilter
from ubr.application.ports.paging import After, Found
from ubr.domain.audit.entry import LogEntry
from ubr.domain.ids import LogEntryId

AHEAD: Final = 30_000
"""Number of entries among which a search with several conditions looks for a page: some 50 ms at most."""

ENTRY: Final = (logs, log_client_ips.c.ip, log_client_ips.c.salt)
"""The columns that `entry_from_row` reads, from `logs` joined with `log_client_ips`."""

_ADD_ENTRY: Final = inserting(logs)
_ADD_CLIENT_IP: Final = insert(log_client_ips).values(
    entry_id=bindparam("entry_id", type_=log_client_ips.c.entry_id.type),
    ip=bindparam("client_ip", type_=log_client_ips.c.ip.type),
    salt=bindparam("client_ip_salt", type_=log_client_ips.c.salt.type),
)
_ADD_IP: Final = Statement(_ADD_CLIENT_IP)
_ADD_WITH_IP: Final = Statement(insertion(logs).add_cte(_ADD_CLIENT_IP.cte("origin")))
_WITH_IP: Final = logs.outerjoin(log_client_ips, log_client_ips.c.entry_id == logs.c.id)


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
        # One query for all of them, and not a part of a UNION for each: that would take many times the memory.
        columns = column("since", c.timestamp.type), column("until", c.timestamp.type)
        spans = values(*columns).data(list(pairwise(moments))).cte("spans")
        some = (
            select(c.id)
            .where(c.action == action, c.timestamp >= spans.c.since, c.timestamp < spans.c.until)
            .order_by(c.timestamp.desc())  # by the index of both: otherwise a planner may read all of the hour
            .limit(most)
            .correlate(spans)
            .subquery()
        )
        count = select(func.count()).select_from(some).scalar_subquery()
        rows = await self._connection.rows(select(count).select_from(spans).order_by(spans.c.since))
        return [entries for (entries,) in rows]

    async def _entries(self, statement: Select[Any]) -> list[LogEntry]:
        return [entry_from_row(row) for row in await self._connection.rows(statement)]

    async def get(self, entry_id: LogEntryId) -> LogEntry | None:
        row = await self._connection.row(select(*ENTRY).select_from(_WITH_IP).where(logs.c.id == entry_id))
        return None if row is None else entry_from_row(row)


def _page(which: LogFilter, after: After[datetime] | None) -> Select[Any]:
    """The query for entries after `after`, newest first, by all conditions but the session."""
    c = logs.c
    statement = select(*ENTRY).select_from(_WITH_IP)
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
