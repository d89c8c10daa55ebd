"""Engines: the address of the database, the time limits, and the start of a transaction in each dialect."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ubr.adapters.sql.connection_queue import CONNECTION_QUEUE, ConnectionQueue
from ubr.adapters.sql.errors import SqlUnavailable
from ubr.adapters.sql.sqlite_file import private_file
from ubr.adapters.sql.uninterrupted import uninterrupted
from ubr.application.kernel.home_loop import HomeLoop
from ubr.extras import require

if TYPE_CHECKING:
    import aiosqlite

MODE: Final = "ubr_mode"
"""The execution option with the `Mode` of a connection."""

HOME: Final = "ubr_home"
"""The execution option with the `HomeLoop` of an engine: its connections work in that event loop only."""

_SHORT: Final = 0.005
"""Seconds between two attempts at a change that SQLite does not wait for. Such a change takes about this long."""

_CACHED_STATEMENTS: Final = "prepared_statement_cache_size"

_PASSWORD_FILE: Final = "password_file"
"""The option with the path of a file that contains the password: it is read for each connection."""

_AUTH: Final = "auth"
"""The option that says who issues the password, `aws-iam`."""

_OWN: Final = frozenset({_CACHED_STATEMENTS, _PASSWORD_FILE, _AUTH})
"""The options that the driver does not know."""

_SYSTEM: Final = "system"
"""As the value of `sslrootcert`: every authority that the system trusts."""

_IAM: Final = "aws-iam"
_PORT: Final = 5432

_DRIVERS: Final = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}


class Mode(Enum):
    """The use of a connection."""

    WRITE = auto()
    READ = auto()
    """All queries see one state."""
    PEEK = auto()
    """Each query may see a later state than the one before."""
    AUTOCOMMIT = auto()
    """One statement, which commits itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """The number of connections, and the limit in seconds of each kind of wait. Every wait has one."""

    connections: int = 10
    acquire: float = 2.0
    """For a free connection. In SQLite also for the previous writer, in this process or another."""
    connect: float = 2.0
    statement: float = 4.0
    """PostgreSQL's `statement_timeout`. The timeout of the driver is 0.5 s longer, for a server that is frozen."""
    lock: float = 3.0
    idle: float = 10.0
    """For the next statement of an open transaction."""
    recycle: float = 1800.0
    """The age at which a connection is replaced, before a load balancer drops it."""


