"""One connection, in one transaction."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Column, Executable, Select, delete, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from ubr.adapters.sql.connection_queue import CONNECTION_QUEUE, ConnectionQueue
from ubr.adapters.sql.drivers import Driver, PostgresqlDriver, SqliteDriver
from ubr.adapters.sql.engine import HOME, Mode
from ubr.adapters.sql.errors import SqlUnavailable, is_answer, translated
from ubr.adapters.sql.failure_log import log_failure
from ubr.adapters.sql.statements import Parameters, Row, Statement
from ubr.adapters.sql.uninterrupted import uninterrupted
from ubr.application.kernel.home_loop import HomeLoop
from ubr.domain.errors import StoreUnavailable, UbrError
from ubr.domain.events import Event

_log: Final = logging.getLogger("ubr.sql")

T = TypeVar("T")


class SqlConnection:
    """The connection that the repositories of one unit share. It also collects the events of the stored aggregates.

    Errors: those of the domain, including `StoreUnavailable`. `WrongEventLoop` is raised before anything is sent. An
    error of a driver is translated, unless it is a bug.

    A connection returns to the pool only if its driver says that it is open and outside a transaction. After every
    error except an answer of the database, it is closed. A connection that returned inside a transaction would make
    all later units on it parts of that transaction, which is never committed.
    """

    @classmethod
    @asynccontextmanager
    async def opened(cls, engine: AsyncEngine, mode: Mode) -> AsyncIterator[Self]:
        """A connection on which the transaction of the mode has begun. It is given back at the end."""
        connection = cls(engine, mode)
        try:
            await connection._start()
            yield connection
        finally:
            await connection._give_back()

    def __init__(self, engine: AsyncEngine, mode: Mode) -> None:
        options = engine.get_execution_options()
        self._home: HomeLoop = options[HOME]
        self._queue: ConnectionQueue = options[CONNECTION_QUEUE]
        self._has_place = False
        self.dialect = engine.dialect.name
        self._threaded = self.dialect == "sqlite"
        self._engine = engine
        self._mode = mode
        self._driver = self._new_driver()
        self._broken = False
        self.writing = mode in {Mode.WRITE, Mode.AUTOCOMMIT}
        self.locking = mode is Mode.WRITE and not self._threaded
        """True if reads lock their rows. In SQLite, a writing unit is the only writer from its start on."""
        self.events: list[Event] = []
        self._lost = False
        """True if the connection turned out to be broken."""
        self.moment: datetime | None = None
        """The moment of the unit. None: that of each query, by the clock of the database."""
        self._unused = True
        """False from the first answer to a query, or the first write, on."""
        self._open = True

    @property
    def now(self) -> datetime:
        """The moment of a unit."""
        assert self.moment is not None  # noqa: S101 - units have one
        return self.moment

    async def rows(self, statement: Statement | Executable, parameters: Parameters | None = None) -> Sequence[Row]:
        """The rows that a query returns."""
        self._check()
        try:
            found = await self._call(self._driver.fetch(statement, parameters))
        except StoreUnavailable:
            if not self._may_be_replaced:
                raise
            await self._replace()
            found = await self._call(self._driver.fetch(statement, parameters))
        self._unused = False
        return found

    @property
    def _may_be_replaced(self) -> bool:
        """True once at most. Later, another connection might lead to another server, or a write be executed twice."""
        return self._lost and self._unused

    async def row(self, statement: Statement | Executable, parameters: Parameters | None = None) -> Row | None:
        """The one row that a query returns; None if there is none."""
        found = await self.rows(statement, parameters)
        if len(found) > 1:
            raise RuntimeError("A query for one row found several")
        return found[0] if found else None

    async def write(
        self, statement: Statement | Executable, parameters: Parameters | Sequence[Parameters] | None = None
    ) -> int:
        """Execute a writing statement. Returns the number of affected rows, if there is one set of parameters."""
        self._check_writing()
        if isinstance(parameters, Sequence):
            if len(parameters) > 1:
                await self._call(self._driver.execute_many(statement, parameters))
                return -1
            [parameters] = parameters
        return await self._call(self._driver.execute(statement, parameters))

    async def change(self, statement: Statement | Executable, parameters: Parameters | None = None) -> Sequence[Row]:
        """Execute a writing statement with RETURNING. Returns those rows.

        SQLite does not count the rows of a statement that begins with WITH, so `write` cannot.
        """
        self._check_writing()
        return await self._call(self._driver.fetch(statement, parameters))

    async def forget(self, key: Column[Any], which: Select[Any]) -> int:
        """Delete the rows whose keys a query selects. Returns the number deleted."""
        # A CTE is evaluated once. A subquery may be evaluated again, and its `limit` may then select other rows.
        ended = which.cte("ended")
        return len(await self.change(delete(key.table).where(key.in_(select(ended.c[key.name]))).returning(key)))

    async def lend(self, work: Callable[[Any], Awaitable[None]]) -> None:
        """Let code of the host work in the transaction, on the connection that it knows.

        Errors: those of the code; an error of the driver is translated like one of ubr's own statements.
        """
        self._check_writing()
        try:
            await work(self._driver.connection)
        except UbrError:
            raise
        except Exception as error:
            if (meaning := _meaning(error)) is None:
                raise
            raise meaning from None
        except BaseException:
            # As in `_call`: asyncpg and the server may disagree after a cancellation.
            self._broken = self._broken or not self._threaded
            raise

    def note(self, events: list[Event]) -> None:
        """Take the events of a stored aggregate."""
        self.events += events
        events.clear()

    def _new_driver(self) -> Driver:
        return (SqliteDriver if self._threaded else PostgresqlDriver)(self._engine, self._mode)

    async def _start(self) -> None:
        self._home.check()
        await self._queue.take()
        self._has_place = True
        try:
            await self._call(self._begin())
        except StoreUnavailable:
            if not self._may_be_replaced:
                raise
            await self._replace()

    async def _begin(self) -> None:
        await self._driver.take()
        if not self._driver.idle:
            self._lost = True
            raise SqlUnavailable("a connection was not idle")
        await self._driver.begin()

    async def _replace(self) -> None:
        """Begin on another connection, since the pool had a broken one, which only a message reveals."""
        await uninterrupted(self._return())
        self._driver, self._broken, self._lost, self._unused = self._new_driver(), False, False, False
        await self._call(self._begin())

    async def commit(self) -> None:
        self._check()
        await self._call(self._commit())
        self._open = False

    async def _commit(self) -> None:
        await self._driver.commit()
        if not self._driver.idle:
            # The transaction was part of another one, so nothing is committed.
            raise SqlUnavailable("a commit did not end the transaction")

    async def _give_back(self) -> None:
        """Roll back uncommitted changes and return the connection, even if the task is being cancelled."""
        self._open = False
        try:
            if not self._driver.started:
                return
            if self._threaded or self._broken or not self._driver.idle:
                await uninterrupted(self._return())
            else:  # this does not wait, so no cancellation interrupts it
                await self._driver.give_back()
        finally:
            if self._has_place:
                self._has_place = False
                self._queue.give_back()

    async def _return(self) -> None:
        if not self._broken:
            try:
                await self._driver.roll_back()
                self._broken = not self._driver.idle
            except Exception as error:  # noqa: BLE001 - after any error, this connection must not be used again
                if translated(error) is None:
                    _log.warning("A connection to the database could not be rolled back (%s)", type(error).__name__)
                self._broken = True
        if self._broken:
            await self._driver.cut()
        await self._driver.give_back()

    def _check(self) -> None:
        self._home.check()
        if not self._open:
            raise RuntimeError("This unit of work has ended")

    def _check_writing(self) -> None:
        self._check()
        if not self.writing:
            raise RuntimeError("This unit of work only reads")
        self._unused = False

    async def _call(self, doing: Coroutine[Any, Any, T]) -> T:
        try:
            # SQLite works in a thread, which cannot be stopped. A task that stopped waiting for it would not know the
            # state of the connection.
            return await (uninterrupted(doing) if self._threaded else doing)
        except Exception as error:
            # After a timeout of the driver, or an unforeseen error, the server may still be working: the state of the
            # connection is unknown.
            self._broken = self._broken or not is_answer(error)
            self._lost = self._lost or self._is_lost(error)
            if (meaning := _meaning(error, lost=self._lost)) is None:
                raise
            # The driver's text can contain addresses and names.
            raise meaning from None
        except BaseException:
            # Cancelled: asyncpg and the server may disagree about whether a transaction has begun. The thread of SQLite
            # has finished its work by now.
            self._broken = self._broken or not self._threaded
            raise

    def _is_lost(self, error: Exception) -> bool:
        if isinstance(error, DBAPIError):
            return error.connection_invalidated
        return self._driver.started and not self._driver.usable


def _meaning(error: Exception, *, lost: bool = False) -> UbrError | None:
    """The error of the domain for an error of a driver, after a line in the log about it; None for a bug."""
    meaning = translated(error, lost=lost)
    if meaning is not None:
        log_failure(meaning)
    return meaning
