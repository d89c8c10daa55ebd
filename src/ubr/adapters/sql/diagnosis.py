"""Facts about a database for an operator. Reading them changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from ubr.adapters.sql import causes
from ubr.adapters.sql.database_grants import privileges
from ubr.adapters.sql.engine import ConnectionLimits, cached_statements, normal_url
from ubr.adapters.sql.errors import SqlUnavailable
from ubr.adapters.sql.one_connection import connected

_LIMITS: Final = ConnectionLimits(connections=1, acquire=2.0, connect=2.0, statement=2.0, lock=1.0)

_SERVER: Final = text(
    "SELECT current_setting('server_version') AS version,"
    " current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true)::int, 0) AS connections,"
    " (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role_limit,"
    " (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database_limit,"
    " pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS read_only,"
    " current_user AS role"
)
_CLOCK: Final = text("SELECT clock_timestamp()")
_OWNED: Final = text("SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('logs')")


class PostgresqlFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A PostgreSQL, as the role of the URL sees it."""

    version: str
    encrypted: bool
    pooled: bool
    """True if another process than the one that accepted the connection runs the queries."""
    named_statements: bool
    """True if statements are prepared under names, which a pooler may lose."""
    read_only: bool
    role: str
    connections: int
    """Maximum number of connections for this role."""
    ahead: timedelta
    """The clock of the database minus that of this machine."""


class RightsFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The rights of a role on the tables. A right looks like `UPDATE on logs`."""

    owner: bool
    lacking: tuple[str, ...]
    on_the_log: tuple[str, ...]
    """Rights to change or delete entries of the audit log, or their signatures."""
    only_reads: bool
    """True if the role may change no table, as that of an auditor."""


async def examine_postgresql(url: str, clock: Callable[[], datetime]) -> PostgresqlFacts:
    """`clock` is that of this machine. Errors: `StoreUnavailable`; `ValueError` for the URL."""
    from ubr.adapters.sql.postgresql import has_own_session  # noqa: PLC0415 - not needed with SQLite

    async with connected(url, _LIMITS) as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        pooled = not await has_own_session(driver)
        server = (await connection.execute(_SERVER)).one()
        asked, theirs, answered = clock(), (await connection.execute(_CLOCK)).scalar_one(), clock()
        limits = (server.connections, server.role_limit, server.database_limit)
        return PostgresqlFacts(
            version=server.version.partition(" ")[0],
            encrypted=driver._transport.get_extra_info("ssl_object") is not None,  # noqa: SLF001 - no other way
            pooled=pooled,
            named_statements=cached_statements(make_url(normal_url(url))) > 0,
            read_only=server.read_only,
            role=server.role,
            connections=min(limit for limit in limits if limit >= 0),
            ahead=theirs - (asked + (answered - asked) / 2),
        )


async def examine_rights(url: str, schema: str | None) -> RightsFacts:
    """The rights of the role of this URL. The tables have to exist. Errors: `StoreUnavailable`."""
    async with connected(url, _LIMITS, schema=schema) as connection:
        return await connection.run_sync(_rights)


def _rights(connection: Connection) -> RightsFacts:
    held = privileges(connection)
    return RightsFacts(
        owner=bool(connection.execute(_OWNED).scalar_one()),
        lacking=held.lacking,
        on_the_log=held.on_the_log,
        only_reads=held.only_reads,
    )


def write_ahead(path: Path) -> bool:
    """True if an SQLite file is in WAL mode, as ubr leaves it, so that opening it changes nothing.

    Errors: `StoreUnavailable` if it cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)) as connection:
            mode: str = connection.execute("PRAGMA journal_mode").fetchone()[0]
            connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "SQLITE")
        raise SqlUnavailable(name, causes.of_sqlite(name)) from None
    return mode == "wal"
