"""One connection in one transaction."""

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
    """What the repositories of a unit share: statements go through here, and the events of what is stored gather here.

    Errors: those of the domain, `StoreUnavailable` among them; never one of a driver that could have been foreseen.
    `WrongEventLoop` before anything is sent.

    A connection goes back to the pool only where its driver says that it is open and in no transaction. It is cut
    after every error but an answer of the database itself: left inside a transaction, it would make the units of those
    who get it next parts of that one, which nobody ever commits.
    """

    def __init__(self, engine: AsyncEngine, *, writing: bool) -> None:
        self._home: HomeLoop = engine.get_execution_options()[HOME]
        self._connection = engine.connect()
        self._broken = False
        self.writing = writing
        self.dialect = engine.dialect.name
        self.locking = writing and self.dialect == "postgresql"
        """Whether reads have to lock. A writing unit of SQLite is alone from its beginning."""
        self._threaded = self.dialect == "sqlite"
        self.events: list[Event] = []
        self.lost = False
        """Whether the connection turned out to be broken."""
        self._open = True

    async def rows(self, statement: Executable) -> Sequence[RowMapping]:
        """What a query finds."""
        self._check()
        return (await self._call(self._connection.execute(statement))).mappings().all()

    async def row(self, statement: Executable, parameters: Parameters | None = None) -> RowMapping | None:
        """The one row a query finds, or None."""
        self._check()
        return (await self._call(self._connection.execute(statement, parameters))).mappings().one_or_none()

    async def write(self, statement: Executable, parameters: Parameters | None = None) -> int:
        """Change something; how many rows, where there is one set of parameters."""
        self._check_writing()
        return (await self._call(self._connection.execute(statement, parameters))).rowcount

    async def change(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[RowMapping]:
        """Change something; what the statement returns of it. (SQLite counts no rows where a WITH stands in front.)"""
        self._check_writing()
        return (await self._call(self._connection.execute(statement, parameters))).mappings().all()

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
        """Roll back what is not committed and return the connection, also where the task is being cancelled."""
        self._open = False
        await uninterrupted(self._give_back())

    async def _give_back(self) -> None:
        if self._connection.sync_connection is None:
            return  # it never began
        if not self._broken:
            try:
                await self._connection.rollback()
                self._broken = not self._is_idle()
            except Exception as error:  # noqa: BLE001 - whatever it was, nobody may get this connection again
                if translated(error) is None:
                    _log.warning("A connection to the database could not be rolled back (%s)", type(error).__name__)
                self._broken = True
        if self._broken:
            await self._cut()
        await self._connection.close()

    def _is_idle(self) -> bool:
        """Whether the driver says that the connection is open and in no transaction."""
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
        """Close the connection without another word to a server that may never answer."""
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
            # SQLite works in a thread, which cannot be stopped: a task that no longer waited for it would leave a
            # connection behind in no known state.
            return await (uninterrupted(doing) if self._threaded else doing)
        except Exception as error:
            # A limit of the driver's own, or an error that nobody foresaw: the server may still be at work, so the
            # connection is in no known state.
            self._broken = self._broken or not is_answer(error)
            self.lost = self.lost or (isinstance(error, DBAPIError) and error.connection_invalidated)
            meaning = translated(error)
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
