"""Upgrades of the database schema: `await upgrade(url)`.

Each call is one transaction. Of any number of concurrent calls, one upgrades, and the others find it done. Alembic is
loaded only for a change, not for a check.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from ubr.adapters.sql.database_grants import authenticated_by_iam, grants
from ubr.adapters.sql.engine import ConnectionLimits, make_engine, normal_url, sqlite_engine
from ubr.adapters.sql.errors import SqlUnavailable, translated
from ubr.adapters.sql.migrations.effects import Effects
from ubr.adapters.sql.migrations.schema import Place, check_server, create_unless_exists, find_place, prepare_place
from ubr.adapters.sql.one_connection import connected

if TYPE_CHECKING:
    from alembic.config import Config

T = TypeVar("T")

_FOLDER: Final = Path(__file__).parent
REVISIONS: Final = tuple(sorted(path.name.partition("_")[0] for path in (_FOLDER / "versions").glob("[0-9]*.py")))
"""All revisions, oldest first. The name of a file begins with its revision."""

# An upgrade locks the version table. That requires the privilege to change it, which an advisory lock does not: any
# role with CONNECT could hold one, and keep the service from starting. Readers do not wait for this lock.
_ALONE: Final = text("LOCK TABLE alembic_version IN SHARE ROW EXCLUSIVE MODE")
_HAS_VERSION: Final = text("SELECT to_regclass(quote_ident(current_schema()) || '.alembic_version') IS NOT NULL")
# As Alembic creates it.
_MAKE_VERSION: Final = text(
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
# Once an upgrade has the lock, a change of a large table may take its time.
_LIMITS: Final = ConnectionLimits(
    connections=1, acquire=60.0, connect=5.0, statement=24 * 3600.0, lock=60.0, idle=24 * 3600.0
)


class SchemaState(Enum):
    """The state of a database for this version of ubr."""

    EMPTY = "empty: it was never migrated"
    BEHIND = "behind: it has to be upgraded"
    CURRENT = "current"
    UNKNOWN = "unknown: a newer version has upgraded it"


class UnknownSchema(SqlUnavailable):
    """The database is at a revision that this version of ubr does not know."""


async def upgrade(
    url: str,
    revision: str = "head",
    *,
    wait: float = _LIMITS.lock,
    service: str | None = None,
    iam: bool = False,
    schema: str | None = None,
) -> tuple[str, ...]:
    """Upgrade a database. Returns the revisions that this call applied, oldest first.

    `wait` is the maximum number of seconds to wait for another upgrade. `service` is a PostgreSQL role that does not
    own the tables; it is granted the privileges that the service needs. With `iam`, it is created if it does not exist:
    AWS IAM authenticates it, so it needs no password. `schema` is the schema of the tables in
    PostgreSQL. Errors: `ValueError` for the URL, `UnknownSchema`, `StoreUnavailable`.
    """

    def both(connection: Connection) -> tuple[str, ...]:
        done = _upgrade(connection, revision, schema)
        if service is not None:
            statements = authenticated_by_iam(connection, service) if iam else []
            for statement in statements:
                connection.exec_driver_sql(statement)
            for statement in grants(connection, service):
                connection.exec_driver_sql(statement)  # a name may contain text that looks like a parameter
        return done

    return await _run(url, wait, schema, both)


def is_authenticated_by_iam(url: str) -> bool:
    return "auth" in make_url(normal_url(url)).query


def role_of(url: str) -> str:
    """The role that a URL connects as. Errors: `ValueError` if it names none."""
    role = make_url(normal_url(url)).username
    if not role:
        raise ValueError("The database URL names no role to grant privileges to")
    return role


async def downgrade(url: str, revision: str, *, wait: float = _LIMITS.lock, schema: str | None = None) -> None:
    """Downgrade a database to a revision, or to `base`, which has no tables. Data that exists only in later revisions
    is lost.

    Errors: `ValueError` for the URL, `UnknownSchema`, `StoreUnavailable`.
    """
    await _run(url, wait, schema, lambda connection: _downgrade(connection, revision, schema))


async def check(url: str, *, schema: str | None = None) -> SchemaState:
    """The state of a database. Changes nothing, and waits for no lock.

    Errors: `ValueError` for the URL, `StoreUnavailable`.
    """
    async with connected(url, ConnectionLimits(connections=1), schema=schema) as connection:
        return await connection.run_sync(lambda sync: _checked(sync, schema))


def effects_of(revision: str) -> Effects:
    """The declared effects of a migration."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    effects = ScriptDirectory(_FOLDER).get_revision(revision).module.effects
    assert isinstance(effects, Effects)  # noqa: S101 - for the type checker
    return effects


