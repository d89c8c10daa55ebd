"""Units within a transaction of the program that embeds ubr, on the connection of that program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, Self, TypeVar

from sqlalchemy import func, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.engine import Mode
from ubr.adapters.sql.errors import MISSING_PRIVILEGE, SqlUnavailable
from ubr.adapters.sql.hosted_drivers import CLOSED, FAILED, HostedDriver, HostedPostgresqlDriver, HostedSqliteDriver
from ubr.adapters.sql.rate_limit_store import SqlRateLimitStore
from ubr.adapters.sql.revocation import position_on
from ubr.adapters.sql.statements import Statement
from ubr.adapters.sql.uninterrupted import uninterrupted
from ubr.adapters.sql.unit_of_work import SqlUnitOfWork
from ubr.application.audit.recorder import Recorder
from ubr.application.kernel.hooks import Hooks
from ubr.application.ports.hosting import HostTransaction, WrongConnection
from ubr.application.ports.secrets import Signer
from ubr.application.ports.system import Clock
from ubr.domain.errors import TransactionConflict

T = TypeVar("T")

_UNDOING: Final = 5.0
"""Seconds for rolling a unit back. After that the host's connection is closed, so that half a unit is not committed."""

_SCHEMA: Final = text(
    "SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE pg_class.oid = to_regclass('feed_head')"
)
# A database that was copied from another one on this server has its epoch and its files' names too.
_IDENTITY: Final = Statement(
    lambda dialect: (
        position_on(dialect) if dialect == "sqlite" else position_on(dialect).add_columns(func.current_database())
    )
)
_MISSING_TABLE: Final = "42P01"
_NO_RIGHT: Final = "The role of the connection lacks a privilege on the tables of ubr: grant it the role of ubr"
_ELSEWHERE: Final = "The connection leads to another database than the one of ubr"
_KINDS: Final = "ubr.within takes an AsyncConnection or an AsyncSession of SQLAlchemy, or a connection of asyncpg"
_BUSY: Final = "Another call works within this transaction: make one after the other"


class HostedConnection(SqlConnection):
    """The host's connection, during one unit.

    A unit that fails is rolled back to its beginning. If that is impossible, the host's connection is closed, because a
    commit of the host would otherwise commit half a unit.
    """

    def __init__(self, engine: AsyncEngine, mode: Mode, driver: HostedDriver) -> None:
        self._hosted = driver
        super().__init__(engine, mode)

    def _new_driver(self) -> HostedDriver:
        return self._hosted

    @classmethod
    @asynccontextmanager
    async def on(cls, engine: AsyncEngine, mode: Mode, driver: HostedDriver) -> AsyncIterator[Self]:
        """The connection, on which a unit has begun."""
        connection = cls(engine, mode, driver)
        try:
            await connection._start()
            yield connection
        finally:
            await connection._give_back()

    @property
    def _may_be_replaced(self) -> bool:
        return False

    async def _start(self) -> None:
        self._home.check()
        await self._call(self._begin())

    async def _begin(self) -> None:
        await self._hosted.take()
        await self._hosted.begin()

    async def _give_back(self) -> None:
        self._open = False
        if self._hosted.inside:
            await uninterrupted(self._undo())

    async def _undo(self) -> None:
        try:
            async with asyncio.timeout(_UNDOING):
                await self._hosted.roll_back()
        except Exception:  # noqa: BLE001 - after any error, the host must not commit
            await self._hosted.cut()

    async def _call(self, doing: Coroutine[Any, Any, T]) -> T:
        try:
            return await super()._call(doing)
        except TransactionConflict as conflict:
            conflict.repeatable = False
            raise
        except SqlUnavailable as error:
            if error.reason == MISSING_PRIVILEGE:
                raise WrongConnection(_NO_RIGHT) from None
            raise


