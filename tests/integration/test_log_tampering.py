"""Whatever somebody does to the log who can write anything into the tables: `VerifyLog` finds it, and an export too.

Real use cases make a log, in SQLite and in PostgreSQL. Then one thing in it is changed by SQL, past every trigger, the
log is checked, and the thing is put back.

What cannot be seen, because it changes nothing that was ever signed or believed, is named in `MEANS_THE_SAME` and in
the tests at the end.
"""

# ruff: noqa: S608 - whoever tampers writes SQL

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from secrets import randbits, token_hex
from typing import Any, Final, Protocol
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.support.commands import clean_environment
from tests.support.logs import Maker, Signer, checkpoint_of, seeded
from tests.support.people import World
from tests.support.plugin import Desk
from tests.support.servers import PostgresServer, run
from tests.support.values import replace
from ubr import SYSTEM, Application, Settings, connect
from ubr.adapters.sql import ConnectionLimits, SqlUnitOfWork, make_engine
from ubr.adapters.sql.migrations import upgrade
from ubr.adapters.sql.tables import metadata
from ubr.application.audit.prune_log import PruneLogCommand
from ubr.application.audit.recorder import Recorder
from ubr.application.audit.verify_log import VerifiedLogResult, VerifyLog, VerifyLogCommand
from ubr.application.kernel.origin import Origin, calling_from
from ubr.audit_verifier import NotAnExport, check_export
from ubr.audit_verifier.__main__ import main
from ubr.bootstrap import open_environment
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import Actor, System
from ubr.domain.audit.checkpoint import Note, NoteKey
from ubr.domain.audit.log_check import Tampered
from ubr.domain.audit.merkle import Frontier
from ubr.domain.errors import Forbidden, Invalid, LogDamaged
from ubr.domain.events import Event, LogInFailed, UserRegistered
from ubr.domain.ids import UserId
from ubr.testing import TINY_HASHING, MovableClock, in_memory

pytestmark = [pytest.mark.anyio, pytest.mark.system]

TABLES: Final = (
    "logs",
    "log_client_ips",
    "log_queue",
    "log_leaves",
    "log_nodes",
    "log_checkpoints",
    "log_head",
    "log_pruned",
    "log_keys",
)
Row = dict[str, Any]

NEW: Final = "'0190a5d0000070008000000000000009'"
"""The id of what the service knows nothing of."""


class Database(Protocol):
    """One that can be written to past every trigger, and be put back to what it was when `keep` was called."""

    dialect: str
    url: str

    async def rows(self, statement: str) -> list[Row]: ...
    async def change(self, statement: str) -> int: ...
    async def keep(self) -> None: ...
    async def put_back(self) -> None: ...
    async def close(self) -> None: ...


