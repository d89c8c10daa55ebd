"""Bringing a database up to date, from anywhere: `await upgrade(url)`.

Everything of one call happens in one transaction, and however many call at once, one does it and the others find it
done.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Final, TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from ubr.adapters.sql.engine import Limits, make_engine, normal_url, sqlite_engine
from ubr.adapters.sql.errors import translated

T = TypeVar("T")

# Whoever upgrades holds this lock; any number that is not used for another purpose will do.
_LOCK: Final = 0x7562_722D_6D69_6772
# A change of a large table takes as long as it takes, once it is the only one at work.
_LIMITS: Final = Limits(connections=1, acquire=60.0, connect=5.0, statement=24 * 3600.0, lock=60.0, idle=24 * 3600.0)


class SchemaState(Enum):
    """What a database holds, as seen by this version of ubr."""

    EMPTY = "empty: it was never migrated"
    BEHIND = "behind: it has to be upgraded"
    CURRENT = "current"
    UNKNOWN = "unknown: a newer version has upgraded it"


class UnknownSchema(Exception):
    """The database is at a revision that this version of ubr does not know."""


async def upgrade(url: str, revision: str = "head", *, wait: float = _LIMITS.lock) -> tuple[str, ...]:
    """Bring a database up to date; the revisions that this call ran, oldest first.

    `wait` is for another upgrade to end, in seconds. Errors: `ValueError` for the URL, `UnknownSchema`,
    `StoreUnavailable`.
    """
    return await _run(url, wait, lambda connection: _upgrade(connection, revision))


async def downgrade(url: str, revision: str, *, wait: float = _LIMITS.lock) -> None:
    """Go back to a revision, or to none: `base`. What only the later tables held is lost.

    Errors: `ValueError` for the URL, `UnknownSchema`, `StoreUnavailable`.
    """
    await _run(url, wait, lambda connection: _downgrade(connection, revision))


async def check(url: str) -> SchemaState:
    """What a database holds. Nothing is changed and nothing is waited for.

    Errors: `ValueError` for the URL, `StoreUnavailable`.
    """
    engine = make_engine(url, Limits(connections=1))
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_state)
    except Exception as error:
        if (meaning := translated(error)) is not None:
            raise meaning from None
        raise
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, revision: str) -> tuple[str, ...]:
    _known(connection)
    before = _revision(connection)
    command.upgrade(_config(connection), revision)
    steps = list(_script(connection).iterate_revisions(_revision(connection), before))
    return tuple(step.revision for step in reversed(steps))


def _downgrade(connection: Connection, revision: str) -> None:
    _known(connection)
    command.downgrade(_config(connection), revision)


def _known(connection: Connection) -> None:
    if _state(connection) is SchemaState.UNKNOWN:
        raise UnknownSchema("A newer version of ubr has upgraded this database")


def _state(connection: Connection) -> SchemaState:
    at = _revision(connection)
    if at is None:
        return SchemaState.EMPTY
    script = _script(connection)
    if at == script.get_current_head():
        return SchemaState.CURRENT
    known = {step.revision for step in script.walk_revisions()}
    return SchemaState.BEHIND if at in known else SchemaState.UNKNOWN


def _script(connection: Connection) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(connection))


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


async def _run(url: str, wait: float, doing: Callable[[Connection], T]) -> T:
    try:
        async with _alone(url, wait) as connection:
            return await connection.run_sync(doing)
    except Exception as error:
        if (meaning := translated(error)) is not None:
            raise meaning from None
        raise


@asynccontextmanager
async def _alone(url: str, wait: float) -> AsyncIterator[AsyncConnection]:
    """A transaction that no other upgrade runs beside."""
    limits = replace(_LIMITS, acquire=wait, lock=wait)
    parsed = make_url(normal_url(url))
    sqlite = parsed.drivername.startswith("sqlite")
    # SQLite changes a table by making it anew; with foreign keys on, dropping the old one would take along what
    # points at it.
    engine = sqlite_engine(parsed, limits, foreign_keys=False) if sqlite else make_engine(url, limits)
    try:
        async with engine.begin() as connection:
            if not sqlite:
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            yield connection
            if sqlite and (await connection.execute(text("PRAGMA foreign_key_check"))).first() is not None:
                raise RuntimeError("After the migration some rows point at nothing")
    finally:
        await engine.dispose()