def normal_url(url: str) -> str:
    """The URL with the driver that is used here, for every spelling of the scheme.

    Errors: `ValueError`, with a sentence that contains no part of the URL except its scheme.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError("The database URL cannot be read; it looks like postgresql://user@host/name") from None
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise ValueError(
            f"The database URL begins with {parsed.drivername}://; it must begin with postgresql:// or sqlite://"
        )
    if driver.startswith("sqlite") and (parsed.database or ":memory:") == ":memory:":
        raise ValueError("The database URL names no file; for SQLite it looks like sqlite:///path/to/file.db")
    return parsed.set(drivername=driver).render_as_string(hide_password=False)


def make_engine(
    url: str,
    limits: ConnectionLimits | None = None,
    *,
    durable: bool = True,
    home: HomeLoop | None = None,
    schema: str | None = None,
) -> AsyncEngine:
    """An engine that has not connected yet.

    With `durable` False, SQLite commits without waiting for the disk: for tests. `home` is the event loop of the
    application, by default the loop that connects first. `schema` is the schema of the tables in PostgreSQL.
    Errors: `ValueError`.
    """
    limits = limits or ConnectionLimits()
    parsed = make_url(normal_url(url))
    if parsed.drivername.startswith("sqlite"):
        return sqlite_engine(parsed, limits, durable=durable, home=home)
    return _postgresql_engine(parsed, limits, home or HomeLoop(), schema)


def sqlite_engine(
    url: URL,
    limits: ConnectionLimits,
    *,
    durable: bool = True,
    foreign_keys: bool = True,
    home: HomeLoop | None = None,
) -> AsyncEngine:
    require("sqlite")
    import aiosqlite  # noqa: PLC0415 - an installation with PostgreSQL does not need it

    pragmas = (
        f"busy_timeout={_milliseconds(limits.acquire)}",
        # In WAL mode, NORMAL may lose the last commits in a power failure, including a revocation that was answered.
        f"synchronous={'FULL' if durable else 'OFF'}",
        f"foreign_keys={'ON' if foreign_keys else 'OFF'}",
    )

    async def connect() -> aiosqlite.Connection:
        private_file(url.database or "")
        # Without an isolation level, the driver begins no transactions by itself.
        connection = aiosqlite.connect(url.database or "", timeout=limits.acquire, isolation_level=None)
        thread = connection._thread  # noqa: SLF001 - there is no other way to it
        thread.daemon = True
        try:
            _ = await connection
            await connection.executescript("".join(f"PRAGMA {pragma};" for pragma in pragmas))
            await _write_ahead(connection, limits.acquire)
        except BaseException:
            await connection.close()
            await asyncio.to_thread(thread.join)  # it ends by itself, but might outlive the event loop
            raise
        return connection

    engine = create_async_engine(
        url,
        async_creator=connect,
        pool_size=limits.connections,
        max_overflow=0,
        pool_timeout=limits.acquire,
        # `SqlConnection` rolls back itself, and checks the result.
        pool_reset_on_return=None,
        execution_options={
            HOME: home or HomeLoop(),
            CONNECTION_QUEUE: ConnectionQueue(limits.connections, limits.acquire),
        },
        hide_parameters=True,
    )

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # If a transaction reads first, its first write fails at once if another transaction has written since,
        # whatever the busy timeout is. So a transaction that may write takes the lock at its start.
        mode = connection.get_execution_options().get(MODE, Mode.WRITE)
        if mode is not Mode.PEEK:
            connection.exec_driver_sql("BEGIN" if mode is Mode.READ else "BEGIN IMMEDIATE")

    return engine


async def _write_ahead(connection: aiosqlite.Connection, patience: float) -> None:
    """Put the file into WAL mode. The file keeps the mode.

    If two connections change the mode of a file at once, SQLite rejects one of them without waiting for the busy
    timeout (https://www.sqlite.org/c3ref/busy_handler.html). That one tries again, for `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            await connection.executescript("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            await asyncio.sleep(_SHORT)
        else:
            return


def _postgresql_engine(url: URL, limits: ConnectionLimits, home: HomeLoop, schema: str | None) -> AsyncEngine:
    require("postgres")
    dsn = _dsn(url)
    cached = cached_statements(url)
    password = _password_of(url)
    settings = {
        "timezone": "UTC",
        "jit": "off",  # these queries take less time than the compilation
        "statement_timeout": _milliseconds(limits.statement),
        "lock_timeout": _milliseconds(limits.lock),
        "idle_in_transaction_session_timeout": _milliseconds(limits.idle),
    }

    async def connect() -> Any:
        from ubr.adapters.sql import postgresql  # noqa: PLC0415 - not needed with SQLite

        _check_files(url)
        made = []

        async def make() -> None:
            made.append(
                await postgresql.connect(
                    dsn,
                    settings,
                    schema,
                    connect_timeout=limits.connect,
                    command_timeout=limits.statement + 0.5,
                    statement_cache_size=cached,
                    trust_system=url.query.get("sslrootcert") == _SYSTEM,
                    password=await password() if password is not None else None,
                )
            )

        # If asyncpg were cancelled during the handshake, asyncio would report an exception that was never retrieved.
        try:
            await uninterrupted(make())
        except asyncio.CancelledError:
            for connection in made:
                connection.terminate()
            raise
        return made[0]

    statements: dict[str, Any] = {"prepared_statement_cache_size": cached}
    if cached == 0:  # behind PgBouncer, the name may be missing in the session, or belong to another client
        statements["prepared_statement_name_func"] = str

    def create() -> Any:
        assert engine.sync_engine.dialect.dbapi is not None  # noqa: S101 - it has connected
        return engine.sync_engine.dialect.dbapi.connect(async_creator_fn=connect, **statements)

    engine = create_async_engine(
        url.set(query={}),
        creator=create,
        pool_size=limits.connections,
        max_overflow=0,
        pool_timeout=limits.acquire,
        pool_recycle=limits.recycle,
        pool_reset_on_return=None,
        execution_options={HOME: home, CONNECTION_QUEUE: ConnectionQueue(limits.connections, limits.acquire)},
        hide_parameters=True,
    )

    @event.listens_for(engine.sync_engine, "handle_error")
    def cut(context: ExceptionContext) -> None:
        # A server that did not answer will not answer a close message either. SQLAlchemy would wait two seconds for it.
        if isinstance(context.original_exception, TimeoutError) and context.connection is not None:
            driver = context.connection.connection.driver_connection
            if driver is not None:
                driver.terminate()

    return engine


def _dsn(url: URL) -> str:
    """The URL in the form of libpq. asyncpg supports all of its parameters, SQLAlchemy only some."""
    query = {
        "sslmode" if name == "ssl" else name: value
        for name, value in url.query.items()
        if name not in _OWN and (name, value) != ("sslrootcert", _SYSTEM)
    }
    return url.set(drivername="postgresql", query=query).render_as_string(hide_password=False)


def _password_of(url: URL) -> Callable[[], Awaitable[str]] | None:
    """Gives the password of a new connection, if it is not that of the URL.

    The function raises `SqlUnavailable` if there is none. Errors: `ValueError`.
    """
    issuer, path = url.query.get(_AUTH), url.query.get(_PASSWORD_FILE)
    if issuer is not None:
        if issuer != _IAM or not url.username or not url.host:
            raise ValueError(f"The database URL has an auth other than {_IAM}, or no user or host for it")
        return partial(_issued, url.host, url.port or _PORT, url.username)
    return partial(_read, path) if isinstance(path, str) else None


async def _issued(host: str, port: int, role: str) -> str:
    from ubr.adapters.aws.credentials import NoCredentials  # noqa: PLC0415 - not needed elsewhere
    from ubr.adapters.aws.passwords import database_password  # noqa: PLC0415

    try:
        return await database_password(host, port, role)
    except NoCredentials as error:
        raise SqlUnavailable("no credentials of AWS", f"AWS IAM issues no password: {error}") from None


async def _read(path: str) -> str:
    try:
        text = await asyncio.to_thread(Path(path).read_text, encoding="utf-8")
    except (OSError, ValueError):
        raise SqlUnavailable("no password", "The file of the database password cannot be read") from None
    return text.removesuffix("\n").removesuffix("\r")


def _check_files(url: URL) -> None:
    """Check that the TLS files are readable. For some of them, the driver would report a lost connection instead.

    Errors: `SqlUnavailable`.
    """
    for option in ("sslrootcert", "sslcert", "sslkey"):
        path = url.query.get(option)
        if isinstance(path, str) and path != _SYSTEM and not os.access(path, os.R_OK):
            raise SqlUnavailable(f"{option} cannot be read", f"The file of {option} in the database URL cannot be read")


def cached_statements(url: URL) -> int:
    """The number of prepared statements that each connection keeps. 0: they have no names. Errors: `ValueError`."""
    given = url.query.get(_CACHED_STATEMENTS, "100")
    if not isinstance(given, str) or re.fullmatch(r"[0-9]{1,5}", given) is None:
        raise ValueError(f"The database URL has a {_CACHED_STATEMENTS} that is not a number")
    return int(given)


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