class HostedUnitOfWork(SqlUnitOfWork):
    """Units on a connection of the host, one after the other."""

    def __init__(self, hosting: SqlHosting, given: object) -> None:
        super().__init__(hosting.engine, hosting.recorder, hosting.clock, hooks=hosting.hooks)
        self._hosting = hosting
        self._given = given
        self._checked = False
        self._busy = False

    @asynccontextmanager
    async def _opened(self, mode: Mode) -> AsyncIterator[SqlConnection]:
        self.home.check()
        if self._busy:
            raise RuntimeError(_BUSY)
        self._busy = True
        try:
            driver = await self._hosting.driver(mode, self._given)
            async with HostedConnection.on(self._engine, mode, driver) as connection:
                if not self._checked:
                    await self._hosting.check_database(connection)
                    self._checked = True
                yield connection
        finally:
            self._busy = False

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """The host's transaction has the turn already, or takes it."""
        yield


class SqlHosting:
    """Takes connections of SQLAlchemy over aiosqlite or asyncpg, and those of asyncpg itself."""

    def __init__(
        self, engine: AsyncEngine, recorder: Recorder, clock: Clock | None, signer: Signer, hooks: Hooks
    ) -> None:
        self.engine: Final = engine
        self.recorder: Final = recorder
        self.clock: Final = clock
        self.hooks: Final = hooks
        self._signer = signer
        self._sqlite = engine.dialect.name == "sqlite"
        self._schema: str | None = None
        """The schema of the tables in PostgreSQL; None until it is known."""
        self._identity: tuple[str, ...] = ()
        """The epoch of the feed, and the name of the database."""

    def within(self, connection: object) -> HostTransaction:
        if not isinstance(connection, AsyncConnection | AsyncSession) and (
            self._sqlite or not _is_of_asyncpg(connection)
        ):
            raise WrongConnection(f"{_KINDS}, not {type(connection).__name__}")
        unit_of_work = HostedUnitOfWork(self, connection)
        return HostTransaction(
            unit_of_work=unit_of_work,
            rate_limit_store=SqlRateLimitStore(unit_of_work, self._signer) if self._sqlite else None,
        )

    async def driver(self, mode: Mode, given: object) -> HostedDriver:
        """Errors: `WrongConnection`; `StoreUnavailable`."""
        if isinstance(given, AsyncSession):
            try:
                given = await given.connection()
            except InvalidRequestError:
                raise WrongConnection(FAILED) from None
        if isinstance(given, AsyncConnection):
            if given.sync_connection is None or given.closed or given.invalidated:
                raise WrongConnection(CLOSED)
            if (given.dialect.name, given.dialect.driver) != (self.engine.dialect.name, self.engine.dialect.driver):
                raise WrongConnection(
                    f"The connection is one of {given.dialect.name} by {given.dialect.driver}; ubr has its tables in "
                    f"{self.engine.dialect.name}, and works by {self.engine.dialect.driver}"
                )
            if self._sqlite:
                return HostedSqliteDriver(mode, given)
        if self._schema is None:
            await self._look_up()
        assert self._schema is not None  # noqa: S101 - it was just looked up
        return HostedPostgresqlDriver(self.engine, mode, given, self._schema)

    async def check_database(self, connection: SqlConnection) -> None:
        """Errors: `WrongConnection` if the connection leads to another database."""
        try:
            [row] = await connection.rows(_IDENTITY)
        except Exception as error:
            if getattr(error, "sqlstate", None) != _MISSING_TABLE and "such table" not in f"{error}":
                raise
            raise WrongConnection(_ELSEWHERE) from None
        if tuple(row[1:]) != self._identity:  # a restore begins a new epoch
            await self._look_up()
        if tuple(row[1:]) != self._identity:
            raise WrongConnection(_ELSEWHERE)

    async def _look_up(self) -> None:
        async with SqlConnection.opened(self.engine, Mode.PEEK) as connection:
            [row] = await connection.rows(_IDENTITY)
            self._identity = tuple(row[1:])
            if not self._sqlite:
                [[self._schema]] = await connection.rows(_SCHEMA)


def _is_of_asyncpg(connection: object) -> bool:
    import asyncpg.pool  # noqa: PLC0415 - not needed with SQLite

    return isinstance(connection, asyncpg.Connection | asyncpg.pool.PoolConnectionProxy)
