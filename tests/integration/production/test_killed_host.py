"""A host that dies, or loses its connection, within its transactions: all of an act is there, or nothing of it.

`make test-host` does 10,000 acts on each database (HOST_ACTS=… for another number).
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.http.kit import migrated_file
from tests.support.environments import HOST_ACTS
from tests.support.hosts import KINDS, new_engine, noted, settings_of, started
from tests.support.plugin import NewDatabase
from ubr import SYSTEM, Application, CreateUserCommand, connect, events
from ubr.events import EventResult

pytestmark = [pytest.mark.anyio, pytest.mark.system]

ACTS: Final = HOST_ACTS or 100
PREFIX: Final = "act-"
BATCH: Final = 200
ENTRIES: Final = {
    "a new user": ["user.created"],
    "a new role with a user": ["role.created", "user.created", "role.assigned"],
    "a deletion": ["user.deleted"],
    "a change": ["user.updated"],
}
"""The actions of the entries of each act, in order."""
STOPS: Final = 0.03
"""The share of events after which the follower dies, before it stores its position."""


@dataclass
class Follower:
    """A program that follows the events, and dies now and then. It goes on at the position that it stored last."""

    ubr: Application
    random: random.Random
    seen: list[EventResult] = field(default_factory=list)
    deaths: int = 0
    position: str | None = None

    async def __call__(self) -> None:
        while True:
            async for event in events.follow(self.ubr, after=self.position, pause=0.05):
                self.seen.append(event)
                if self.random.random() < STOPS:
                    self.deaths += 1
                    break
                self.position = event.position

    def in_order(self) -> list[EventResult]:
        """The events, without the repetition of one that was not stored."""
        pairs = zip([None, *self.seen], self.seen, strict=False)
        return [event for before, event in pairs if before is None or before.entry.id != event.entry.id]


@dataclass
class Found:
    """What the database has of the acts, by their numbers."""

    rows: set[int]
    done: dict[str, set[int]]
    entries: dict[int, list[str]]

    @classmethod
    async def of(cls, engine: AsyncEngine, log: Collection[EventResult]) -> Found:
        schema = "ubr." if engine.dialect.name == "postgresql" else ""

        async def numbers(query: str) -> set[int]:
            """The numbers at the ends of the values that a query finds."""
            found = (await connection.execute(text(query.format(schema=schema)))).scalars()
            return {int("".join(filter(str.isdigit, str(each)))) for each in found}

        async with engine.connect() as connection:
            people = await numbers("SELECT email FROM {schema}users WHERE email LIKE 'act-%'")
            rows = await numbers("SELECT number FROM acts")
            mailed = await numbers("SELECT email FROM {schema}outbox WHERE email LIKE 'act-%'")
            roles = await numbers("SELECT name FROM {schema}roles WHERE name LIKE 'act%'")
            holders = await numbers(
                "SELECT users.email FROM {schema}users JOIN {schema}user_roles ON user_roles.user_id = users.id"
                " JOIN {schema}roles ON roles.id = user_roles.role_id WHERE roles.name LIKE 'act%'"
            )
            changed = await numbers("SELECT full_name FROM {schema}users WHERE full_name LIKE 'Act %'")
        made = {number for number in people if number % len(KINDS) < 2}
        assert made <= mailed, "each new user has a mail"
        assert roles == holders == {number for number in made if number % len(KINDS) == 1}
        entries: dict[int, list[str]] = {}
        for event in log:
            if (request := event.entry.request_id) is not None and request.startswith(PREFIX):
                entries.setdefault(int(request.removeprefix(PREFIX)), []).append(event.entry.action)
        deleted = {number for number in range(ACTS) if number % len(KINDS) == 2} - people
        return cls(rows, {"made": made, "deleted": deleted, "changed": changed}, entries)


def new_file(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_bytes(migrated_file())


@asynccontextmanager
async def prepared(url: str) -> AsyncIterator[AsyncEngine]:
    """The tables of the host, and the users that acts delete and change."""
    engine = new_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE acts (number integer PRIMARY KEY)"))
    async with connect(settings_of(url)) as ubr:
        wanted = [number for number in range(ACTS) if number % len(KINDS) >= 2]
        for first in range(0, len(wanted), BATCH):
            async with engine.begin() as connection:
                users = ubr.within(connection)
                for number in wanted[first : first + BATCH]:
                    await users.create_user(CreateUserCommand(email=f"act-{number}@example.org"), actor=SYSTEM)
    try:
        yield engine
    finally:
        await engine.dispose()


async def until_no_transaction_is_open(engine: AsyncEngine) -> None:
    """The server ends the transaction of a killed client when it notices, which may be a moment later."""
    if engine.dialect.name != "postgresql":
        return
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend' AND state <> 'idle'"
    )
    with anyio.fail_after(60):
        async with engine.connect() as connection:
            while (await connection.execute(text(query))).scalar():
                await connection.rollback()
                await anyio.sleep(0.05)


@pytest.mark.system(seconds=25)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_of_each_act_of_a_dying_host_all_is_there_or_nothing(
    kind: str, tmp_path: Path, new_database: NewDatabase
) -> None:
    url = new_database() if kind == "postgresql" else f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}"
    if kind == "sqlite":
        new_file(tmp_path / "ubr.db")
    ledger = tmp_path / "ledger"
    async with prepared(url) as engine, connect(settings_of(url)) as ubr:
        follower = Follower(ubr, random.Random(1))  # noqa: S311 - not a secret
        following = asyncio.create_task(follower())
        lanes = 3 if kind == "postgresql" else 1
        with started("acts", url=url, ledger=str(ledger), until=ACTS, lanes=lanes, seed=1) as host:
            lives, _ = await asyncio.to_thread(host.communicate)
            assert host.returncode == 0, "an error that no fault explains"
        await until_no_transaction_is_open(engine)
        await ubr.create_user(CreateUserCommand(email="the-last@example.org"), actor=SYSTEM)
        last = (await ubr.get_checkpoint(actor=SYSTEM)).size
        with anyio.fail_after(60):
            while follower.position is None or int(follower.position.partition(".")[0]) < last - 1:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        following.cancel()
        log = follower.in_order()
        found = await Found.of(engine, log)
    assert noted(ledger, "begun") == set(range(ACTS))
    done, rolled_back = noted(ledger, "done"), noted(ledger, "rolled back")
    # Either everything is there, or nothing is.
    acts = set().union(*found.done.values())
    assert found.rows == acts == set(found.entries)
    for number, actions in found.entries.items():
        assert actions == ENTRIES[KINDS[number % len(KINDS)]], number
    # All that was answered is there, and nothing of what was rolled back.
    assert done <= found.rows
    assert not rolled_back & found.rows
    # The events came in the order of the log, each of them, and none but the last one before a death again.
    assert [int(event.position.partition(".")[0]) for event in log] == list(range(last))
    assert len(follower.seen) == len(log) + follower.deaths
    unknown = set(range(ACTS)) - done - rolled_back
    figures = {
        "acts": ACTS,
        "lives": int(lives),
        "done": len(done),
        "rolled back": len(rolled_back),
        "unknown": len(unknown),
        "unknown, and there": len(unknown & found.rows),
        "kinds": dict(Counter(KINDS[number % len(KINDS)] for number in found.rows)),
        "events": len(log),
        "events that came again": follower.deaths,
    }
    sys.stdout.write(f"\n{kind}: {figures}\n")
    assert int(lives) > 1, figures
    assert unknown, figures
