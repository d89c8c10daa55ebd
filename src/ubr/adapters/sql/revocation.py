"""The revocation feed, and the workers that follow it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import (
    ColumnElement,
    Interval,
    RowMapping,
    Select,
    and_,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
    text,
    tuple_,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.engine import READ_ONLY
from ubr.adapters.sql.tables import Timestamp, feed, feed_head, workers
from ubr.application.ports.revocation import CommittedChanges, FeedPosition, FeedRead, WorkerId
from ubr.application.ports.system import Clock
from ubr.domain.revocation.changes import Change, ChangeRecord

_PLACE: Final[ColumnElement[str]] = literal_column(
    "extract(epoch FROM pg_postmaster_start_time())::text || ' ' || pg_relation_filenode('feed_head')::text"
)
"""The start time of this server, and the file that holds the head of the feed: restoring a dump creates another file.
No session setting changes the format of the two."""


async def write_changes(connection: SqlConnection, commit_id: UUID, changes: Sequence[Change], now: datetime) -> None:
    """Add rows to the feed. They get their numbers when the transaction commits."""
    rows = [
        {"batch": commit_id, "ordinal": ordinal, "kind": change.kind, "thing": change.id, "at": now}
        for ordinal, change in enumerate(changes)
    ]
    await connection.write(insert(feed), rows)


def position_of(dialect: str) -> Any:
    """Selects the position of the feed. The epoch changes with a restore, and differs on another server."""
    epoch: ColumnElement[str] = feed_head.c.epoch
    if dialect == "postgresql":
        epoch = feed_head.c.epoch.concat(" ").concat(_PLACE)
    return select(feed_head.c.number.label("head"), epoch.label("epoch"))


def position_from_row(row: RowMapping) -> FeedPosition:
    return FeedPosition(epoch=row["epoch"], number=row["head"])


_RECORD: Final = select(feed.c.number, feed.c.kind, feed.c.thing)


class SqlChangeFeed:
    """The feed over one engine, outside its units of work. Without `clock`, PostgreSQL's clock is used."""

    def __init__(self, engine: AsyncEngine, clock: Clock | None = None) -> None:
        self._engine = engine
        self._reader = engine.execution_options(**{READ_ONLY: True})
        self._clock = clock
        self._position = position_of(engine.dialect.name)

    async def read(self, since: int | None) -> FeedRead:
        later = and_(feed.c.number > literal(since, feed.c.number.type)) if since is not None else literal(False)
        # One statement, so one snapshot: it contains every row up to the position of the feed.
        statement = (
            self._position.add_columns(feed.c.number, feed.c.kind, feed.c.thing)
            .select_from(feed_head.outerjoin(feed, later))
            .order_by(feed.c.number)
        )
        async with self._reading() as connection:
            rows = await connection.rows(statement)
        found = tuple(_row(row) for row in rows if row["number"] is not None)
        return FeedRead(position=position_from_row(rows[0]), rows=found)

    async def committed_changes(self, commit_id: UUID) -> CommittedChanges:
        return await self._committed(_RECORD.where(feed.c.batch == commit_id).order_by(feed.c.ordinal))

    async def latest_change(self, change: Change) -> CommittedChanges:
        about = and_(feed.c.kind == change.kind, feed.c.thing == change.id)
        return await self._committed(_RECORD.where(about).order_by(feed.c.number.desc()).limit(1))

    async def _committed(self, records: Select[Any]) -> CommittedChanges:
        async with self._reading() as connection:
            rows = await connection.rows(records)
            present = await connection.rows(select(workers.c.id))
            position = position_from_row((await connection.rows(self._position))[0])
        return CommittedChanges(
            epoch=position.epoch,
            rows=tuple(map(_row, rows)),
            workers=frozenset(WorkerId(row["id"]) for row in present),
            # A process keeps the file that it has open; the server behind an address can be replaced.
            steady=self._engine.dialect.name == "sqlite",
        )

    async def renew(self, worker: WorkerId) -> None:
        upsert = (sqlite if self._engine.dialect.name == "sqlite" else postgresql).insert(workers)
        values = {"id": worker, "renewal": uuid4(), "renewed_at": self._now()}
        statement = upsert.values(values).on_conflict_do_update(
            index_elements=[workers.c.id],
            set_={"renewal": upsert.excluded.renewal, "renewed_at": upsert.excluded.renewed_at},
        )
        async with self._writing() as connection:
            if connection.locking:  # Overrides the configuration: the row must survive a crash.
                await connection.write(text("SET LOCAL synchronous_commit TO on"))
            await connection.write(statement)

    async def leave(self, worker: WorkerId) -> None:
        async with self._writing() as connection:
            await connection.write(delete(workers).where(workers.c.id == worker))

    async def workers(self) -> Mapping[WorkerId, Hashable]:
        async with self._reading() as connection:
            found = await connection.rows(select(workers.c.id, workers.c.renewal))
        return {WorkerId(row["id"]): row["renewal"] for row in found}

    async def remove_worker(self, worker: WorkerId, renewal: Hashable) -> None:
        async with self._writing() as connection:
            await connection.write(delete(workers).where(workers.c.id == worker, workers.c.renewal == renewal))

    async def forget(self, older: timedelta, limit: int) -> int:
        key = tuple_(feed.c.batch, feed.c.ordinal)
        oldest = (
            select(feed.c.batch, feed.c.ordinal).where(feed.c.at < self._ago(older)).order_by(feed.c.at).limit(limit)
        )
        # All workers do this in the same minute, and skip rows that another worker is deleting. A CTE is
        # evaluated once; a subquery may be evaluated again, and would then lock other rows.
        ended = oldest.with_for_update(skip_locked=True).cte("ended")
        async with self._writing() as connection:
            return await connection.write(delete(feed).where(key.in_(select(ended.c.batch, ended.c.ordinal))))

    def _now(self) -> ColumnElement[datetime]:
        if self._clock is not None:
            return literal(self._clock(), Timestamp())
        return func.clock_timestamp(type_=Timestamp())

    def _ago(self, span: timedelta) -> ColumnElement[datetime]:
        if self._clock is not None:
            return literal(self._clock() - span, Timestamp())
        # A subquery, evaluated once: no index serves a comparison with a function that may differ for each row.
        moment = select(type_coerce(func.clock_timestamp() - literal(span, Interval()), Timestamp()))
        return moment.scalar_subquery()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[SqlConnection]:
        connection = SqlConnection(self._reader, writing=False)
        try:
            await connection.start()
            yield connection
        finally:
            await connection.give_back()

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[SqlConnection]:
        connection = SqlConnection(self._engine, writing=True)
        try:
            await connection.start()
            yield connection
            await connection.commit()
        finally:
            await connection.give_back()


def _row(row: RowMapping) -> ChangeRecord:
    return ChangeRecord(row["number"], Change(row["kind"], row["thing"]))
