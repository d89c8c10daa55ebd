"""One connection, in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Column, Executable, RowMapping, Select, delete, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from ubr.adapters.sql.complaints import complain
from ubr.adapters.sql.engine import HOME
from ubr.adapters.sql.errors import SqlUnavailable, is_answer, translated
from ubr.adapters.sql.uninterrupted import uninterrupted
from ubr.application.kernel.home_loop import HomeLoop
from ubr.domain.events import Event

_log: Final = logging.getLogger("ubr.sql")

T = TypeVar("T")
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class SqlConnection:
    """The connection that the repositories of one unit share. It also collects the events of the stored aggregates.

    Errors: those of the domain, including `StoreUnavailable`. `WrongEventLoop` is raised before anything is sent. An
    error of a driver is translated, unless it is a bug.

    A connection returns to the pool only if its driver says that it is open and outside a transaction. After every
    error except an answer of the database, it is closed. A connection that returned inside a transaction would make
    all later units on it parts of that transaction, which is never committed.
    """

    def __init__(self, engine: AsyncEngine, *, writing: bool) -> None:
        self._home: HomeLoop = engine.get_execution_options()[HOME]
        self._connection = engine.connect()
        self._broken = False
        self.writing = writing
        self.dialect = engine.dialect.name
        self.locking = writing and self.dialect == "postgresql"
        """True if reads lock their rows. In SQLite, a writing unit is the only writer from its start on."""
        self._threaded = self.dialect == "sqlite"
        self.events: list[Event] = []
        self.lost = False
        """True if the connection turned out to be broken."""
        self._open = True

    async def rows(self, statement: Executable) -> Sequence[RowMapping]:
        """The rows that a query returns."""
        self._check()
        return (await self._call(self._connection.execute(statement))).mappings().all()

    async def row(self, statement: Executable, parameters: Parameters | None = None) -> RowMapping | None:
        """The one row that a query returns; None if there is none."""
        self._check()
        return (await self._call(self._connection.execute(statement, parameters))).mappings().one_or_none()

    async def write(self, statement: Executable, parameters: Parameters | None = None) -> int:
        """Execute a writing statement. Returns the number of affected rows, if there is one set of parameters."""
        self._check_writing()
        return (await self._call(self._connection.execute(statement, parameters))).rowcount

    async def change(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[RowMapping]:
        """Execute a writing statement with RETURNING. Returns those rows.

        SQLite does not count the rows of a statement that begins with WITH, so `write` cannot.
        """
        self._check_writing()
        return (await self._call(self._connection.execute(statement, parameters))).mappings().all()

    async def forget(self, key: Column[Any], which: Select[Any]) -> int:
        """Delete the rows whose keys a query selects. Returns the number deleted."""
        # A CTE is evaluated once. A subquery may be evaluated again, and its `limit` may then select other rows.
        ended = which.cte("ended")
        return len(await self.change(delete(key.table).where(key.in_(select(ended.c[key.name]))).returning(key)))

    def note(self, events: list[Event]) -> None:
        """Take the events of a stored aggregate."""
        self.events += events
        events.clear()

    async def start(self) -> None:
        self._home.check()
        await self._call(self._start())

    async def _start(self) -> None:
        _ = await self._connection.start()
        if not self._is_idle():
            self.lost = True
            raise SqlUnavailable("a connection was not idle")
        _ = await self._connection.begin()

    async def commit(self) -> None:
        self._check()
        await self._call(self._commit())
        self._open = False

    async def _commit(self) -> None:
        await self._connection.commit()
        if not self._is_idle():
            # The transaction was part of another one, so nothing is committed.
            raise SqlUnavailable("a commit did not end the transaction")

    async def give_back(self) -> None:
        """Roll back uncommitted changes and return the connection, even if the task is being cancelled."""
        self._open = False
        await uninterrupted(self._give_back())

    async def _give_back(self) -> None:
        if self._connection.sync_connection is None:
            return  # it was never opened
        if not self._broken:
            try:
                await self._connection.rollback()
                self._broken = not self._is_idle()
            except Exception as error:  # noqa: BLE001 - after any error, this connection must not be used again
                if translated(error) is None:
                    _log.warning("A connection to the database could not be rolled back (%s)", type(error).__name__)
                self._broken = True
        if self._broken:
            await self._cut()
        await self._connection.close()

    def _is_idle(self) -> bool:
        """True if the driver says that the connection is open and outside a transaction."""
        if self._connection.invalidated:
            return False
        driver: Any = self._raw().driver_connection
        if self._threaded:
            return not driver.in_transaction
        return not (driver.is_closed() or driver.is_in_transaction())

    def _raw(self) -> Any:
        assert self._connection.sync_connection is not None  # noqa: S101 - it was started
        return self._connection.sync_connection.connection

    async def _cut(self) -> None:
        """Close the connection without a message to the server, which may never answer."""
        if self._connection.invalidated:
            return  # SQLAlchemy has done so already
        with suppress(Exception):
            if (terminate := getattr(self._raw().driver_connection, "terminate", None)) is not None:
                terminate()
        with suppress(Exception):
            await self._connection.invalidate()

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
            # SQLite works in a thread, which cannot be stopped. A task that stopped waiting for it would not know the
            # state of the connection.
            return await (uninterrupted(doing) if self._threaded else doing)
        except Exception as error:
            # After a timeout of the driver, or an unforeseen error, the server may still be working: the state of the
            # connection is unknown.
            self._broken = self._broken or not is_answer(error)
            self.lost = self.lost or (isinstance(error, DBAPIError) and error.connection_invalidated)
            meaning = translated(error)
            if meaning is None:
                raise
            complain(meaning)
            # The driver's text can contain addresses and names.
            raise meaning from None
        except BaseException:
            # Cancelled: asyncpg and the server may disagree about whether a transaction has begun. The thread of SQLite
            # has finished its work by now.
            self._broken = self._broken or not self._threaded
            raise
