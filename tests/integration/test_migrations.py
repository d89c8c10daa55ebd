"""The one tree of migrations, walked up and down on both databases."""

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.plugin import NewDatabase
from ubr.adapters.sql import make_engine, migrations
from ubr.adapters.sql.migrations import SchemaState, UnknownSchema, check, downgrade, effects_of, upgrade
from ubr.adapters.sql.migrations.effects import Blocks
from ubr.adapters.sql.tables import metadata
from ubr.domain.accounts.search import name_key
from ubr.domain.errors import StoreUnavailable

pytestmark = [pytest.mark.anyio, pytest.mark.system]

REVISIONS = tuple(
    step.revision for step in reversed([*ScriptDirectory(Path(migrations.__file__).parent).walk_revisions()])
)


def test_files_are_named_for_their_revisions_in_the_order_of_these() -> None:
    assert migrations.REVISIONS == REVISIONS


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'with 100% odd name.db'}"
    new_database: NewDatabase = request.getfixturevalue("new_database")
    return new_database(migrated=False)


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


async def ask(url: str, statement: str) -> None:
    engine = make_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(statement))
    finally:
        await engine.dispose()


async def test_up_down_and_up_again(empty_url: str) -> None:
    assert await check(empty_url) is SchemaState.EMPTY
    assert await upgrade(empty_url) == REVISIONS
    assert await check(empty_url) is SchemaState.CURRENT
    assert await upgrade(empty_url) == ()
    for revision in (*REVISIONS[-2::-1], "base"):
        await downgrade(empty_url, revision)
        assert await check(empty_url) is (SchemaState.EMPTY if revision == "base" else SchemaState.BEHIND)
    engine = make_engine(empty_url)
    async with engine.connect() as connection:
        assert await connection.run_sync(tables) == {"alembic_version"}
    await engine.dispose()
    assert await upgrade(empty_url) == REVISIONS


async def test_the_migrations_make_what_the_adapter_expects(empty_url: str) -> None:
    await upgrade(empty_url)

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))

    engine = make_engine(empty_url)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
        assert await connection.run_sync(tables) == {"alembic_version", *metadata.tables}
    await engine.dispose()


async def test_names_of_constraints_are_those_the_adapter_knows(empty_url: str) -> None:
    await upgrade(empty_url)

    def names(connection: Connection) -> set[str | None]:
        found = inspect(connection)
        return {
            constraint["name"]
            for table in metadata.tables
            for constraint in (
                *found.get_unique_constraints(table),
                *found.get_foreign_keys(table),
                found.get_pk_constraint(table),
            )
        }

    engine = make_engine(empty_url)
    async with engine.connect() as connection:
        found = await connection.run_sync(names)
    await engine.dispose()
    expected = {str(constraint.name) for table in metadata.tables.values() for constraint in table.constraints}
    assert found == expected


async def test_one_of_four_concurrent_upgrades_does_the_work(empty_url: str) -> None:
    done = await asyncio.gather(*(upgrade(empty_url) for _ in range(4)))
    assert sorted(done) == [(), (), (), REVISIONS]
    assert await check(empty_url) is SchemaState.CURRENT


@pytest.mark.parametrize("first", ["CREATE SCHEMA ubr", "LOCK TABLE ubr.alembic_version"])
async def test_an_upgrade_does_not_wait_for_ever_for_another(empty_url: str, first: str) -> None:
    if "alembic_version" in first:
        await upgrade(empty_url, "0001")
    other = make_engine(empty_url)
    try:
        async with other.begin() as connection:  # In SQLite this alone keeps everybody else out.
            if other.dialect.name == "postgresql":
                await connection.execute(text(first))
            with pytest.raises(StoreUnavailable):
                await upgrade(empty_url, wait=0.3)
    finally:
        await other.dispose()
    assert (await upgrade(empty_url))[-1:] == REVISIONS[-1:]


async def test_a_database_of_a_newer_version_is_left_alone(empty_url: str) -> None:
    await upgrade(empty_url)
    await ask(empty_url, "UPDATE alembic_version SET version_num = 'ffff'")
    assert await check(empty_url) is SchemaState.UNKNOWN
    with pytest.raises(UnknownSchema):
        await upgrade(empty_url)
    with pytest.raises(UnknownSchema):
        await downgrade(empty_url, "base")


async def test_tables_that_turn_over_are_cleaned_early(new_database: NewDatabase) -> None:
    url = new_database(migrated=False)
    engine = make_engine(url)
    tuned = text("SELECT relname FROM pg_class WHERE 'autovacuum_vacuum_scale_factor=0.01' = ANY (reloptions)")
    for revision, expected in (("head", True), ("0008", False)):
        await (upgrade(url) if expected else downgrade(url, revision))
        async with engine.connect() as connection:
            found = set((await connection.execute(tuned)).scalars())
        assert (found >= {"sessions", "refresh_tokens", "feed", "log_queue", "counters"}) == expected
        assert found <= set(metadata.tables)
    await engine.dispose()


