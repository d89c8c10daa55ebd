"""One connection of the pool, and how statements run on it: by SQLAlchemy on SQLite, by asyncpg on PostgreSQL.

The pool is SQLAlchemy's in both cases. On PostgreSQL its statements would cost three times as much as those of asyncpg.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from sqlalchemy import Executable
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from ubr.adapters.sql.engine import MODE, Mode
from ubr.adapters.sql.errors import SqlUnavailable
from ubr.adapters.sql.statements import CompiledStatement, Parameters, Row, Statement

_BEGIN: Final = {
    Mode.WRITE: "BEGIN;",
    # One snapshot for all reads of a unit, without a risk of serialization failures.
    Mode.READ: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;",
    Mode.PEEK: "BEGIN READ ONLY;",
    Mode.AUTOCOMMIT: "BEGIN;",
}
_SINGLE: Final = frozenset({Mode.PEEK, Mode.AUTOCOMMIT})
"""Their statements need no transaction in a session of its own."""


class Driver(Protocol):
    """One connection. Errors: those of the driver."""

    @property
    def started(self) -> bool:
        """True once there is a connection."""

    @property
    def usable(self) -> bool:
        """True if the connection is open."""

    @property
    def idle(self) -> bool:
        """True if the connection is open and in no transaction."""

    @property
    def connection(self) -> Any:
        """The connection as a host knows it: of SQLAlchemy on SQLite, of asyncpg on PostgreSQL."""

    async def take(self) -> None:
        """Take a connection from the pool."""

    async def begin(self) -> None:
        """Begin a transaction, unless the mode has statements that need none."""

    async def commit(self) -> None: ...

    async def roll_back(self) -> None: ...

    async def fetch(self, statement: Statement | Executable, parameters: Parameters | None) -> Sequence[Row]: ...

    async def execute(self, statement: Statement | Executable, parameters: Parameters | None) -> int:
        """The number of rows that the statement changed."""

    async def execute_many(self, statement: Statement | Executable, parameters: Sequence[Parameters]) -> None: ...

    async def cut(self) -> None:
        """Close the connection without another message to a server that may never answer."""

    async def give_back(self) -> None:
        """Return the connection to the pool, unless it is cut."""


class SqliteDriver:
    def __init__(self, engine: AsyncEngine, mode: Mode) -> None:
        self._connection = engine.execution_options(**{MODE: mode}).connect()

    @property
    def started(self) -> bool:
        return self._connection.sync_connection is not None

    @property
    def usable(self) -> bool:
        return not self._connection.invalidated

    @property
    def idle(self) -> bool:
        return self.usable and not self._raw().in_transaction

    def _raw(self) -> Any:
        assert self._connection.sync_connection is not None  # noqa: S101 - it was started
        return self._connection.sync_connection.connection.driver_connection

    @property
    def connection(self) -> Any:
        return self._connection

    async def take(self) -> None:
        _ = await self._connection.start()

    async def begin(self) -> None:
        _ = await self._connection.begin()

    async def commit(self) -> None:
        await self._connection.commit()

    async def roll_back(self) -> None:
        await self._connection.rollback()

    async def fetch(self, statement: Statement | Executable, parameters: Parameters | None) -> Sequence[Row]:
        return (await self._connection.execute(_built(statement), parameters)).all()

    async def execute(self, statement: Statement | Executable, parameters: Parameters | None) -> int:
        return (await self._connection.execute(_built(statement), parameters)).rowcount

    async def execute_many(self, statement: Statement | Executable, parameters: Sequence[Parameters]) -> None:
        await self._connection.execute(_built(statement), list(parameters))

    async def cut(self) -> None:
        if self.usable:  # otherwise SQLAlchemy has closed it
            with suppress(Exception):
                await self._connection.invalidate()

    async def give_back(self) -> None:
        await self._connection.close()


def _built(statement: Statement | Executable) -> Executable:
    return statement.on("sqlite") if isinstance(statement, Statement) else statement


class PostgresqlDriver:
    def __init__(self, engine: AsyncEngine, mode: Mode) -> None:
        self._pool = engine.sync_engine.pool
        self._mode = mode
        self._place: Any = None
        """The connection's place in the pool."""
        self._connection: Any = None
        self._cut = False

    @property
    def started(self) -> bool:
        return self._connection is not None

    @property
    def usable(self) -> bool:
        return not (self._cut or self._connection.is_closed())

    @property
    def idle(self) -> bool:
        return self.usable and not self._connection.is_in_transaction()

    @property
    def connection(self) -> Any:
        return self._connection

    async def take(self) -> None:
        # The server may have closed connections that lay in the pool, of which there may be several.
        while True:
            place = await greenlet_spawn(self._pool.connect)
            connection: Any = place.driver_connection
            if not connection.is_closed():
                break
            place.invalidate()
        self._place, self._connection = place, connection

    async def begin(self) -> None:
        if self._mode not in _SINGLE or not self._connection.dedicated:
            await self._connection.execute(_BEGIN[self._mode])

    async def commit(self) -> None:
        if self._mode is Mode.AUTOCOMMIT and self._connection.dedicated:
            return
        # PostgreSQL answers a COMMIT after a failed statement with ROLLBACK, and no error.
        if await self._connection.execute("COMMIT") != "COMMIT":
            raise SqlUnavailable("a commit was a roll-back")

    async def roll_back(self) -> None:
        if self._connection.is_in_transaction():
            await self._connection.execute("ROLLBACK")

    async def fetch(self, statement: Statement | Executable, parameters: Parameters | None) -> Sequence[Row]:
        compiled = compiled_for_asyncpg(statement)
        return compiled.rows(await self._connection.fetch(compiled.text, *compiled.arguments(parameters)))

    async def execute(self, statement: Statement | Executable, parameters: Parameters | None) -> int:
        compiled = compiled_for_asyncpg(statement)
        status: str = await self._connection.execute(compiled.text, *compiled.arguments(parameters))
        count = status.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    async def execute_many(self, statement: Statement | Executable, parameters: Sequence[Parameters]) -> None:
        compiled = compiled_for_asyncpg(statement)
        await self._connection.executemany(compiled.text, [compiled.arguments(each) for each in parameters])

    async def cut(self) -> None:
        self._cut = True
        with suppress(Exception):
            self._connection.terminate()

    async def give_back(self) -> None:
        if self.usable:
            self._place.close()
        else:
            self._place.invalidate()


def compiled_for_asyncpg(statement: Statement | Executable) -> CompiledStatement:
    return statement.compiled if isinstance(statement, Statement) else CompiledStatement(statement)
