"""One connection in one transaction."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Column, Executable, RowMapping, Select, delete, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from ubr.adapters.sql.errors import translated
from ubr.adapters.sql.uninterrupted import uninterrupted
from ubr.domain.events import Event

T = TypeVar("T")
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class SqlConnection:
    """What the repositories of a unit share: statements go through here, and the events of what is stored gather here.

    Errors: those of the domain, `StoreUnavailable` among them; never one of a driver that could have been foreseen.
    """

    def __init__(self, engine: AsyncEngine, *, writing: bool) -> None:
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
        await self._call(self._start())

    async def _start(self) -> None:
        _ = await self._connection.start()
        _ = await self._connection.begin()

    async def commit(self) -> None:
        self._check()
        await self._call(self._connection.commit())
        self._open = False

    async def give_back(self) -> None:
        """Roll back what is not committed and return the connection, also where the task is being cancelled."""
        self._open = False
        await uninterrupted(self._give_back())

    async def _give_back(self) -> None:
        if self._connection.sync_connection is None:
            return  # it never began
        if self._broken:
            await self._cut()
        try:
            await self._connection.close()
        except (SQLAlchemyError, OSError):  # Rolling back failed, so nobody may get this connection again.
            await self._cut()
            await self._connection.close()

    async def _cut(self) -> None:
        """Close the connection without another word to a server that may never answer."""
        if self._connection.invalidated:
            return  # SQLAlchemy has done so already
        with suppress(SQLAlchemyError, OSError):
            raw = await self._connection.get_raw_connection()
            if (terminate := getattr(raw.driver_connection, "terminate", None)) is not None:
                terminate()
        with suppress(SQLAlchemyError, OSError):
            await self._connection.invalidate()

    def _check(self) -> None:
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
            # A limit of the driver's own: the server may still be at work, so the connection is in no known state.
            self._broken = self._broken or isinstance(error, OSError)
            self.lost = isinstance(error, DBAPIError) and error.connection_invalidated
            meaning = translated(error)
            if meaning is None:
                raise
            # The driver's text can hold addresses and names.
            raise meaning from None