async def test_an_upgrade_that_fails_leaves_nothing_behind(empty_url: str) -> None:
    # The last one the first migration makes. A view of that name stands in its way, and is no foreign table.
    if empty_url.startswith("postgresql"):
        await ask(empty_url, "CREATE SCHEMA IF NOT EXISTS ubr")
    await ask(empty_url, "CREATE VIEW signing_keys AS SELECT 1 AS kid")
    with pytest.raises(DBAPIError):
        await upgrade(empty_url)
    engine = make_engine(empty_url)
    async with engine.connect() as connection:
        assert await connection.run_sync(tables) <= {"signing_keys", "alembic_version"}
    await engine.dispose()
    await ask(empty_url, "DROP VIEW signing_keys")
    assert await upgrade(empty_url) == REVISIONS


async def test_those_who_are_there_already_are_found_by_their_names(empty_url: str) -> None:
    await upgrade(empty_url, "0004")
    names = ["STRA\u1e9eE", None, *(f"Name {number}" for number in range(2_000))]  # two batches and a bit
    engine = make_engine(empty_url)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO users (id, email, email_key, full_name, status, email_verified, created_at, updated_at,"
                " security_version, version) VALUES (:id, :key, :key, :name, 'active', false, '2026-01-01',"
                " '2026-01-01', 1, 1)"
            ),
            [{"id": f"{at:032x}", "key": f"{at}@x.example", "name": name} for at, name in enumerate(names)],
        )
    await engine.dispose()
    await upgrade(empty_url)
    engine = make_engine(empty_url)
    async with engine.connect() as connection:
        found = (await connection.execute(text("SELECT full_name, full_name_key FROM users"))).all()
    await engine.dispose()
    assert len(found) == len(names)
    assert all(key == (None if name is None else name_key(name)) for name, key in found)
    await downgrade(empty_url, "0004")
    assert await upgrade(empty_url) == REVISIONS[REVISIONS.index("0004") + 1 :]


async def fill_log(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO logs (id, format, level, action, message, timestamp, request_id_given, data, salt)"
                " VALUES ('00000000000070008000000000000001', 1, 'info', 'a', 'm', '2026-01-01', false, '{}', 'x')"
            )
        )


@pytest.mark.parametrize("change", ["UPDATE logs SET message = 'x'", "DELETE FROM logs", "TRUNCATE logs"])
async def test_the_log_only_grows(empty_url: str, change: str) -> None:
    await upgrade(empty_url)
    engine = make_engine(empty_url)
    await fill_log(engine)
    with pytest.raises(DBAPIError):
        async with engine.begin() as connection:
            await connection.execute(text(change))
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT message FROM logs"))).scalars().all() == ["m"]
    await engine.dispose()


async def test_foreign_keys_hold_where_the_service_connects(empty_url: str) -> None:
    await upgrade(empty_url)
    with pytest.raises(DBAPIError):
        await ask(
            empty_url,
            "INSERT INTO user_roles (user_id, role_id, granted_at) VALUES"
            " ('00000000000070008000000000000001', '00000000000070008000000000000001', '2026-01-01')",
        )


async def test_a_url_that_names_no_database_of_ours_is_refused() -> None:
    for function in (upgrade, check):
        with pytest.raises(ValueError, match="mysql"):
            await function("mysql://user:secret@host/name")


# The declared effects

LOCKED = text(
    "SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
    " WHERE l.pid = pg_backend_pid() AND c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace"
)
STORED = text(
    "SELECT c.relname, c.relfilenode, (SELECT coalesce(array_agg(indexrelid::int ORDER BY indexrelid), '{}')"
    " FROM pg_index WHERE indrelid = c.oid) FROM pg_class c"
    " WHERE c.relkind = 'r' AND c.relnamespace = to_regnamespace('ubr')"
)
MODES = {
    "AccessExclusiveLock": Blocks.EVERYTHING,
    "ExclusiveLock": Blocks.WRITES,
    "ShareRowExclusiveLock": Blocks.WRITES,
    "ShareLock": Blocks.WRITES,
}
"""The lock modes that some request waits for. Others conflict with other changes of the schema only."""


async def test_the_locks_of_a_migration_are_the_declared_ones(new_database: NewDatabase) -> None:
    url = new_database(migrated=False)
    await upgrade(url, REVISIONS[0])
    engine = make_engine(url, schema="ubr")
    found: dict[str, dict[str, tuple[Blocks, bool]]] = {}
    for revision in REVISIONS[1:]:
        async with engine.begin() as connection:
            before = {name: rest for name, *rest in await connection.execute(STORED)}
            await connection.run_sync(lambda sync: migrations._upgrade(sync, revision, "ubr"))  # noqa: B023, SLF001 - within the transaction that is looked at
            after = {name: rest for name, *rest in await connection.execute(STORED)}
            held: dict[str, set[Blocks]] = {}
            for name, mode in await connection.execute(LOCKED):
                if name in before and name != "alembic_version" and mode in MODES:
                    held.setdefault(name, set()).add(MODES[mode])
        found[revision] = {
            name: (Blocks.EVERYTHING if Blocks.EVERYTHING in modes else Blocks.WRITES, before[name] != after[name])
            for name, modes in held.items()
        }
    await engine.dispose()
    for revision in REVISIONS[1:]:
        declared = {touched.table: touched for touched in effects_of(revision).tables}
        assert {name: touched.blocks for name, touched in declared.items()} == {
            name: blocks for name, (blocks, _) in found[revision].items()
        }, revision
        grown = {name for name, (_, changed) in found[revision].items() if changed}
        # A migration may also copy or change rows, which no catalogue shows.
        assert grown <= {name for name, touched in declared.items() if touched.grows}, revision
