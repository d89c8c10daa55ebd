"""The stores that every suite here runs on."""

import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import delete

from tests.contracts.kit import MovableClock
from tests.support.servers import run
from ubr.adapters.memory import MemoryStore, MemoryUnitOfWork
from ubr.adapters.sql import ConnectionLimits, SqlStore, SqlUnitOfWork, make_engine
from ubr.adapters.sql.migrations import upgrade
from ubr.adapters.sql.tables import feed_head, log_head, log_pruned, metadata
from ubr.application.audit.recorder import Recorder
from ubr.application.ports.unit_of_work import Store, UnitOfWork

# As in production but for the waits: on a machine that is busy otherwise, many at once may take a while.
LIMITS = ConnectionLimits(acquire=30, connect=30, statement=30, lock=30)


@dataclass
class Stored:
    """A store that holds nothing yet, by all it is known by."""

    uow: UnitOfWork
    store: Store


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file that others are copied from."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    run(upgrade(f"sqlite:///{path}"))
    return path


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def stored(request: pytest.FixtureRequest, clock: MovableClock) -> AsyncIterator[Stored]:
    recorder = Recorder(uuid4, os.urandom)
    if request.param == "memory":
        memory = MemoryStore()
        yield Stored(MemoryUnitOfWork(memory, recorder, clock), memory)
        return
    if request.param == "sqlite":
        path = request.getfixturevalue("tmp_path") / "ubr.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        url = f"sqlite:///{path}"
    else:
        url = request.getfixturevalue("database_url")
        await _empty(url)
    engine = make_engine(url, LIMITS, durable=False)
    store = SqlStore(engine)
    yield Stored(SqlUnitOfWork(engine, recorder, clock), store)
    await store.close()


async def _empty(url: str) -> None:
    """Delete all rows of a PostgreSQL, also those that its triggers protect. The tables of one row keep it."""
    statements = [
        "SET session_replication_role = replica",
        *(str(delete(table)) for table in metadata.sorted_tables if table not in {feed_head, log_head, log_pruned}),
        "UPDATE feed_head SET number = 0",
        "UPDATE log_head SET size = 0, frontier = ''",
        "UPDATE log_pruned SET size = 0",
    ]
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute(";".join(statements))
    finally:
        await connection.close()


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def uow(stored: Stored) -> UnitOfWork:
    return stored.uow


@pytest.fixture
def store(stored: Stored) -> Store:
    return stored.store