class Sqlite:
    dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.create_function("flipped", 1, _flipped)
        self._connection.create_function("later", 1, _later)
        self._connection.create_function("twice", 1, lambda raw: raw + raw)
        self._connection.create_function("other", 0, lambda: uuid4().hex)
        self._kept: sqlite3.Connection | None = None

    async def rows(self, statement: str) -> list[Row]:
        return [dict(row) for row in self._connection.execute(statement)]

    async def change(self, statement: str) -> int:
        return self._connection.execute(statement).rowcount

    async def keep(self) -> None:
        for trigger in await self.rows("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            self._connection.execute(f"DROP TRIGGER {trigger['name']}")
        # What the service itself writes waits all the same.
        self._connection.execute(
            f"CREATE TRIGGER logs_wait AFTER INSERT ON logs WHEN NEW.id <> {NEW} "
            "BEGIN INSERT INTO log_queue (entry_id) VALUES (NEW.id); END"
        )
        self._connection.execute("PRAGMA synchronous=OFF")
        self._kept = sqlite3.connect(":memory:")
        self._connection.backup(self._kept)

    async def put_back(self) -> None:
        assert self._kept is not None
        self._kept.backup(self._connection)

    async def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
        self._connection.close()


# What both databases can do to a value.


def _flipped(raw: bytes) -> bytes:
    return bytes([raw[0] ^ 1]) + raw[1:]


def _later(moment: str) -> str:
    return (datetime.fromisoformat(moment) + timedelta(microseconds=1)).isoformat(" ", "microseconds")


class Postgres:
    dialect = "postgresql"

    def __init__(self, url: str, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self.url = url
        self._connection = connection

    @classmethod
    async def to(cls, url: str) -> Postgres:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(
            "CREATE FUNCTION flipped(raw bytea) RETURNS bytea LANGUAGE sql AS "
            "$$ SELECT set_byte(raw, 0, get_byte(raw, 0) # 1) $$;"
            "CREATE FUNCTION twice(raw bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT raw || raw $$;"
            "CREATE FUNCTION later(moment timestamptz) RETURNS timestamptz LANGUAGE sql AS "
            "$$ SELECT moment + interval '1 microsecond' $$;"
            "CREATE FUNCTION other() RETURNS uuid LANGUAGE sql AS $$ SELECT gen_random_uuid() $$"
        )
        return cls(url, connection)

    async def rows(self, statement: str) -> list[Row]:
        return [dict(row) for row in await self._connection.fetch(statement)]

    async def change(self, statement: str) -> int:
        return int((await self._connection.execute(statement)).rpartition(" ")[2])

    async def keep(self) -> None:
        copies = "".join(f"CREATE TABLE kept.{table} AS TABLE {table};" for table in TABLES)
        await self._connection.execute(f"CREATE SCHEMA kept; {copies}")

    async def put_back(self) -> None:
        back = "".join(f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept.{table};" for table in TABLES)
        await self._connection.execute(f"BEGIN; {back} COMMIT")

    async def close(self) -> None:
        await self._connection.close()


@dataclass(frozen=True)
class Stage:
    """A log in a database, how it is checked, and what it was before anybody touched it."""

    database: Database
    settings: Settings
    verify: VerifyLog
    key: str
    """The first of them."""
    checkpoints: Sequence[str]
    before: Mapping[str, Sequence[Row]]

    async def found(self, **command: Any) -> VerifiedLogResult:
        return await self.verify(VerifyLogCommand(**command), actor=SYSTEM)

    @property
    def size(self) -> int:
        return len(self.before["log_leaves"])

    def index_of(self, entry_id: object) -> int | None:
        """Where an entry stands; None where it waits."""
        leaves = self.before["log_leaves"]
        found = (int(leaf["leaf_index"]) for leaf in leaves if leaf["entry_id"] == entry_id)
        return next(found, None)

    def fits(self, index: int) -> int:
        """The size of the last checkpoint that has nothing to do with an entry."""
        sizes = [int(row["size"]) for row in self.before["log_checkpoints"]]
        return max([0, *(size for size in sizes if size <= index)])

    def pruned(self, index: int) -> bool:
        return bool(index < self.before["log_pruned"][0]["size"])

    @asynccontextmanager
    async def changed(self, *statements: str) -> AsyncIterator[None]:
        """Each of these changes something, until that is put back."""
        try:
            for statement in statements:
                assert await self.database.change(statement), statement
            yield
        finally:
            await self.database.put_back()


async def record(settings: Settings, clock: MovableClock, *events: Event, actor: Actor | System = SYSTEM) -> None:
    """Write entries that are in no tree yet."""
    engine = make_engine(settings.database_url, ConnectionLimits(), durable=False)
    unit_of_work = SqlUnitOfWork(engine, Recorder(uuid4, os.urandom), clock)
    async with unit_of_work.begin(actor) as tx:
        for event in events:
            tx.record(event)
        await tx.commit()
    await engine.dispose()


async def lived_in(ubr: Application, clock: MovableClock) -> tuple[str, list[str]]:
    """What people do, in several checkpoints, with another key in between, and the beginning pruned.

    The first key, and the checkpoints.
    """
    world, checkpoints = World(ubr, clock), []

    async def signed() -> None:
        checkpoints.append((await ubr.get_checkpoint(actor=SYSTEM)).note)
        clock.move(hours=1)

    [first] = await ubr.list_log_keys(actor=SYSTEM)
    await world.role("users:read")
    await signed()
    before = clock()
    with calling_from(Origin(ip="2001:db8::7", user_agent="x", request_id="Zürich-1", request_id_given=True)):
        member = await world.user(role="role1")
    await signed()
    with calling_from(Origin(ip="192.0.2.7", user_agent="x", request_id="req-7", request_id_given=False)):
        with pytest.raises(Forbidden):
            await ubr.get_checkpoint(actor=member.actor)
        await world.log_in(member.email)
    await ubr.rotate_log_key(actor=SYSTEM)
    await signed()
    await world.set_status(member.id, UserStatus.DISABLED)
    await ubr.prune_log(PruneLogCommand(before=before, force=True), actor=SYSTEM)
    await signed()
    await world.register()
    await signed()
    return first.key, checkpoints


@asynccontextmanager
async def staged(database: Database, settings: Settings, key: str, checkpoints: Sequence[str]) -> AsyncIterator[Stage]:
    await database.keep()
    before = {table: await database.rows(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}
    async with open_environment(settings, prepared=False, following=False) as environment:
        yield Stage(database, settings, environment.application.verify_log, key, checkpoints, before)
    await database.close()


@pytest.fixture(scope="module")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SQLite that others are copied from."""
    path = tmp_path_factory.mktemp("template") / "ubr.db"
    run(upgrade(f"sqlite:///{path}"))
    return path


@asynccontextmanager
async def new_database(request: pytest.FixtureRequest, dialect: str) -> AsyncIterator[tuple[Database, Settings]]:
    """One that is migrated, and the settings to open it by."""
    if dialect == "sqlite":
        path = request.getfixturevalue("tmp_path_factory").mktemp("log") / "ubr.db"
        shutil.copyfile(request.getfixturevalue("migrated_file"), path)
        yield Sqlite(path), Settings.memory(database_url=f"sqlite:///{path}", migrate="check", **TINY_HASHING)
        return
    desk: Desk = request.getfixturevalue("desk")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"{desk.run_id}_{token_hex(6)}"
    url = server.create_database(name, request.getfixturevalue("migrated_template"))
    yield await Postgres.to(url), Settings.memory(database_url=url, migrate="check", **TINY_HASHING)
    server.drop_database(name)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with new_database(request, request.param) as (database, settings):
        clock = MovableClock()
        async with connect(settings, clock=clock) as ubr:
            key, checkpoints = await lived_in(ubr, clock)
        await record(
            settings, clock, UserRegistered(user_id=UserId(uuid4())), LogInFailed(user_id=None, reason="unknown_email")
        )
        async with staged(database, settings, key, checkpoints) as made:
            yield made


# --- one value is another --------------------------------------------------------------------------------------------

KEYS: Final = {
    "logs": "id",
    "log_client_ips": "entry_id",
    "log_queue": "entry_id",
    "log_leaves": "leaf_index",
    "log_nodes": "position",
    "log_checkpoints": "size",
    "log_head": "only",
    "log_pruned": "only",
    "log_keys": "number",
}
"""By what a row is known."""

_NULL: Final = "CASE WHEN {c} IS NULL THEN 'x' END"

EVERY: Final[dict[str, str]] = {
    "logs.id": "other()",
    "logs.format": "{c} + 1",
    "logs.level": "{c} || 'x'",
    "logs.action": "{c} || 'x'",
    "logs.message": "{c} || 'x'",
    "logs.timestamp": "later({c})",
    "logs.actor_id": "CASE WHEN {c} IS NULL THEN other() END",
    "logs.target_type": _NULL,
    "logs.target_id": _NULL,
    "logs.ip": _NULL,
    "logs.request_id": _NULL,
    "logs.request_id_given": "NOT {c}",
    "logs.data": "{c} || ' '",
    "logs.salt": "flipped({c})",
    "logs.session_id": "CASE WHEN {c} IS NULL THEN other() END",
    "log_client_ips.entry_id": "other()",
    "log_client_ips.ip": "{c} || 'x'",
    "log_client_ips.salt": "flipped({c})",
    "log_queue.entry_id": "other()",
    "log_leaves.leaf_index": "{c} + 1000",
    "log_leaves.entry_id": "other()",
    "log_leaves.hash": "flipped({c})",
    "log_checkpoints.size": "{c} + 1000",
    "log_checkpoints.note": "replace({c}, 'log', 'lug')",
    "log_head.size": "{c} + 1",
    "log_head.frontier": "flipped({c})",
    "log_pruned.size": "{c} + 1",
    "log_keys.name": "{c} || 'x'",
    "log_keys.public": "flipped({c})",
}
"""What is done to every row, so that each column of each is another once."""

NODES: Final = {
    "log_nodes.level": "{c} + 8",
    "log_nodes.position": "{c} + 1",
    "log_nodes.hash": "flipped({c})",
}
"""The same for what is kept of the tree: there are some only where there are 256 entries."""

UNSEEN: Final = {
    "log_head.only": "there is one row, whatever its number",
    "log_pruned.only": "the same",
    "log_keys.number": "which key signs next, and no claim about what was",
    "log_keys.private": "sealed: who changes it can only make it useless",
    "log_keys.created_at": "for people",
}
"""Columns that say nothing of the log."""


@dataclass(frozen=True)
class Place:
    """From where to where it may be named: from the first entry that it could be, and at least this one."""

    first: int
    row: int
    exact: bool = False

    def holds(self, result: VerifiedLogResult) -> bool:
        if result.first is None or result.last is None:
            return False
        if self.exact:
            return result.first == result.last == self.row
        return self.first <= result.first <= self.row <= result.last


def exactly(row: int) -> Place:
    return Place(row, row, exact=True)


def place(stage: Stage, column: str, row: Row) -> Place | None:  # noqa: PLR0911 - one for each table
    """Where it has to be found that a column of a row is another; None where it is about no entry."""
    table, _, name = column.partition(".")
    if table == "logs":
        index = stage.index_of(row["id"])
        if index is None:
            return None
        # Without the entry that says so no content may be gone, from the first on.
        return exactly(0 if row["action"] == "log.pruned" and name == "id" else index)
    if table == "log_client_ips":
        return exactly(index) if (index := stage.index_of(row["entry_id"])) is not None else None
    if table == "log_leaves":
        index = row["leaf_index"]
        if name == "entry_id" and entry_of(stage, row)["action"] == "log.pruned":
            return exactly(0)
        return Place(stage.fits(index), index, exact=name != "hash" or not stage.pruned(index))
    if column == "log_checkpoints.note":
        return Place(stage.fits(row["size"] - 1), row["size"] - 1)
    return None


def entry_of(stage: Stage, leaf: Row) -> Row:
    none = {"action": None}
    return next((row for row in stage.before["logs"] if row["id"] == leaf["entry_id"]), none)


def complaint(stage: Stage, what: str, expected: Place | None, result: VerifiedLogResult) -> str | None:
    """What is wrong with how it was found; None where it was, and in its place."""
    if result.finding is None:
        return f"{what}: not found"
    if expected is None:
        # It has to be told in any case what is meant, where an entry is named at all.
        right = result.first is None or (result.last is not None and 0 <= result.first <= result.last)
    else:
        right = expected.holds(result)
    return None if right else f"{what}: {result.first} to {result.last}, not {expected}: {result.finding}"


async def each(stage: Stage, column: str, to: str, rows: Iterable[Row]) -> list[str | None]:
    """What is wrong with how a change of each of these rows is found."""
    table, _, name = column.partition(".")
    key = KEYS[table]
    quoted = f'"{key}"'  # one of them is a word of SQL
    done = []
    for row in rows:
        here = row[key] if isinstance(row[key], int) else f"'{row[key]}'"
        async with stage.changed(f"UPDATE {table} SET {name} = {to.format(c=name)} WHERE {quoted} = {here}"):
            try:
                wrong = complaint(stage, f"{key} {row[key]}", place(stage, column, row), await stage.found())
            except Exception as error:  # noqa: BLE001 - that none is raised is what is shown
                wrong = f"{key} {row[key]}: {error!r}"
            done.append(wrong)
    return done


def told(wrong: Iterable[str | None]) -> None:
    complaints = [one for one in wrong if one is not None]
    assert not complaints, f"{len(complaints)} not found as they should be:\n" + "\n".join(complaints[:5])


def visible(stage: Stage, column: str) -> list[Row]:
    """The rows of which it can be seen: whose place a leaf was is not known any more once its content is gone, and
    what waits can be changed by anybody."""
    table, _, name = column.partition(".")
    rows = stage.before[table]
    if column == "log_leaves.entry_id":
        return [row for row in rows if not stage.pruned(row["leaf_index"])]
    if table == "logs" and name != "id":
        return [row for row in rows if stage.index_of(row["id"]) is not None]
    if table == "log_client_ips":
        return [row for row in rows if stage.index_of(row["entry_id"]) is not None]
    return list(rows)


def test_every_column_is_changed_or_says_nothing() -> None:
    columns = {f"{table}.{column.name}" for table in TABLES for column in metadata.tables[table].columns}
    assert EVERY.keys() | NODES.keys() | UNSEEN.keys() == columns


async def test_nothing_is_found_where_nothing_was_done(stage: Stage) -> None:
    result = await stage.found()
    assert (result.finding, result.first, result.last, result.size) == (None, None, None, stage.size)
    assert (result.pruned, result.checkpoints, result.unsigned) == (3, len(stage.before["log_checkpoints"]), 0)
    kept = tuple(stage.checkpoints)
    assert (await stage.found(keys=(stage.key,), checkpoints=kept)).finding is None


@pytest.mark.parametrize("column", EVERY)
async def test_every_changed_value_is_found(stage: Stage, column: str) -> None:
    rows = visible(stage, column)
    if stage.database.dialect == "postgresql" and len(rows) > 2:
        rows = [rows[0], rows[len(rows) // 2]]  # SQLite has shown it for all of them
    told(await each(stage, column, EVERY[column], rows))


# --- values that are further off -------------------------------------------------------------------------------------

ROW: Final = 5
"""One in the middle of a batch that has everything: somebody who acted, a target, an address and a request id."""

OTHERS: Final[dict[str, list[str]]] = {
    "logs.id": ["'00000000000000000000000000000000'"],
    "logs.format": ["0", "2", "-1", "32767"],
    "logs.level": ["''", "'error'", "upper({c})"],
    "logs.action": ["''", "'log.pruned'", "'log_key.rotated'", "'log_key.created'", "'service.restored'"],
    "logs.message": ["''", "{c} || chr(10)"],
    "logs.timestamp": ["'1970-01-01 00:00:00.000000'", "'0001-01-01 00:00:00.000000'", "'9999-12-31 23:59:59.999999'"],
    "logs.actor_id": ["other()", "NULL"],
    "logs.target_type": ["NULL", "''", "'role'"],
    "logs.target_id": ["NULL", "''", "upper({c})"],
    "logs.ip": ["NULL", "''", "'192.0.2.8'"],
    "log_client_ips.ip": ["''", "'192.0.2.8'"],
    "log_client_ips.salt": ["substr({c}, 2)", "twice({c})", "substr({c}, 1, 0)"],
    "logs.request_id": ["NULL", "''", "lower({c})"],
    "logs.data": ["''", "'{{}}'", "'[]'", "'null'", "'x'"],
    "logs.salt": ["substr({c}, 2)", "twice({c})", "substr({c}, 1, 0)"],
    "log_leaves.leaf_index": ["9223372036854775807"],
    "log_leaves.hash": ["substr({c}, 2)", "twice({c})", "substr({c}, 1, 0)"],
    "log_checkpoints.note": ["''", "'x'", "{c} || chr(10)", "substr({c}, 2)", "replace({c}, chr(10), '')"],
    "log_checkpoints.size": ["0", "-1", "-9223372036854775808", "9223372036854775807"],
    "log_head.size": ["0", "-1", "9223372036854775807"],
    "log_head.frontier": ["substr({c}, 2)", "twice({c})", "substr({c}, 1, 0)"],
    "log_pruned.size": ["0", "-1", "9223372036854775807"],
    "log_keys.name": ["''", "'a b'", "{c} || chr(10)"],
    "log_keys.public": ["substr({c}, 2)", "twice({c})", "substr({c}, 1, 0)"],
}

POSTGRESQL: Final[dict[str, list[str]]] = {
    "logs.timestamp": ["'infinity'", "'-infinity'", "'0044-03-15 BC'", "'20000-01-01'"],
}
"""What only PostgreSQL can hold."""

SQLITE: Final[dict[str, list[str]]] = {
    "logs.id": ["'x'", "''", "X'00'", "upper({c})"],
    "logs.format": ["'x'", "1.5", "X'01'", "99999999999", "''"],
    "logs.level": ["CAST({c} AS BLOB)", "X'FF'"],
    "logs.action": ["CAST({c} AS BLOB)", "X'FF'", "CAST(X'FF' AS TEXT)"],
    "logs.message": ["CAST({c} AS BLOB)", "X'FF'", "CAST(X'FF' AS TEXT)", "CAST(X'EDA080' AS TEXT)"],
    "logs.timestamp": ["'x'", "''", "5", "1.5", "X'00'", "'2030-13-01 00:00:00.000000'", "{c} || 'x'"],
    "logs.actor_id": ["'x'", "''", "5", "X'00'"],
    "logs.target_type": ["CAST({c} AS BLOB)", "X'FF'"],
    "logs.target_id": ["CAST({c} AS BLOB)", "X'FF'"],
    "logs.ip": ["CAST({c} AS BLOB)", "X'FF'"],
    "log_client_ips.ip": ["CAST({c} AS BLOB)", "X'FF'", "CAST(X'FF' AS TEXT)"],
    "log_client_ips.salt": ["'x'", "''", "5", "-1", "1.5"],
    "logs.request_id": ["CAST({c} AS BLOB)", "X'FF'"],
    "logs.request_id_given": ["''", "0.0", "X''"],
    "logs.data": ["X'FF'", "CAST(X'FF' AS TEXT)", "CAST(X'EDA080' AS TEXT)"],
    "logs.salt": ["'x'", "''", "5", "-1", "4611686018427387904", "1.5"],
    "log_leaves.leaf_index": ["'x'", "{c} + 0.5", "X'00'"],
    "log_leaves.entry_id": ["'x'", "''", "X'00'", "5"],
    "log_leaves.hash": ["'x'", "''", "5", "32", "1.5", "4611686018427387904"],
    "log_checkpoints.size": ["'x'", "1.5", "X'00'"],
    "log_checkpoints.note": ["CAST({c} AS BLOB)", "X'FF'", "CAST(X'FF' AS TEXT)", "CAST(X'EDA0800A0AE28094' AS TEXT)"],
    "log_head.size": ["'x'", "1.5", "X'00'"],
    "log_head.frontier": ["'x'", "''", "5", "-1", "1.5", "4611686018427387904"],
    "log_pruned.size": ["'x'", "1.5", "X'00'"],
    "log_keys.name": ["CAST({c} AS BLOB)", "X'FF'", "CAST(X'FF' AS TEXT)"],
    "log_keys.public": ["'x'", "''", "5", "-1", "1.5"],
    "log_queue.entry_id": ["'x'", "''", "X'00'"],
}
"""SQLite keeps a value of any type in any column."""


def listed(changes: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    return [(column, to) for column, all_of_them in changes.items() for to in all_of_them]


async def one(stage: Stage, column: str, to: str) -> None:
    """One row changed, which is in the middle where there are many."""
    rows = visible(stage, column)
    leaves = {row["entry_id"]: row["leaf_index"] for row in stage.before["log_leaves"]}
    here = [row for row in rows if ROW in {row.get("leaf_index"), leaves.get(row.get("id"))}] or rows[:1]
    to = to if stage.database.dialect == "postgresql" else to.replace("chr(10)", "char(10)")
    told(await each(stage, column, to, here))


@pytest.mark.parametrize("stage", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True)
@pytest.mark.parametrize(("column", "to"), listed(OTHERS))
async def test_every_new_value_of_a_change_is_found(stage: Stage, column: str, to: str) -> None:
    await one(stage, column, to)


@pytest.mark.parametrize("stage", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("column", "to"), listed(POSTGRESQL))
async def test_what_only_postgresql_can_hold_is_found(stage: Stage, column: str, to: str) -> None:
    await one(stage, column, to)


@pytest.mark.parametrize("stage", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("column", "to"), listed(SQLITE))
async def test_a_value_of_a_wrong_type_is_found(stage: Stage, column: str, to: str) -> None:
    await one(stage, column, to)


# --- rows that are missing, and rows that are too many ---------------------------------------------------------------

_HERE: Final = f"(SELECT entry_id FROM log_leaves WHERE leaf_index = {ROW})"
_LAST: Final = "(SELECT max(leaf_index) FROM log_leaves)"
_END: Final = "(SELECT max(size) FROM log_checkpoints)"
_FREE: Final = (
    "(SELECT min(leaf_index) + 1 FROM log_leaves WHERE leaf_index + 1 NOT IN (SELECT size FROM log_checkpoints))"
)
"""A size that no checkpoint has."""
_WAITS: Final = "(SELECT entry_id FROM log_queue ORDER BY entry_id LIMIT 1)"
_AGAIN: Final = (
    "level, action, message, timestamp, actor_id, target_type, target_id, ip, request_id, request_id_given, data, salt"
    ", session_id"
)
_COPY: Final = f"INSERT INTO logs (id, format, {_AGAIN}) SELECT {NEW}, format, {_AGAIN} FROM logs WHERE id = {_HERE}"


def _leaf(index: str, entry_id: str) -> str:
    """One more leaf, with the hash of another."""
    return (
        f"INSERT INTO log_leaves (leaf_index, entry_id, hash) SELECT {index}, {entry_id}, hash FROM log_leaves "
        f"WHERE leaf_index = {ROW - 1}"
    )


def _again(size: str) -> str:
    """The last checkpoint once more, under another size."""
    return f"INSERT INTO log_checkpoints (size, note) SELECT {size}, note FROM log_checkpoints WHERE size = {_END}"


_SWAPPED: Final = (
    "UPDATE log_leaves SET hash = (SELECT other.hash FROM log_leaves other WHERE "
    f"other.leaf_index = {2 * ROW + 1} - log_leaves.leaf_index) WHERE leaf_index IN ({ROW}, {ROW + 1})"
)

ROWS: Final[dict[str, tuple[list[str], str]]] = {
    "content gone": ([f"DELETE FROM logs WHERE id = {_HERE}"], "row"),
    "content gone twice": (
        [f"DELETE FROM logs WHERE id = {_HERE}", f"DELETE FROM logs WHERE id = {_HERE.replace(str(ROW), '10')}"],
        "row",
    ),
    "content gone and the rest says so": (
        [f"DELETE FROM logs WHERE id = {_HERE}", f"UPDATE log_pruned SET size = {ROW + 1}"],
        "row",
    ),
    "all content gone": (["DELETE FROM logs"], "first"),
    "leaf gone": ([f"DELETE FROM log_leaves WHERE leaf_index = {ROW}"], "row"),
    "first leaf gone": (["DELETE FROM log_leaves WHERE leaf_index = 0"], "first"),
    "last leaf gone": ([f"DELETE FROM log_leaves WHERE leaf_index = {_LAST}"], "last"),
    "leaf and content gone": (
        [f"DELETE FROM logs WHERE id = {_HERE}", f"DELETE FROM log_leaves WHERE leaf_index = {ROW}"],
        "row",
    ),
    "all leaves gone": (["DELETE FROM log_leaves"], "all"),
    "all but what was signed gone": (["DELETE FROM log_leaves", "DELETE FROM logs", "DELETE FROM log_queue"], "all"),
    "leaf gone and the others move up": (
        [
            f"DELETE FROM log_leaves WHERE leaf_index = {ROW}",
            f"UPDATE log_leaves SET leaf_index = leaf_index + 1000 WHERE leaf_index > {ROW}",
            "UPDATE log_leaves SET leaf_index = leaf_index - 1001 WHERE leaf_index > 1000",
        ],
        "batch",
    ),
    "neighbours swapped": (
        [
            f"UPDATE log_leaves SET leaf_index = 1000 WHERE leaf_index = {ROW}",
            f"UPDATE log_leaves SET leaf_index = {ROW} WHERE leaf_index = {ROW + 1}",
            f"UPDATE log_leaves SET leaf_index = {ROW + 1} WHERE leaf_index = 1000",
        ],
        "batch",
    ),
    "hashes of neighbours swapped": ([_SWAPPED], "row"),
    "slipped in": (
        [
            _COPY,
            f"UPDATE log_leaves SET leaf_index = leaf_index + 1000 WHERE leaf_index >= {ROW}",
            "UPDATE log_leaves SET leaf_index = leaf_index - 999 WHERE leaf_index >= 1000",
            _leaf(str(ROW), NEW),
        ],
        "row",
    ),
    "slipped in before the first": ([_COPY, _leaf("-1", NEW)], "first"),
    "slipped in before everything": ([_leaf("-9223372036854775808", NEW)], "first"),
    "appended": ([_leaf(_END, _WAITS)], "end"),
    "appended far on": ([_leaf("9223372036854775807", _WAITS)], "end"),
    "beside the tree": ([_COPY], "nowhere"),
    "waits and is gone": ([f"DELETE FROM logs WHERE id = {_WAITS}"], "nowhere"),
    "waits no longer": ([f"DELETE FROM log_queue WHERE entry_id = {_WAITS}"], "nowhere"),
    "nothing waits": (["DELETE FROM log_queue"], "nowhere"),
    "waits and is there": ([f"INSERT INTO log_queue (entry_id) VALUES ({_HERE})"], "nowhere"),
    "what never was waits": ([f"INSERT INTO log_queue (entry_id) VALUES ({NEW})"], "nowhere"),
    "last checkpoint gone": ([f"DELETE FROM log_checkpoints WHERE size = {_END}"], "last"),
    "all checkpoints gone": (["DELETE FROM log_checkpoints"], "all"),
    "a checkpoint again further on": ([_again(f"{_END} + 1")], "nowhere"),
    "a checkpoint again far on": ([_again("9223372036854775807")], "nowhere"),
    "a checkpoint again before": ([_again(_FREE)], "nowhere"),
    "a checkpoint of nothing": ([_again("0")], "nowhere"),
    "a checkpoint of less than nothing": ([_again("-1")], "nowhere"),
    "a checkpoint of the least there is": ([_again("-9223372036854775808")], "nowhere"),
    "no head": (["DELETE FROM log_head"], "nowhere"),
    "two heads": (['INSERT INTO log_head ("only", size, frontier) SELECT 2, size, frontier FROM log_head'], "nowhere"),
    "nothing pruned": (["DELETE FROM log_pruned"], "nowhere"),
    "pruned twice": (['INSERT INTO log_pruned ("only", size) SELECT 2, size FROM log_pruned'], "nowhere"),
    "no keys": (["DELETE FROM log_keys"], "first batch"),
    "old key gone": (["DELETE FROM log_keys WHERE number = 1"], "first batch"),
    "new key gone": (["DELETE FROM log_keys WHERE number = 2"], "nowhere"),
    "everything gone but the head": (
        [f"DELETE FROM {table}" for table in TABLES if table not in {"log_head", "log_nodes"}],
        "nowhere",
    ),
}


def places(stage: Stage) -> dict[str, Place | None]:
    end = stage.size
    return {
        "row": exactly(ROW),
        "batch": Place(stage.fits(ROW), ROW),
        "first": exactly(0),
        "first batch": Place(0, 0),
        "last": Place(stage.fits(end - 1), end - 1),
        "end": exactly(end),
        "all": Place(0, 0),
        "nowhere": None,
    }


@pytest.mark.parametrize("name", ROWS)
async def test_rows_that_are_missing_or_too_many_are_found(stage: Stage, name: str) -> None:
    statements, where = ROWS[name]
    async with stage.changed(*statements):
        told([complaint(stage, name, places(stage)[where], await stage.found())])


STRANGE_ROWS: Final[dict[str, list[str]]] = {
    "beside the tree under no id": [_COPY.replace(NEW, "'x'", 1), "DELETE FROM log_queue WHERE entry_id = 'x'"],
    "no id waits": ["INSERT INTO log_queue (entry_id) VALUES ('x')"],
    "a leaf of no number": [_leaf("'x'", NEW)],
    "a leaf between two": [_leaf(f"{ROW}.5", NEW)],
    "a checkpoint of no number": [_again("'x'")],
    "a checkpoint between two": [_again(f"{ROW}.5")],
}


@pytest.mark.parametrize("stage", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", STRANGE_ROWS)
async def test_rows_under_what_no_key_is_are_found(stage: Stage, name: str) -> None:
    async with stage.changed(*STRANGE_ROWS[name]):
        told([complaint(stage, name, None, await stage.found())])


@pytest.mark.parametrize("stage", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("column", "to"),
    [
        *((f"logs.{column}", to) for column in ("timestamp", "actor_id", "salt", "format") for to in ("'x'", "X'FF'")),
        *((f"log_keys.{column}", to) for column in ("private", "created_at") for to in ("'x'", "X'FF'")),
    ],
)
async def test_nothing_that_waits_and_nothing_that_is_not_looked_at_keeps_anybody_from_checking(
    stage: Stage, column: str, to: str
) -> None:
    """It may be found or not: it was never signed."""
    table, _, name = column.partition(".")
    here = f"id = {_WAITS}" if table == "logs" else "number = 1"
    async with stage.changed(f"UPDATE {table} SET {name} = {to} WHERE {here}"):
        found = await stage.found()
    assert found.first is None


# --- the tree itself -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
async def tall(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """A log that is long enough for a node of its tree to be kept."""
    async with new_database(request, request.param) as (database, settings):
        clock = MovableClock()
        async with connect(settings, clock=clock) as ubr:
            await record(settings, clock, *(LogInFailed(user_id=None, reason="unknown_email") for _ in range(300)))
            checkpoint = await ubr.get_checkpoint(actor=SYSTEM)
            [key] = await ubr.list_log_keys(actor=SYSTEM)
        async with staged(database, settings, key.key, [checkpoint.note]) as made:
            yield made


@pytest.mark.parametrize(("column", "to"), [*NODES.items(), ("log_nodes.hash", "substr({c}, 2)")])
async def test_a_node_that_is_another_is_found(tall: Stage, column: str, to: str) -> None:
    assert (await tall.found()).finding is None
    rows = tall.before["log_nodes"]
    assert [(row["level"], row["position"]) for row in rows] == [(8, 0)]
    told(await each(tall, column, to, rows))


@pytest.mark.parametrize("tall", ["sqlite"], indirect=True)
@pytest.mark.parametrize("to", ["'x'", "5", "X''", "1.5", "CAST(X'FF' AS TEXT)"])
async def test_a_node_of_a_wrong_type_is_found(tall: Stage, to: str) -> None:
    told(await each(tall, "log_nodes.hash", to, tall.before["log_nodes"]))


async def test_a_node_that_is_missing_is_found(tall: Stage) -> None:
    async with tall.changed("DELETE FROM log_nodes"):
        found = await tall.found()
        assert found.finding is not None
        assert (found.first, found.last) == (0, 255)


# --- what is made to fit ---------------------------------------------------------------------------------------------


def blob(database: Database, raw: bytes) -> str:
    return f"X'{raw.hex()}'" if database.dialect == "sqlite" else f"'\\x{raw.hex()}'::bytea"


@asynccontextmanager
async def made_anew(stage: Stage, *, signed_by: Signer | None, row: int = ROW) -> AsyncIterator[None]:
    """An entry is another, and its leaf, the checkpoints over it and the head of the tree are made to match."""
    database, sizes = stage.database, [checkpoint["size"] for checkpoint in stage.before["log_checkpoints"]]
    origin = NoteKey.parse(stage.key).name
    async with stage.changed(
        "UPDATE logs SET message = message || 'x' WHERE id = "
        f"(SELECT entry_id FROM log_leaves WHERE leaf_index = {row})"
    ):
        engine = make_engine(stage.settings.database_url, ConnectionLimits())
        async with SqlUnitOfWork(engine, Recorder(uuid4, os.urandom), MovableClock()).read() as tx:
            leaves = await tx.log_records.leaves(0, 500)
        await engine.dispose()
        frontier = Frontier()
        for leaf in leaves:
            hashed = leaf.hash if leaf.entry is None else leaf.entry.leaf
            frontier.append(hashed)
            if leaf.index == row:
                to = blob(database, hashed)
                assert await database.change(f"UPDATE log_leaves SET hash = {to} WHERE leaf_index = {row}")
            if signed_by is not None and frontier.size in sizes and frontier.size > row:
                note = checkpoint_of(frontier, signed_by, origin=origin)
                size = frontier.size
                assert await database.change(f"UPDATE log_checkpoints SET note = '{note}' WHERE size = {size}")
        await database.change(f"UPDATE log_head SET frontier = {blob(database, frontier.to_bytes())}")
        yield


@pytest.mark.parametrize("signed_by", [None, Signer("impostor")], ids=["unsigned", "signed by another key"])
async def test_a_recomputed_tree_is_found(stage: Stage, signed_by: Signer | None) -> None:
    if signed_by is not None:
        signed_by = replace(signed_by, name=NoteKey.parse(stage.key).name)
    async with made_anew(stage, signed_by=signed_by):
        for command in ({}, {"keys": (stage.key,)}, {"checkpoints": (stage.checkpoints[-1],)}):
            told([complaint(stage, f"{command}", Place(stage.fits(ROW), ROW), await stage.found(**command))])


async def test_a_log_that_is_signed_from_scratch_needs_what_was_kept_to_be_found(stage: Stage) -> None:
    """Its own word is taken where there is no other."""
    impostor = Signer("impostor", NoteKey.parse(stage.key).name)
    first = 3  # those before it were pruned, and nobody can say what they were
    async with made_anew(stage, signed_by=impostor, row=first):
        database, origin = stage.database, impostor.name
        frontier = Frontier()
        for leaf in stage.before["log_leaves"][:first]:
            frontier.append(leaf["hash"])
            if any(frontier.size == checkpoint["size"] for checkpoint in stage.before["log_checkpoints"]):
                note = checkpoint_of(frontier, impostor, origin=origin)
                await database.change(f"UPDATE log_checkpoints SET note = '{note}' WHERE size = {frontier.size}")
        await database.change(f"UPDATE log_keys SET public = {blob(database, impostor.key.public)} WHERE number = 2")
        await database.change("DELETE FROM log_keys WHERE number = 1")
        assert (await stage.found()).finding is None
        assert (await stage.found(keys=(stage.key,))).finding is not None
        for checkpoint in stage.checkpoints:
            with suppress(Invalid):  # by its own word this log never had the key that signed it
                assert (await stage.found(checkpoints=(checkpoint,))).finding is not None


async def test_an_older_copy_is_found_by_a_newer_checkpoint(stage: Stage) -> None:
    size = sorted(row["size"] for row in stage.before["log_checkpoints"])[-2]
    frontier = Frontier()
    for leaf in stage.before["log_leaves"][:size]:
        frontier.append(leaf["hash"])
    async with stage.changed(
        f"DELETE FROM logs WHERE id IN (SELECT entry_id FROM log_leaves WHERE leaf_index >= {size})",
        "DELETE FROM logs WHERE id IN (SELECT entry_id FROM log_queue)",
        "DELETE FROM log_queue",
        f"DELETE FROM log_leaves WHERE leaf_index >= {size}",
        f"DELETE FROM log_checkpoints WHERE size > {size}",
        f"UPDATE log_head SET size = {size}, frontier = {blob(stage.database, frontier.to_bytes())}",
    ):
        assert (await stage.found()).finding is None
        assert (await stage.found(keys=(stage.key,), checkpoints=tuple(stage.checkpoints[:-1]))).finding is None
        found = await stage.found(keys=(stage.key,), checkpoints=(stage.checkpoints[-1],))
        assert found.finding is not None
        assert (found.first, found.last) == (size, stage.size - 1)


async def test_a_checkpoint_of_another_log_is_refused(stage: Stage, export: Export) -> None:
    for size in (1, stage.size, stage.size + 1):
        stranger = Signer("stranger", "elsewhere.example.org/log/1")
        frontier = Frontier()
        for index in range(size):
            frontier.append(bytes([index] * 32))
        for note in (str(checkpoint_of(frontier, stranger, origin=stranger.name)), export.checkpoints[-1]):
            with pytest.raises(Invalid) as failure:
                await stage.found(checkpoints=(note,))
            assert [flaw.pointer for flaw in failure.value.flaws] == ["/checkpoints"]


# --- exports ---------------------------------------------------------------------------------------------------------


async def exported(stage: Stage) -> list[str]:
    """What is written of a log as it is now. That is an entry itself: whoever asks puts everything back."""
    lines: list[str] = []
    async with open_environment(stage.settings, prepared=False, following=False) as environment:
        await environment.application.export_log(lines.append, actor=SYSTEM)
    return lines


EXPORTED: Final[dict[str, tuple[list[str], str]]] = {
    "a message": ([f"UPDATE logs SET message = message || 'x' WHERE id = {_HERE}"], "row"),
    "a time": ([f"UPDATE logs SET timestamp = later(timestamp) WHERE id = {_HERE}"], "row"),
    "facts that are none": ([f"UPDATE logs SET data = 'x' WHERE id = {_HERE}"], "row"),
    "a client IP": ([f"UPDATE log_client_ips SET ip = '192.0.2.8' WHERE entry_id = {_HERE}"], "row"),
    "a client IP that is gone": ([f"DELETE FROM log_client_ips WHERE entry_id = {_HERE}"], "row"),
    "a leaf": ([f"UPDATE log_leaves SET hash = flipped(hash) WHERE leaf_index = {ROW}"], "row"),
    "content that is gone": ROWS["content gone"],
    "a leaf that is gone": ROWS["leaf gone"],
    "two swapped": ROWS["neighbours swapped"],
    "checkpoints": (
        [f"UPDATE log_checkpoints SET note = replace(note, 'log', 'lug') WHERE size < {_END}"],
        "first batch",
    ),
}


async def test_an_export_of_what_was_not_tampered_with_fits(stage: Stage) -> None:
    waiting = stage.before["log_queue"]
    try:
        lines = await exported(stage)
    finally:
        await stage.database.put_back()
    key, kept = NoteKey.parse(stage.key), [Note.parse(note) for note in stage.checkpoints]
    for checked in (check_export(lines), check_export(lines, keys=[key], against=kept)):
        assert (checked.size, checked.pruned, checked.unsigned) == (stage.size + len(waiting) + 1, 3, 0)


@pytest.mark.parametrize("stage", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True)
@pytest.mark.parametrize("name", EXPORTED)
async def test_an_export_shows_what_was_done_to_the_database(stage: Stage, name: str) -> None:
    statements, where = EXPORTED[name]
    async with stage.changed(*statements):
        lines = await exported(stage)
    expected = places(stage)[where]
    assert expected is not None
    for keys in ([], [NoteKey.parse(stage.key)]):
        with pytest.raises(Tampered) as found:
            check_export(lines, keys=keys)
        result = found.value
        if expected.exact:
            assert (result.index, result.last) == (expected.row, expected.row)
        else:
            assert result.index is not None
            assert result.last is not None
            assert expected.first <= result.index <= expected.row <= result.last


@pytest.mark.parametrize("stage", ["sqlite"], indirect=True)
async def test_an_export_shows_what_could_not_be_read(stage: Stage) -> None:
    for column, to in (("timestamp", "'x'"), ("actor_id", "'x'"), ("salt", "'x'"), ("level", "X'FF'")):
        async with stage.changed(f"UPDATE logs SET {column} = {to} WHERE id = {_HERE}"):
            lines = await exported(stage)
        with pytest.raises(Tampered) as found:
            check_export(lines)
        assert (found.value.index, found.value.last) == (ROW, ROW)


async def test_nothing_is_exported_as_if_it_were_signed_where_the_tree_was_changed(stage: Stage) -> None:
    for statement in (
        "UPDATE log_head SET frontier = flipped(frontier)",
        "UPDATE log_head SET size = size + 1",
        f"UPDATE log_checkpoints SET note = replace(note, 'log', 'lug') WHERE size = {_END}",
    ):
        async with stage.changed(statement):
            with pytest.raises(LogDamaged):
                await exported(stage)


@dataclass(frozen=True)
class Export:
    lines: list[str]
    """`lines[1:]` are its entries and checkpoints."""
    key: str
    checkpoints: list[str]


@pytest.fixture(scope="module")
def export() -> Export:
    async def made() -> Export:
        lines: list[str] = []
        async with in_memory() as (ubr, clock):
            key, checkpoints = await lived_in(ubr, clock)
            await ubr.export_log(lines.append, actor=SYSTEM)
        return Export(lines, key, checkpoints)

    return run(made())


@pytest.fixture(scope="module")
def lines(export: Export) -> list[str]:
    return export.lines


def read(line: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line)
    return record


def trusted(lines: Sequence[str]) -> list[NoteKey]:
    return [NoteKey.parse(read(lines[0])["keys"][0])]


def leaf_line(lines: Sequence[str], index: int) -> int:
    return next(at for at, line in enumerate(lines) if f'"index":{index},' in line)


def refused(lines: Sequence[str], keys: Sequence[NoteKey]) -> str | None:
    """What is wrong with how an export is met; None where it is not accepted, and nothing else is raised."""
    try:
        check_export(lines, keys=keys)
    except (Tampered, NotAnExport):
        return None
    except Exception as error:  # noqa: BLE001 - that none is raised is what is shown
        return f"{error!r}"
    return "accepted"


Damage = Callable[[dict[str, Any]], object]
DEEP: Final = "[" * 10_000


def _with(**fields: Any) -> Damage:
    return lambda record: record.update(fields)


def _without(name: str) -> Damage:
    return lambda record: record.pop(name)


def _entry(damage: Damage) -> Damage:
    return lambda record: damage(record["entry"])


def _target(damage: Damage) -> Damage:
    return lambda record: damage(record["entry"]["target"])


FIELDS: Final = [
    *("id", "format", "level", "action", "message", "timestamp", "actor_id", "target", "ip", "request_id"),
    *("request_id_given", "data", "salt"),
]
NONE_OF_THEM: Final = {
    "no text": "\ud800",
    "a number": 5,
    "a fraction": 1.5,
    "infinity": float("inf"),
    "a list": [],
    "an object": {"type": "user", "id": 1},
}
IN_A_LINE: Final[dict[str, Damage]] = {
    "index": lambda record: record.update(index=record["index"] + 1),
    "index: infinity": _with(index=float("inf")),
    "index: none": _with(index=None),
    "id": _with(id=str(UUID(int=9))),
    "id: a number": _with(id=5),
    "id: none": _with(id=None),
    "leaf": _with(leaf="00" * 32),
    "leaf: nothing": _with(leaf=""),
    "leaf: a number": _with(leaf=5),
    "client_ip: none": _with(client_ip=None),
    "client_ip: a text": _with(client_ip="x"),
    "client_ip: another": lambda record: record["client_ip"].update(ip="192.0.2.8"),
    "client_ip: no text": lambda record: record["client_ip"].update(ip="\ud800"),
    "client_ip: a number": lambda record: record["client_ip"].update(salt=5),
    "client_ip: other bits": lambda record: record["client_ip"].update(salt="00" * 16),
    "client_ip: upper case": lambda record: record["client_ip"].update(salt=record["client_ip"]["salt"].upper() + " "),
    "client_ip: more": lambda record: record["client_ip"].update(more=1),
    "no client_ip": _without("client_ip"),
    "entry: none": _with(entry=None),
    "entry: a text": _with(entry="x"),
    "entry: a list": _with(entry=[]),
    "a checkpoint besides": _with(checkpoint="x"),
    **{f"no {name}": _without(name) for name in ("index", "id", "leaf", "entry")},
    **{
        f"{name} of the entry: {what}": _entry(_with(**{name: value}))
        for name in FIELDS
        for what, value in NONE_OF_THEM.items()
    },
    **{f"no {name} of the entry": _entry(_without(name)) for name in FIELDS},
    "more in the entry": _entry(_with(more=1)),
    "target without id": _target(_without("id")),
    "target with more": _target(_with(more=1)),
    "target type: no text": _target(_with(type="\ud800")),
}


@pytest.mark.parametrize("name", IN_A_LINE)
def test_a_line_that_says_something_else_is_found(lines: list[str], name: str) -> None:
    at = leaf_line(lines, ROW)
    record = read(lines[at])
    IN_A_LINE[name](record)
    damaged = [*lines[:at], json.dumps(record) + "\n", *lines[at + 1 :]]
    with pytest.raises(Tampered) as found:
        check_export(damaged, keys=trusted(lines))
    assert (found.value.index, found.value.last) == (ROW, ROW)


@pytest.mark.parametrize(
    "line",
    [
        *("", "\n", "x", "null", "[]", "{}", "\udcff"),
        *(DEEP, '{"a":' * 10_000, '{"index":' + "1" * 5000 + "}"),
    ],
    ids=lambda line: ascii(line[:20]),
)
def test_a_line_that_is_none_is_found(lines: list[str], line: str) -> None:
    at = leaf_line(lines, ROW)
    with pytest.raises(Tampered) as found:
        check_export([*lines[:at], line, *lines[at + 1 :]], keys=trusted(lines))
    assert (found.value.index, found.value.last) == (ROW, ROW)


@pytest.mark.parametrize("name", ["index", "id", "leaf", "entry", "message", "salt"])
def test_a_name_that_stands_twice_is_found(lines: list[str], name: str) -> None:
    """Of two values only the second would be looked at, and who reads the file sees the first."""
    at = leaf_line(lines, ROW)
    twice = lines[at].replace(f'"{name}":', f'"{name}":"forged","{name}":', 1)
    with pytest.raises(Tampered) as found:
        check_export([*lines[:at], twice, *lines[at + 1 :]])
    assert (found.value.index, found.value.last) == (ROW, ROW)


@pytest.mark.parametrize(
    "change",
    [
        {"size": float("inf")},
        {"size": None},
        {"size": -1},
        {"size": 10**6},
        {"size": "x"},
        {"checkpoint": ""},
        {"checkpoint": None},
        {"checkpoint": []},
        {"checkpoint": "\ud800\n\n\N{EM DASH} x AAAAAAAA\n"},
    ],
    ids=str,
)
def test_a_line_of_a_checkpoint_that_says_something_else_is_found(lines: list[str], change: dict[str, Any]) -> None:
    for at in [at for at, line in enumerate(lines) if '"checkpoint"' in line]:
        damaged = [*lines[:at], json.dumps(read(lines[at]) | change), *lines[at + 1 :]]
        with pytest.raises(Tampered) as found:
            check_export(damaged, keys=trusted(lines))
        size = read(lines[at])["size"]
        assert found.value.index is not None
        assert found.value.last is not None
        assert 0 <= found.value.index <= found.value.last
        assert found.value.index <= size


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x",
        "[]",
        "{}",
        DEEP,
        '{"ubr_log":2,"size":1,"keys":[]}',
        '{"ubr_log":1,"keys":[]}',
        '{"ubr_log":1,"size":1e999,"keys":[]}',
        '{"ubr_log":1,"size":"x","keys":[]}',
        '{"ubr_log":1,"size":1,"keys":null}',
        '{"ubr_log":1,"size":1,"keys":[null]}',
        '{"ubr_log":1,"size":1,"keys":["x"]}',
        '{"ubr_log":1,"size":1,"keys":["\\ud800+00000000+AAAA"]}',
    ],
    ids=lambda line: line[:40],
)
def test_a_file_with_another_first_line_is_not_an_export(lines: list[str], line: str) -> None:
    for rest in ([], lines[1:]):
        with pytest.raises(NotAnExport):
            check_export([line, *rest])


def test_every_line_counts(lines: list[str]) -> None:
    """All but a checkpoint before another, which says nothing that the later one does not."""
    keys, wrong = trusted(lines), []
    for at in range(1, len(lines)):
        swapped = [*lines[:at], *reversed(lines[at : at + 2]), *lines[at + 2 :]] if at + 1 < len(lines) else []
        wrong += [
            refused([*lines[:at], lines[at], lines[at], *lines[at + 1 :]], keys),
            refused(swapped, keys) if swapped else None,
            refused(lines[:at], keys),
        ]
        if '"checkpoint"' not in lines[at] or at + 1 == len(lines):
            wrong.append(refused([*lines[:at], *lines[at + 1 :]], keys))
    told(wrong)


def unsaid(line: str, damaged: str) -> bool:
    """Whether nothing that was signed is another: where the content was pruned nobody can say any more what its id was,
    and of two signatures of one checkpoint one is enough."""
    before, after = read(line), read(damaged)
    if "checkpoint" in before:
        notes = [Note.parse(record["checkpoint"]) for record in (before, after)]
        return notes[0].text == notes[1].text and len(notes[0].signatures) == 2
    return before["entry"] is None and before == after | {"id": before["id"]}


@pytest.mark.parametrize("times", [100, pytest.param(None, marks=pytest.mark.long)], ids=["some", "all"])
def test_no_letter_of_an_export_can_be_another(lines: list[str], times: int | None) -> None:
    seed = randbits(32)
    places = [(number, at) for number, line in enumerate(lines) for at in range(len(line))]
    wrong = []
    for number, at in places if times is None else seeded(seed).sample(places, times):
        line = lines[number]
        damaged = line[:at] + chr(ord(line[at]) ^ 1) + line[at + 1 :]
        said = refused([*lines[:number], damaged, *lines[number + 1 :]], [])
        if said is not None and not (said == "accepted" and unsaid(line, damaged)):
            wrong.append(f"seed {seed}, letter {at} of line {number}, {line[max(0, at - 20) : at + 20]!r}: {said}")
    told(wrong)


# --- the verifier as a program of its own ----------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, export: Export) -> Path:
    """A folder with an export, what was kept of its log, and some that are wrong."""
    lines = export.lines
    at = leaf_line(lines, ROW)
    changed = lines[at].replace("session.opened", "session.closed")
    stranger = Signer("stranger", "elsewhere.example.org/log/1")
    for name, text in {
        "export": "".join(lines),
        "changed": "".join([*lines[:at], changed, *lines[at + 1 :]]),
        "cut": "".join(lines[:-2]),
        "key": export.key + "\n",
        "other.key": f"{stranger.key}\n",
        "checkpoint": export.checkpoints[-1],
        "other.checkpoint": str(checkpoint_of(Frontier(), stranger, origin=stranger.name)),
        "empty": "",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="\n")
    return tmp_path


FITS: Final = ["export", "--key", "key", "--checkpoint", "checkpoint"]

SAID: Final[dict[str, tuple[list[str], int, str]]] = {
    "fits": (FITS, 0, "All 15 entries match their signatures.\n"),
    "pruned": (
        FITS,
        0,
        "\nThe content of 3 entries was pruned, as recorded in the log; their hashes match.\nSigned by ",
    ),
    "its own word": (["export"], 0, " Use --key.\n"),
    "the newer key": (
        ["export", "--key", "new.key"],
        0,
        " checkpoints are signed by unknown keys; they match.",
    ),
    "changed": (["changed"], 1, f"Entry {ROW} "),
    "cut": (["cut", "--key", "key"], 1, "The export states 15 entries, but has 14.\n"),
    "another key": (["export", "--key", "other.key"], 1, "No checkpoint is signed by a trusted key.\n"),
    "nothing": ([], 2, "usage: python -m ubr.audit_verifier "),
    "no file": (["nowhere"], 2, "nowhere cannot be read: No such file or directory.\n"),
    "no export": (["key"], 2, "This is not an export of a log: its first line is not a valid header.\n"),
    "no key": (["export", "--key", "empty"], 2, "empty contains no key.\n"),
    "no checkpoint": (
        ["export", "--checkpoint", "key"],
        2,
        "key is not a note: it must have a text, an empty line, and signatures.\n",
    ),
    "another log": (
        ["export", "--checkpoint", "other.checkpoint"],
        2,
        "A checkpoint is not signed by a key of this log, ",
    ),
}
"""What is asked, the exit code, and what is said: in the right place, and nothing in the other."""


@pytest.mark.parametrize("name", SAID)
def test_what_it_says(
    files: Path, export: Export, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    arguments, code, said = SAID[name]
    (files / "new.key").write_text(read(export.lines[0])["keys"][1])
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "argv", ["audit_verifier", *arguments])
    try:
        ended = main()
    except SystemExit as end:  # of argparse
        ended = int(end.code or 0)
    out, err = capsys.readouterr()
    assert ended == code
    assert said in (err if code else out)
    assert not (out if code else err)


@pytest.mark.parametrize("name", ["fits", "changed", "no file"])
@pytest.mark.system
def test_as_a_process_it_says_the_same(files: Path, name: str) -> None:
    arguments, code, said = SAID[name]
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "ubr.audit_verifier", *arguments],
        cwd=files,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == code
    assert said in (ran.stderr if code else ran.stdout)
    assert not (ran.stdout if code else ran.stderr)


# --- what cannot be seen ---------------------------------------------------------------------------------------------

MEANS_THE_SAME: Final[dict[str, list[str]]] = {
    # The same truth, moment or text, however SQLite holds it: what is read of it is what was signed.
    "logs.request_id_given": ["2", "'x'"],
    "logs.timestamp": ["replace({c}, ' ', 'T')"],
    "logs.data": ["CAST({c} AS BLOB)"],
}


@pytest.mark.parametrize("stage", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("column", "to"), listed(MEANS_THE_SAME))
async def test_another_way_to_write_the_same_value_is_the_same(stage: Stage, column: str, to: str) -> None:
    table, _, name = column.partition(".")
    async with stage.changed(f"UPDATE {table} SET {name} = {to.format(c=name)} WHERE id = {_HERE}"):
        assert (await stage.found()).finding is None


@pytest.mark.parametrize("column", UNSEEN)
async def test_a_column_that_says_nothing_of_the_log_is_not_looked_at(stage: Stage, column: str) -> None:
    table, _, name = column.partition(".")
    to = {"private": "twice(private)", "created_at": "later(created_at)"}.get(name, f'"{name}" + 10')
    async with stage.changed(f'UPDATE {table} SET "{name}" = {to}'):
        assert (await stage.found()).finding is None


async def test_pruned_entries_and_entries_without_a_checkpoint_are_not_protected(stage: Stage) -> None:
    for statement in (
        "UPDATE log_leaves SET entry_id = other() WHERE leaf_index = 0",  # whose place it was, once it is pruned
        f"DELETE FROM log_checkpoints WHERE size = {stage.fits(stage.size - 1)}",  # one that a later one covers
        f"UPDATE logs SET message = message || 'x' WHERE id = {_WAITS}",  # what waits
    ):
        async with stage.changed(statement):
            assert (await stage.found()).finding is None
    waits = stage.before["log_queue"][0]["entry_id"]
    nobody_waits = f"DELETE FROM log_queue WHERE entry_id = '{waits}'"
    async with stage.changed(f"DELETE FROM logs WHERE id = '{waits}'", nobody_waits):
        assert (await stage.found()).finding is None


async def test_a_node_that_is_kept_where_none_is_yet_is_not_looked_at(tall: Stage) -> None:
    async with tall.changed("INSERT INTO log_nodes (level, position, hash) SELECT level, 9, hash FROM log_nodes"):
        assert (await tall.found()).finding is None


# --- a thousand entries ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def thousand(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Entries of many kinds, by many people, from many places, in checkpoints of a few."""
    make = Maker(seeded(1))
    async with new_database(request, "sqlite") as (database, settings):
        clock = MovableClock()
        async with connect(settings, clock=clock) as ubr:
            [key] = await ubr.list_log_keys(actor=SYSTEM)
            checkpoints = []
            for number in range(50):
                origin = Origin(
                    ip=f"192.0.2.{number}" if number % 3 else None,
                    user_agent=None,
                    request_id=f"req-{number}" if number % 5 else None,
                    request_id_given=number % 2 == 0,
                )
                with calling_from(origin):
                    actor = Actor(make.person(), make.session()) if number % 4 else SYSTEM
                    await record(settings, clock, *(make.event() for _ in range(20)), actor=actor)
                checkpoints.append((await ubr.get_checkpoint(actor=SYSTEM)).note)
                clock.move(minutes=1)
        async with staged(database, settings, key.key, checkpoints) as made:
            assert made.size >= 1000
            yield made


@pytest.mark.long
@pytest.mark.parametrize("column", [column for column in EVERY if column.startswith("logs.")])
async def test_every_value_of_a_thousand_entries_is_found(thousand: Stage, column: str) -> None:
    told(await each(thousand, column, EVERY[column], thousand.before["logs"]))
