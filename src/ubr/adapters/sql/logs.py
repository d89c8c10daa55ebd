"""The log: read here, written by committing a unit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, literal, select, tuple_

from ubr.adapters.sql.link import Link
from ubr.adapters.sql.rows import entry_from_row, entry_to_row
from ubr.adapters.sql.tables import logs
from ubr.application.ports.repositories import After, LogFilter
from ubr.domain.audit import LogEntry
from ubr.domain.values import LogEntryId


class SqlLogs:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def page(self, which: LogFilter, after: After[datetime] | None, limit: int) -> list[LogEntry]:
        c = logs.c
        statement = select(logs)
        if which.level is not None:
            statement = statement.where(c.level == which.level)
        if which.action is not None:
            statement = statement.where(c.action == which.action)
        if which.actor_id is not None:
            statement = statement.where(c.actor_id == which.actor_id)
        if which.target_id is not None:
            statement = statement.where(c.target_id == which.target_id)
        if which.since is not None:
            statement = statement.where(c.timestamp >= which.since)
        if which.until is not None:
            statement = statement.where(c.timestamp < which.until)
        if after is not None:
            there = tuple_(literal(after.key, c.timestamp.type), literal(after.id, c.id.type))
            statement = statement.where(tuple_(c.timestamp, c.id) < there)
        statement = statement.order_by(c.timestamp.desc(), c.id.desc()).limit(limit)
        return [entry_from_row(row) for row in await self._link.rows(statement)]

    async def get(self, entry_id: LogEntryId) -> LogEntry | None:
        row = await self._link.row(select(logs).where(logs.c.id == entry_id))
        return None if row is None else entry_from_row(row)


async def write_entries(link: Link, entries: Sequence[LogEntry]) -> None:
    """Add entries to the log, all in one statement."""
    if entries:
        await link.write(insert(logs), [entry_to_row(entry) for entry in entries])
