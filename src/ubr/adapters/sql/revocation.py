"""The revocation feed, and the workers that follow it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import (
    ColumnElement,
    Interval,
    Select,
    bindparam,
    delete,
    func,
    literal,
    literal_column,
    null,
    select,
    text,
    tuple_,
    type_coerce,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.engine import Mode
from ubr.adapters.sql.statements import Parameters, Row, Statement, inserting, upserting
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
    await connection.write(_ADD, rows)


def position_on(dialect: str) -> Select[Any]:
    epoch: ColumnElement[str] = feed_head.c.epoch
    if dialect == "postgresql":
        epoch = feed_head.c.epoch.concat(" ").concat(_PLACE)
    return select(feed_head.c.number.label("head"), epoch.label("epoch"))


POSITION: Final = Statement(position_on)
"""Selects the position of the feed. The epoch changes with a restore, and differs on another server."""


def position_from_row(row: Row) -> FeedPosition:
    return FeedPosition(epoch=row[1], number=row[0])


def _reading(later: ColumnElement[bool]) -> Statement:
    # One statement, so one snapshot: it contains every row up to the position of the feed.
    return Statement(
        lambda dialect: (
            position_on(dialect)
            .add_columns(feed.c.number, feed.c.kind, feed.c.thing)
            .select_from(feed_head.outerjoin(feed, later))
            .order_by(feed.c.number)
        )
    )


_ADD: Final = inserting(feed, [column for column in feed.columns if column is not feed.c.number])
_READ_HEAD: Final = _reading(literal(False))
_READ_SINCE: Final = _reading(feed.c.number > bindparam("since"))


def _with_workers(records: Select[Any]) -> Statement:
    """The position of the feed with these records, and then each worker in a row of its own."""
    found = records.cte("records")
    nothing = [null() for _ in range(5)]
    # One statement, so one snapshot: a worker that is not in it began after the records were committed.
    return Statement(
        lambda dialect: union_all(
            position_on(dialect)
            .add_columns(found.c.number, found.c.kind, found.c.thing, type_coerce(null(), workers.c.id.type))
            .select_from(feed_head.outerjoin(found, literal(True))),
            select(*nothing, workers.c.id),
        )
    )


_RECORD: Final = select(feed.c.number, feed.c.kind, feed.c.thing)
_COMMITTED: Final = _with_workers(_RECORD.where(feed.c.batch == bindparam("batch")))
_LATEST: Final = _with_workers(
    _RECORD.where(feed.c.kind == bindparam("kind"), feed.c.thing == bindparam("thing"))
    .order_by(feed.c.number.desc())
    .limit(1)
)
_WORKERS: Final = Statement(select(workers.c.id, workers.c.renewal))


class SqlChangeFeed:
    """The feed over one engine, outside its units of work. Without `clock`, PostgreSQL's clock is used."""

    def __init__(self, engine: AsyncEngine, clock: Clock | None = None) -> None:
        self._engine = engine
        self._clock = clock

    async def read(self, since: int | None) -> FeedRead:
        async with self._reading() as connection:
            if since is None:
                rows = await connection.rows(_READ_HEAD)
            else:
                rows = await connection.rows(_READ_SINCE, {"since": since})
        found = tuple(_record(row[2:]) for row in rows if row[2] is not None)
        return FeedRead(position=position_from_row(rows[0]), rows=found)

    async def committed_changes(self, commit_id: UUID) -> CommittedChanges:
        return await self._committed(_COMMITTED, {"batch": commit_id})

    async def latest_change(self, change: Change) -> CommittedChanges:
        return await self._committed(_LATEST, {"kind": change.kind, "thing": change.id})

    async def _committed(self, statement: Statement, parameters: Parameters) -> CommittedChanges:
        async with self._reading() as connection:
            rows = await connection.rows(statement, parameters)
        found = [row for row in rows if row[2] is not None]
        [epoch, *_] = [row[1] for row in rows if row[1] is not None]
        return CommittedChanges(
            epoch=epoch,
            rows=tuple(_record(row[2:5]) for row in sorted(found, key=itemgetter(2))),
            workers=frozenset(WorkerId(row[5]) for row in rows if row[5] is not None),
            # A process keeps the file that it has open; the server behind an address can be replaced.
            steady=self._engine.dialect.name == "sqlite",
        )

    async def renew(self, worker: WorkerId) -> None:
        upsert = upserting(self._engine.dialect.name, workers)
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
            found = await connection.rows(_WORKERS)
        return {WorkerId(worker): renewal for worker, renewal in found}

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

    def _reading(self) -> AbstractAsyncContextManager[SqlConnection]:
        return SqlConnection.opened(self._engine, Mode.PEEK)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[SqlConnection]:
        async with SqlConnection.opened(self._engine, Mode.WRITE) as connection:
            yield connection
            await connection.commit()


def _record(row: Row) -> ChangeRecord:
    number, kind, thing = row
    return ChangeRecord(number, Change(kind, thing))
