"""One connection in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Column, Executable, Select, delete, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from ubr.adapters.sql.complaints import complain
from ubr.adapters.sql.drivers import Driver, PostgresqlDriver, SqliteDriver
from ubr.adapters.sql.engine import HOME
from ubr.adapters.sql.errors import SqlUnavailable, is_answer, translated
from ubr.adapters.sql.statements import Parameters, Row, Statement
from ubr.adapters.sql.uninterrupted import uninterrupted
from ubr.application.kernel.home_loop import HomeLoop
from ubr.domain.events import Event

_log: Final = logging.getLogger("ubr.sql")

T = TypeVar("T")


class SqlConnection:
    """The connection of a unit: runs the statements of its repositories, and collects the events of stored objects.

    Errors: those of the domain, `StoreUnavailable` among them; never a foreseeable one of a driver. `WrongEventLoop`
    before anything is sent.

    A connection returns to the pool only if its driver says that it is open and in no transaction. It is cut after
    every error except an answer of the database: a connection left inside a transaction would make the next units on
    it part of that transaction, which nobody commits.
    """

    def __init__(self, engine: AsyncEngine, *, writing: bool) -> None:
        self._home: HomeLoop = engine.get_execution_options()[HOME]
        self.dialect = engine.dialect.name
        self._threaded = self.dialect == "sqlite"
        kind = SqliteDriver if self._threaded else PostgresqlDriver
        self._driver: Driver = kind(engine, writing=writing)
        self._broken = False
        self.writing = writing
        self.locking = writing and not self._threaded
        """True if reads must lock. A writing unit of SQLite is the only one from its beginning."""
        self.events: list[Event] = []
        self.lost = False
        """True if the connection turned out to be broken."""
        self._open = True

    async def rows(self, statement: Statement | Executable, parameters: Parameters | None = None) -> Sequence[Row]:
        """The rows that a query finds."""
        self._check()
        return await self._call(self._driver.fetch(statement, parameters))

    async def row(self, statement: Statement | Executable, parameters: Parameters | None = None) -> Row | None:
        """The only row that a query finds, or None."""
        found = await self.rows(statement, parameters)
        if len(found) > 1:
            raise RuntimeError("A query for one row found several")
        return found[0] if found else None

    async def write(
        self, statement: Statement | Executable, parameters: Parameters | Sequence[Parameters] | None = None
    ) -> int:
        """Run a statement that changes something, for each of the parameters. The number of rows if they are one."""
        self._check_writing()
        if isinstance(parameters, Sequence):
            if len(parameters) > 1:
                await self._call(self._driver.execute_many(statement, parameters))
                return -1
            [parameters] = parameters
        return await self._call(self._driver.execute(statement, parameters))

    async def change(self, statement: Statement | Executable, parameters: Parameters | None = None) -> Sequence[Row]:
        """Change something, and return the rows of RETURNING. (SQLite counts no rows of a statement with a WITH.)"""
        self._check_writing()
        return await self._call(self._driver.fetch(statement, parameters))

    async def forget(self, key: Column[Any], which: Select[Any]) -> int:
        """Delete the rows of a table whose keys a query finds; how many."""
        # A CTE is evaluated once; a subquery may be evaluated anew, and then has another `limit`.
        ended = which.cte("ended")
        return len(await self.change(delete(key.table).where(key.in_(select(ended.c[key.name]))).returning(key)))

    def note(self, events: list[Event]) -> None:
        """Take over what happened to something that was stored."""
        self.events += events
        events.clear()

    async def start(self) -> None:
        self._home.check()
        await self._call(self._start())

    async def _start(self) -> None:
        await self._driver.take()
        if not self._driver.idle:
            self.lost = True
            raise SqlUnavailable("a connection was not idle")
        await self._driver.begin()

    async def commit(self) -> None:
        self._check()
        await self._call(self._commit())
        self._open = False

    async def _commit(self) -> None:
        await self._driver.commit()
        if not self._driver.idle:
            # The transaction was part of another one, so nothing is committed.
            raise SqlUnavailable("a commit did not end the transaction")

    async def give_back(self) -> None:
        """Roll back uncommitted changes and return the connection, even if the task is being cancelled."""
        self._open = False
        if self._driver.started:
            await uninterrupted(self._give_back())

    async def _give_back(self) -> None:
        if not self._broken:
            try:
                await self._driver.roll_back()
                self._broken = not self._driver.idle
            except Exception as error:  # noqa: BLE001 - after any error no other unit may get this connection
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

    async def _call(self, doing: Coroutine[Any, Any, T]) -> T:
        try:
            # SQLite works in a thread, which cannot be stopped: a task that no longer waited for it would leave a
            # connection behind in no known state.
            return await (uninterrupted(doing) if self._threaded else doing)
        except Exception as error:
            # A limit of the driver's own, or an error that nobody foresaw: the server may still be at work, so the
            # connection is in no known state.
            self._broken = self._broken or not is_answer(error)
            self.lost = self.lost or self._is_lost(error)
            meaning = translated(error, lost=self.lost)
            if meaning is None:
                raise
            complain(meaning)
            # The driver's text can hold addresses and names.
            raise meaning from None
        except BaseException:
            # Cancelled: asyncpg may believe that a transaction has begun where the server does not, or the other way
            # round. The thread of SQLite has done all it was told by now.
            self._broken = self._broken or not self._threaded
            raise

    def _is_lost(self, error: Exception) -> bool:
        if isinstance(error, DBAPIError):
            return error.connection_invalidated
        return self._driver.started and not self._driver.usable
