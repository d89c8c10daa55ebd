"""Units of work: one connection, one transaction, one commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import DateTime, func, literal, select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from ubr.adapters.sql.accounts import SqlLinks, SqlUsers
from ubr.adapters.sql.audit.entries import SqlLogs, write_entries
from ubr.adapters.sql.audit.keys import SqlLogKeys
from ubr.adapters.sql.audit.records import SqlLogRecords
from ubr.adapters.sql.audit.tree import SqlLogTree
from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.connection_queue import CONNECTION_QUEUE
from ubr.adapters.sql.engine import HOME, Mode
from ubr.adapters.sql.errors import SqlTooSlow
from ubr.adapters.sql.failure_log import log_failure
from ubr.adapters.sql.idempotency import SqlIdempotencyStore
from ubr.adapters.sql.keys import SqlSigningKeys
from ubr.adapters.sql.leases import SqlLeases
from ubr.adapters.sql.machines import SqlMachineKeys, SqlMachines
from ubr.adapters.sql.mail import SqlOutbox
from ubr.adapters.sql.personal_data import SqlPersonalData
from ubr.adapters.sql.protection import CounterRows, SqlKnownClients, SqlPasswordAttempts
from ubr.adapters.sql.revocation import POSITION, position_from_row, write_changes
from ubr.adapters.sql.roles import SqlRoles
from ubr.adapters.sql.sessions import SqlPrincipals, SqlRefreshTokens, SqlSessions
from ubr.adapters.sql.statements import Statement, updating
from ubr.adapters.sql.tables import feed_head
from ubr.application.audit.recorder import Recorder
from ubr.application.kernel.home_loop import HomeLoop
from ubr.application.kernel.hooks import NO_HOOKS, HookedUnit, Hooks
from ubr.application.ports.metrics import Load
from ubr.application.ports.revocation import FeedPosition
from ubr.application.ports.system import Clock
from ubr.application.revocation.pending_changes import PendingChanges
from ubr.domain.actor import Actor, System
from ubr.domain.events import Event
from ubr.domain.revocation.changes import Change

_CLOCK: Final = Statement(select(func.clock_timestamp(type_=DateTime(timezone=True))))
_PING: Final = Statement(select(literal(1)))
_BEGIN_EPOCH: Final = updating(feed_head, columns=[feed_head.c.epoch])


class SqlRepositories:
    """The repositories on one connection."""

    def __init__(self, connection: SqlConnection) -> None:
        self.users: Final = SqlUsers(connection)
        self.roles: Final = SqlRoles(connection)
        self.sessions: Final = SqlSessions(connection)
        self.refresh_tokens: Final = SqlRefreshTokens(connection)
        self.logs: Final = SqlLogs(connection)
        self.log_tree: Final = SqlLogTree(connection)
        self.log_records: Final = SqlLogRecords(connection)
        self.log_keys: Final = SqlLogKeys(connection)
        self.signing_keys: Final = SqlSigningKeys(connection)
        self.idempotency: Final = SqlIdempotencyStore(connection)
        self.principals: Final = SqlPrincipals(connection)
        self.links: Final = SqlLinks(connection)
        self.outbox: Final = SqlOutbox(connection)
        self.password_attempts: Final = SqlPasswordAttempts(connection)
        self.known_clients: Final = SqlKnownClients(connection)
        self.leases: Final = SqlLeases(connection)
        self.machines: Final = SqlMachines(connection, self.users)
        self.machine_keys: Final = SqlMachineKeys(connection)
        self.personal_data: Final = SqlPersonalData(connection)
        self.counters: Final = CounterRows(connection)
        self._connection = connection

    async def feed_position(self) -> FeedPosition:
        return position_from_row((await self._connection.rows(POSITION))[0])


class SqlTransaction(SqlRepositories):
    """Reads and writes in one transaction."""

    def __init__(
        self, connection: SqlConnection, recorder: Recorder, actor: Actor | System | None, hooks: Hooks
    ) -> None:
        super().__init__(connection)
        self.now: Final = connection.now
        self._hooks = hooks
        self._recorder = recorder
        self._actor = actor
        self._pending = PendingChanges()
        self.commit_id: UUID | None = None
        self.committed: Sequence[Event] = ()

    @property
    def must_propagate(self) -> bool:
        return self._pending.must_propagate

    def announce(self, change: Change, *, alone: bool = True) -> None:
        self._pending.announce(change, alone=alone)

    async def begin_epoch(self) -> None:
        await self._connection.write(_BEGIN_EPOCH, {"epoch": self._recorder.random_bytes(16).hex()})

    def record(self, event: Event) -> None:
        self._connection.note([event])

    async def commit(self) -> None:
        if self._hooks.works_within:
            await self._connection.lend(self._run_hooks)
        entries = self._recorder.entries(self._connection.events, actor=self._actor, now=self.now)
        await write_entries(self._connection, entries)
        self._pending.gather(self._connection.events)
        batch = await self._write_changes()
        await self._connection.commit()
        self.commit_id = batch
        self.committed = tuple(self._connection.events)

    async def _run_hooks(self, connection: object) -> None:
        unit = HookedUnit(connection=connection, actor=self._actor, now=self.now)
        await self._hooks.run_within(tuple(self._connection.events), unit)

    async def _write_changes(self) -> UUID | None:
        """Write the changes to the feed. Returns the key of their rows; None without changes."""
        if not self._pending.changes:
            return None
        batch = self._recorder.new_id()
        await write_changes(self._connection, batch, self._pending.changes, self.now)
        return batch


class SqlUnitOfWork:
    """Units over one engine. Without `clock`, PostgreSQL's clock is used; SQLite has none and requires `clock`."""

    def __init__(
        self, engine: AsyncEngine, recorder: Recorder, clock: Clock | None = None, *, hooks: Hooks = NO_HOOKS
    ) -> None:
        sqlite = engine.dialect.name == "sqlite"
        if sqlite and clock is None:
            raise ValueError("SQLite has no clock of its own: pass one")
        self._recorder = recorder
        self._hooks = hooks
        self._clock = clock
        self._engine = engine
        # SQLite allows one writer at a time and makes the others poll. This lock queues those of this process.
        self._turn = asyncio.Lock() if sqlite else None
        self.home: HomeLoop = engine.get_execution_options()[HOME]
        self._patience = engine.pool.timeout() if isinstance(engine.pool, QueuePool) else 0.0

    @asynccontextmanager
    async def begin(self, actor: Actor | System | None) -> AsyncIterator[SqlTransaction]:
        async with self._in_turn(), self._unit(actor, Mode.WRITE) as transaction:
            yield transaction

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlTransaction]:
        async with self._unit(None, Mode.READ) as transaction:
            yield transaction

    @asynccontextmanager
    async def peek(self) -> AsyncIterator[SqlRepositories]:
        async with self._single(Mode.PEEK) as connection:
            yield SqlRepositories(connection)

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[SqlRepositories]:
        async with self._in_turn(), self._single(Mode.AUTOCOMMIT) as connection:
            yield SqlRepositories(connection)
            await connection.commit()

    # A step of its own, because a `HostedUnitOfWork` opens a connection of the host here.
    def _opened(self, mode: Mode) -> AbstractAsyncContextManager[SqlConnection]:
        return SqlConnection.opened(self._engine, mode)

    @asynccontextmanager
    async def _single(self, mode: Mode) -> AsyncIterator[SqlConnection]:
        """A connection that does not ask PostgreSQL for the time: its statements do."""
        async with self._opened(mode) as connection:
            connection.moment = None if self._clock is None else self._clock()
            yield connection

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        self.home.check()
        if self._turn is None:
            yield
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._turn.acquire()
        except TimeoutError:
            slow = SqlTooSlow("other units wrote for too long")
            log_failure(slow)
            raise slow from None
        try:
            yield
        finally:
            self._turn.release()

    @asynccontextmanager
    async def _unit(self, actor: Actor | System | None, mode: Mode) -> AsyncIterator[SqlTransaction]:
        async with self._opened(mode) as connection:
            connection.moment = await self._now(connection)
            yield SqlTransaction(connection, self._recorder, actor, self._hooks)

    async def _now(self, connection: SqlConnection) -> datetime:
        row = None if self._turn is not None else await connection.row(_CLOCK)
        if self._clock is not None:
            return self._clock()
        assert row is not None  # noqa: S101 - without `clock`, the row is from PostgreSQL
        now: datetime = row[0]
        return now


class SqlStore:
    """The engine for requests, and the one for background jobs, for operators and shutdown."""

    def __init__(self, engine: AsyncEngine, background_engine: AsyncEngine | None = None) -> None:
        self._engine = engine
        self._engines = {"requests": engine}
        if background_engine is not None:
            self._engines["background"] = background_engine

    @property
    def connections(self) -> Mapping[str, Load]:
        return {name: engine.get_execution_options()[CONNECTION_QUEUE].load for name, engine in self._engines.items()}

    async def ping(self) -> None:
        async with SqlConnection.opened(self._engine, Mode.PEEK) as connection:
            await connection.row(_PING)

    async def close(self) -> None:
        for engine in self._engines.values():
            await engine.dispose()
