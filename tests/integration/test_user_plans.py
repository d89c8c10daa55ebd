"""However many users there are, whoever is sought: a page is found without looking at most of them."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Final, get_args
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.contracts.conftest import LIMITS
from tests.integration.test_sql_plans import Question, listening, rows_looked_at, units
from tests.support.plugin import Desk
from tests.support.servers import PostgresServer
from ubr.adapters.sql import make_engine, user_search
from ubr.adapters.sql.migrations import upgrade
from ubr.application.ports.accounts import UserFilter, UserSort
from ubr.application.ports.paging import After
from ubr.application.ports.unit_of_work import Transaction
from ubr.domain.accounts.search import Prefix
from ubr.domain.accounts.user import UserStatus
from ubr.domain.roles.role import RoleName

LOGGER = logging.getLogger(__name__)

pytestmark = pytest.mark.anyio

MOST = 100_000
LIMIT = 51
FEW, AHEAD = 1_000, 5_000

# A third are `member…`, a sixteenth begins with each hexadecimal digit, and the newest 3 % are `zz…`. Everybody has
# the role user, a fifth `often`, the newest 1.5 % `late`, and three `rare`. Five are disabled.
FILL = """
SET LOCAL session_replication_role = replica;
INSERT INTO roles (id, name, permissions, created_at, updated_at, version)
    SELECT lpad(to_hex(n), 32, '0')::uuid, (ARRAY['user', 'often', 'late', 'rare'])[n], '[]', now(), now(), 1
    FROM generate_series(1, 4) AS n;