def _upgrade(connection: Connection, revision: str, schema: str | None) -> tuple[str, ...]:
    from alembic import command  # noqa: PLC0415

    place = _known(connection, schema)
    command.upgrade(_config(connection), revision)
    return _steps(find_place(connection, schema))[len(_steps(place)) :]


def _downgrade(connection: Connection, revision: str, schema: str | None) -> None:
    from alembic import command  # noqa: PLC0415

    _known(connection, schema)
    command.downgrade(_config(connection), revision)


def _known(connection: Connection, schema: str | None) -> Place:
    check_server(connection)
    place = find_place(connection, schema)
    if state_of(place.revision) is SchemaState.UNKNOWN:
        raise UnknownSchema("unknown revision", "A newer version of ubr has upgraded this database")
    return place


def _checked(connection: Connection, schema: str | None) -> SchemaState:
    check_server(connection)
    return state_of(find_place(connection, schema).revision)


def state_of(at: str | None) -> SchemaState:
    """The state of a database at this revision, None if it has no tables."""
    if at is None:
        return SchemaState.EMPTY
    if at == REVISIONS[-1]:
        return SchemaState.CURRENT
    return SchemaState.BEHIND if at in REVISIONS else SchemaState.UNKNOWN


def _steps(place: Place) -> tuple[str, ...]:
    """The revisions that were applied to a database."""
    return () if place.revision is None else REVISIONS[: REVISIONS.index(place.revision) + 1]


def _config(connection: Connection) -> Config:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


async def _run(url: str, wait: float, schema: str | None, doing: Callable[[Connection], T]) -> T:
    try:
        async with _alone(url, wait, schema) as connection:
            return await connection.run_sync(doing)
    except Exception as error:
        if (meaning := translated(error)) is not None:
            raise meaning from None
        raise


@asynccontextmanager
async def _alone(url: str, wait: float, schema: str | None) -> AsyncIterator[AsyncConnection]:
    """A transaction that excludes every other upgrade."""
    limits = replace(_LIMITS, acquire=wait, lock=wait)
    parsed = make_url(normal_url(url))
    sqlite = parsed.drivername.startswith("sqlite")
    # In SQLite, a change of a table replaces it. With foreign keys on, dropping the old table would delete the rows
    # that refer to it.
    engine = sqlite_engine(parsed, limits, foreign_keys=False) if sqlite else make_engine(url, limits, schema=schema)
    try:
        async with engine.begin() as connection:
            if not sqlite:
                await connection.run_sync(_lock, schema)
            yield connection
            if sqlite and (await connection.execute(text("PRAGMA foreign_key_check"))).first() is not None:
                raise RuntimeError("After the migration some rows have dangling references")
    finally:
        await engine.dispose()


def _lock(connection: Connection, schema: str | None) -> None:
    """Wait until no other upgrade is running, and block others until the transaction ends.

    The rest of the transaction finds and creates tables in the place of this installation only.
    """
    prepare_place(connection, _known(connection, schema))
    if not connection.execute(_HAS_VERSION).scalar_one():
        create_unless_exists(connection, _MAKE_VERSION)
    connection.execute(_ALONE)
