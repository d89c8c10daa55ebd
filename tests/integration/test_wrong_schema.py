"""A program that connects to a database without the tables of this version gets an error that names the remedy."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from tests.integration.http.kit import migrated_file
from tests.support.plugin import NewDatabase
from ubr import Settings, WrongSchema, connect, errors, sync
from ubr.adapters.sql.migrations import REVISIONS, downgrade
from ubr.testing import TINY_HASHING

pytestmark = pytest.mark.anyio

STATES = {
    "empty": "has no tables of ubr: run `ubr migrate`, or set UBR_MIGRATE=auto",
    "behind": "is behind this version of ubr: run `ubr migrate`, or set UBR_MIGRATE=auto",
    "unknown": "A newer version of ubr has upgraded the database: use that version",
}
UNKNOWN = "UPDATE {} SET version_num = 'ffff'"


@pytest.fixture(params=["sqlite", "postgresql"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bool], str]:
    """Makes a database, migrated or empty. Returns its URL."""
    if request.param == "postgresql":
        new_database: NewDatabase = request.getfixturevalue("new_database")
        return lambda migrated: new_database(migrated=migrated)
    file = tmp_path / "ubr.db"

    def on_sqlite(migrated: bool) -> str:
        file.write_bytes(migrated_file() if migrated else b"")
        return f"sqlite+aiosqlite:///{file}"

    return on_sqlite


async def in_state(state: str, made: Callable[[bool], str]) -> str:
    url = made(state != "empty")
    if state == "behind":
        await downgrade(url, REVISIONS[-2])
    if state == "unknown":
        await newer(url)
    return url


async def newer(url: str) -> None:
    """Mark a database as one that a newer version has upgraded."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.partition("///")[2])) as database, database:
            database.execute(UNKNOWN.format("alembic_version"))
        return
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute(UNKNOWN.format("ubr.alembic_version"))
    finally:
        await connection.close()


def settings_for(url: str, **changes: str) -> Settings:
    return Settings.memory(**TINY_HASHING, database_url=url, **{"migrate": "check", **changes})


@pytest.mark.parametrize("state", STATES)
async def test_a_program_does_not_connect_to_another_schema(state: str, made: Callable[[bool], str]) -> None:
    settings = settings_for(await in_state(state, made))
    with pytest.raises(WrongSchema, match=STATES[state]) as raised:
        async with connect(settings):
            pass
    assert raised.value.found == state
    with pytest.raises(WrongSchema, match=STATES[state]):
        await asyncio.to_thread(sync.connect, settings)
    assert isinstance(raised.value, errors.StoreUnavailable)


@pytest.mark.parametrize("state", ["empty", "behind"])
async def test_a_program_that_may_migrate_does_so(state: str, made: Callable[[bool], str]) -> None:
    settings = settings_for(await in_state(state, made), migrate="auto")
    async with connect(settings) as ubr:
        await ubr.check_health()


async def test_a_program_does_not_migrate_backwards(made: Callable[[bool], str]) -> None:
    settings = settings_for(await in_state("unknown", made), migrate="auto")
    with pytest.raises(WrongSchema, match=STATES["unknown"]):
        async with connect(settings):
            pass
