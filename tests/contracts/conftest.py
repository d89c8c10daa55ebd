"""The stores that every suite here runs on."""

import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.contracts.kit import MovableClock
from ubr.adapters.memory import MemoryStore, MemoryUnitOfWork
from ubr.adapters.sql import ConnectionLimits, SqlStore, SqlUnitOfWork, make_engine
from ubr.adapters.sql.migrations import upgrade
from ubr.adapters.sql.tables import feed_head, log_head, log_pruned, metadata
from ubr.application.audit.recorder import Recorder
from ubr.application.ports.unit_of_work import Store, UnitOfWork

LIMITS = ConnectionLimits()


@dataclass
class Stored:
    """A store that holds nothing yet, by all it is known by."""

    uow: UnitOfWork
    store: Store
    database: AsyncEngine | None = None
    """Where it is SQL: the way past all that guards it."""


class Databases:
    """The SQL databases of this worker, and engines that are kept from test to test: what an engine has compiled and
    connected serves the next test too."""

    def __init__(self, folder: Path, postgresql: Callable[[], str], direct: Callable[[str], str]) -> None:
        self._template, self._file = folder / "template.db", folder / "ubr.db"
        self._postgresql = postgresql
        self._direct = direct
        """The address of a database for asyncpg, with nothing on the way."""
        self._engines: dict[tuple[str, int], AsyncEngine] = {}
        self._emptier: asyncpg.Connection | None = None

    async def empty(self, kind: str) -> AsyncEngine:
        """An engine, on a database that holds nothing any more."""
        await (self._new_file() if kind == "sqlite" else self._delete_rows())
        return self._engine(kind, 0)

    def another(self, kind: str) -> AsyncEngine:
        """A second engine on the same database, such as another instance has."""
        return self._engine(kind, 1)

    async def close(self) -> None:
        for engine in self._engines.values():
            await engine.dispose()
        if self._emptier is not None:
            await self._emptier.close()

    def _engine(self, kind: str, instance: int) -> AsyncEngine:
        if (kind, instance) not in self._engines:
            url = f"sqlite:///{self._file}" if kind == "sqlite" else self._postgresql()
            self._engines[kind, instance] = make_engine(url, LIMITS, durable=False)
        return self._engines[kind, instance]

    async def _new_file(self) -> None:
        """Put a file that was migrated once in the place of what there is: a test may have dropped its triggers."""
        if not self._template.exists():
            await upgrade(f"sqlite:///{self._template}")
        for (kind, _), engine in self._engines.items():
            if kind == "sqlite":
                await engine.dispose()
        for file in self._file.parent.glob(f"{self._file.name}*"):
            file.unlink()
        shutil.copyfile(self._template, self._file)

    async def _delete_rows(self) -> None:
        """Delete all rows, also those that triggers protect. The tables of one row keep it."""
        if self._emptier is None:
            self._emptier = await asyncpg.connect(self._direct(urlsplit(self._postgresql()).path[1:]))
            await self._emptier.execute("SET session_replication_role = replica")
        await self._emptier.execute(EMPTYING)


EMPTYING = ";".join(
    [
        *(str(delete(table)) for table in metadata.sorted_tables if table not in {feed_head, log_head, log_pruned}),
        "UPDATE feed_head SET number = 0",
        "UPDATE log_head SET size = 0, frontier = ''",
        "UPDATE log_pruned SET size = 0",
    ]
)


@pytest.fixture(scope="session")
async def databases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Databases]:
    # The server is asked for by the first test that needs it.
    made = Databases(
        tmp_path_factory.mktemp("databases"),
        lambda: str(request.getfixturevalue("database_url")),
        lambda name: str(request.getfixturevalue("postgres_server").dsn(name)),
    )
    yield made
    await made.close()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def stored(request: pytest.FixtureRequest, clock: MovableClock, databases: Databases) -> Stored:
    recorder = Recorder(uuid4, os.urandom)
    if request.param == "memory":
        memory = MemoryStore()
        return Stored(MemoryUnitOfWork(memory, recorder, clock), memory)
    engine = await databases.empty(request.param)
    return Stored(SqlUnitOfWork(engine, recorder, clock), SqlStore(engine), engine)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def uow(stored: Stored) -> UnitOfWork:
    return stored.uow


@pytest.fixture
def store(stored: Stored) -> Store:
    return stored.store