INSERT INTO users (id, email, email_key, full_name, full_name_key, status, email_verified, created_at, updated_at,
                   security_version, version)
    SELECT (lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid, key, key, name, name,
        CASE WHEN n % (CAST(:many AS int) / 5) = 7 THEN 'disabled' ELSE 'active' END, false, at, at, 1, 1
    FROM (SELECT n, timestamptz '2026-01-01 12:00+00' + n * interval '1 second' AS at,
            CASE WHEN n > CAST(:many AS int) * 0.97 THEN 'zz' WHEN n % 3 = 0 THEN 'member' ELSE '' END
                || substr(md5(n::text), 1, 8) || n || '@example.com' AS key,
            substr(md5('name' || n), 1, 12) || ' of house ' || n AS name
        FROM generate_series(1, CAST(:many AS int)) AS n) AS made;
INSERT INTO user_roles (user_id, role_id, granted_at)
    SELECT (lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid, lpad(to_hex(role), 32, '0')::uuid, now()
    FROM generate_series(1, CAST(:many AS int)) AS n, generate_series(1, 4) AS role
    WHERE role = 1 OR role = 2 AND n % 5 = 0 OR role = 3 AND n > CAST(:many AS int) * 0.985
        OR role = 4 AND n % (CAST(:many AS int) / 3) = 5
"""


@pytest.fixture(scope="module", params=[10_000, pytest.param(MOST, marks=pytest.mark.long)])
async def crowd(
    request: pytest.FixtureRequest, desk: Desk, postgres_server: PostgresServer, migrated_template: str
) -> AsyncIterator[AsyncEngine]:
    name = f"{desk.run_id}_{uuid4().hex[:12]}"
    engine = make_engine(await asyncio.to_thread(postgres_server.create_database, name, migrated_template), LIMITS)
    async with engine.begin() as connection:
        found = await connection.execute(
            text("SELECT indexname, indexdef FROM pg_indexes WHERE indexname ~ '^ix_user'")
        )
        indexes = {row.indexname: row.indexdef for row in found}
        drop = [f"DROP INDEX {name}" for name in indexes]  # one at a time they are made much faster
        for statement in [*drop, *FILL.split(";"), *indexes.values(), "ANALYZE users, roles, user_roles"]:
            await connection.execute(text(statement), {"many": request.param} if ":many" in statement else {})
    yield engine
    await engine.dispose()
    await asyncio.to_thread(postgres_server.drop_database, name)


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smaller ones than those of production, so that a smaller crowd does."""
    bound(monkeypatch, FEW, AHEAD)


def bound(monkeypatch: pytest.MonkeyPatch, few: int, ahead: int) -> None:
    monkeypatch.setattr(user_search, "MAX_SORTED", few)
    monkeypatch.setattr(user_search, "MAX_SCANNED", ahead)


def which(name: str, sort: UserSort) -> UserFilter:
    """A filter by its name: `prefix, role, status`, each perhaps `-`."""
    prefix, role, status = (None if part == "-" else part for part in name.split())
    return UserFilter(
        prefix=None if prefix is None else Prefix.parse(prefix),
        role=None if role is None else RoleName(role),
        status=None if status is None else UserStatus(status),
        sort=sort,
    )


async def looked_at(crowd: AsyncEngine, name: str, sort: UserSort) -> int:
    return (await rows_looked_at(crowd, lambda tx: tx.users.search(which(name, sort), None, LIMIT)))["users"]


@pytest.mark.parametrize("sort", get_args(UserSort))
async def test_few_are_found_by_the_index_they_are_in(crowd: AsyncEngine, sort: UserSort) -> None:
    names = ["ab1 - -", "ab1 user -", "ab1 often active", "zzab - -", "nobody - -", "nobody user disabled"]
    names += ["- rare -", "ab1 rare -", "- - disabled", "- rare disabled", "ab1 - disabled", "- user disabled"]
    found = {name: await looked_at(crowd, name, sort) for name in names}
    assert {name: rows for name, rows in found.items() if rows > 5 * LIMIT} == {}


@pytest.mark.parametrize("sort", get_args(UserSort))
async def test_many_are_found_along_the_order(crowd: AsyncEngine, sort: UserSort) -> None:
    names = ["- - -", "- - active", "- user -", "- user active", "- often -"]
    names += ["a - -", "a user -", "a often active", *(["member - -", "member often active"] * ("email" not in sort))]
    found = {name: await looked_at(crowd, name, sort) for name in names}
    assert {name: rows for name, rows in found.items() if rows > 2 * FEW + AHEAD + 3 * LIMIT} == {}


@pytest.mark.parametrize("sort", get_args(UserSort))
@pytest.mark.parametrize("name", ["zz - -", "zz user -", "- late -", "zz late active", "a - disabled"])
async def test_a_search_looks_at_so_many_users_wherever_the_matches_are(
    crowd: AsyncEngine, monkeypatch: pytest.MonkeyPatch, name: str, sort: UserSort
) -> None:
    bound(monkeypatch, 50, 300)
    rows = await rows_looked_at(crowd, lambda tx: tx.users.search(which(name, sort), None, LIMIT))
    assert rows["users"] <= 2 * 50 + 2 * (300 + 1) + 3 * LIMIT


async def test_a_prefix_is_looked_up_in_both_indexes(crowd: AsyncEngine) -> None:
    with listening(crowd) as asked:
        async with units(crowd).read() as tx:
            assert (await tx.users.search(which("ab1 - -", "created_at"), None, LIMIT)).items
    statement, parameters = asked[-1]
    async with crowd.connect() as connection:
        plan = "\n".join((await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)).scalars())
    assert "BitmapOr" in plan
    assert "uq_users_email_key" in plan
    assert "ix_users_full_name_key" in plan
    assert "Seq Scan on users" not in plan


@pytest.mark.long
async def test_in_no_case_is_more_looked_at_than_the_bounds(crowd: AsyncEngine) -> None:
    """Nothing is asked of the time: it is for whoever runs this with `--log-cli-level=INFO`."""
    prefixes, roles = ["-", "ab1", "a", "member", "zz"], ["-", "user", "often", "late", "rare"]
    for sort in get_args(UserSort):
        for prefix, role, status in product(prefixes, roles, ["-", "active", "disabled"]):
            name = f"{prefix} {role} {status}"
            rows = await looked_at(crowd, name, sort)
            began = time.perf_counter()
            async with units(crowd).read() as tx:
                found = len((await tx.users.search(which(name, sort), None, LIMIT)).items)
            took = 1000 * (time.perf_counter() - began)
            LOGGER.info("%-24s %-11s %2d found, %6d rows, %5.1f ms", name, sort, found, rows, took)
            assert rows <= 2 * FEW + 2 * (AHEAD + 1) + 3 * LIMIT


# --- SQLite ----------------------------------------------------------------------------------------------------------

INSTRUCTIONS: Final = 100
"""SQLite reports its work in portions of this many instructions."""
WORK: Final = 30_000
"""Instructions that are enough to count 1,000 matches and to sort 20. To read 10,000 users takes more."""
MIDDLE: Final = datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(seconds=5000)


@pytest.fixture(scope="module")
async def file_of_many(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AsyncEngine]:
    """10,000 active users with the role many. The last 20 have an e-mail `rare…`, and the role rare."""
    await upgrade(url := f"sqlite:///{tmp_path_factory.mktemp('many') / 'ubr.db'}")
    engine = make_engine(url, LIMITS, durable=False)
    async with engine.begin() as connection:
        for statement in FILL_FILE.split(";"):
            await connection.execute(text(statement))
    yield engine
    await engine.dispose()


FILL_FILE = """
INSERT INTO roles (id, name, permissions, created_at, updated_at, version)
    SELECT printf('%032x', n), name, '[]', '2026-01-01 12:00:00', '2026-01-01 12:00:00', 1
    FROM (SELECT 101 AS n, 'many' AS name UNION ALL SELECT 102, 'rare');
INSERT INTO users (id, email, email_key, full_name, full_name_key, status, email_verified, created_at, updated_at,
                   security_version, version)
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000)
    SELECT printf('%032x', n), key, key, 'Member ' || n, 'member ' || n, 'active', false, at, at, 1, 1
    FROM (SELECT n, datetime('2026-01-01 12:00:00', n || ' seconds') || '.000000' AS at,
            CASE WHEN n > 9980 THEN 'rare' ELSE 'member' END || n || '@example.com' AS key FROM numbers) AS made;
INSERT INTO user_roles (user_id, role_id, granted_at)
    SELECT users.id, roles.id, users.created_at FROM users, roles
    WHERE roles.name = 'many' OR roles.name = 'rare' AND users.email_key >= 'rare'
"""


async def work(engine: AsyncEngine, question: Question) -> int:
    """The instructions that SQLite executes to answer a question."""
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += INSTRUCTIONS

    with listening(engine) as asked:
        async with units(engine).read() as tx:
            await question(tx)
    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.set_progress_handler(count, INSTRUCTIONS)
        for statement, parameters in asked:
            (await connection.exec_driver_sql(statement, parameters)).all()
        await driver.set_progress_handler(None, 0)
    return counted


@pytest.mark.parametrize("sort", get_args(UserSort))
@pytest.mark.parametrize("name", ["rare - -", "- rare -", "rare many -", "member rare -", "rare rare -", "nobody - -"])
@pytest.mark.parametrize("status", ["-", "active"])
async def test_in_sqlite_few_are_found_without_the_others(
    file_of_many: AsyncEngine, sort: UserSort, name: str, status: str
) -> None:
    sought = which(name.removesuffix("-") + status, sort)
    halfway = After("member5000@example.com" if sort.endswith("email") else MIDDLE, UUID(int=5000))
    found: list[int] = []

    async def ask(tx: Transaction, after: After[Any] | None) -> None:
        found.append(len((await tx.users.search(sought, after, LIMIT)).items))

    assert await work(file_of_many, lambda tx: ask(tx, None)) < WORK
    assert await work(file_of_many, lambda tx: ask(tx, halfway)) < WORK
    assert found[0] == (0 if name.startswith("nobody") else 20)
