"""However many users there are: those with a value of a field are found without a look at the others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.contracts.conftest import LIMITS
from tests.integration.test_sql_plans import listening, rows_looked_at, units
from tests.support.plugin import Desk
from tests.support.servers import PostgresServer
from ubr.adapters.sql import make_engine, user_search
from ubr.adapters.sql.migrations import upgrade
from ubr.application.ports.accounts import UserFilter, UserSort
from ubr.domain.accounts.search import Prefix
from ubr.domain.accounts.user import UserStatus
from ubr.domain.accounts.user_field import Term
from ubr.domain.roles.role import RoleName

pytestmark = pytest.mark.anyio

LIMIT = 51

# Everybody has `plan`, a third of them `paid`; `team` has 20 users each; the newest 2 % are `late`.
FILL = """
SET LOCAL session_replication_role = replica;
INSERT INTO users (id, email, email_key, status, email_verified, created_at, updated_at, security_version, version)
    SELECT (lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid, key, key, 'active', false,
        timestamptz '2026-01-01 12:00+00' + n * interval '1 second', now(), 1, 1
    FROM (SELECT n, substr(md5(n::text), 1, 8) || n || '@example.com' AS key
        FROM generate_series(1, CAST(:many AS int)) AS n) AS made;
INSERT INTO user_field_values (user_id, field, value)
    SELECT (lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid, field,
        CASE field WHEN 'plan' THEN CASE WHEN n % 3 = 0 THEN 'paid' ELSE 'free' END
            WHEN 'team' THEN 'team' || n / 20 ELSE 'yes' END
    FROM generate_series(1, CAST(:many AS int)) AS n, unnest(ARRAY['plan', 'team', 'late']) AS field
    WHERE field <> 'late' OR n > CAST(:many AS int) * 0.98
"""


@pytest.fixture(scope="module", params=[40_000, pytest.param(200_000, marks=pytest.mark.long)])
async def crowd(
    request: pytest.FixtureRequest, desk: Desk, postgres_server: PostgresServer, migrated_template: str
) -> AsyncIterator[AsyncEngine]:
    name = f"{desk.run_id}_{uuid4().hex[:12]}"
    engine = make_engine(await asyncio.to_thread(postgres_server.create_database, name, migrated_template), LIMITS)
    async with engine.begin() as connection:
        for statement in [*FILL.split(";"), "ANALYZE users, user_field_values"]:
            await connection.execute(text(statement), {"many": request.param} if ":many" in statement else {})
    yield engine
    await engine.dispose()
    await asyncio.to_thread(postgres_server.drop_database, name)


def which(sort: UserSort, **values: str) -> UserFilter:
    return UserFilter(terms=tuple(Term(field, value) for field, value in values.items()), sort=sort)


async def looked_at(crowd: AsyncEngine, sought: UserFilter) -> Counter[str]:
    return await rows_looked_at(crowd, lambda tx: tx.users.search(sought, None, LIMIT))


@pytest.mark.parametrize("sort", get_args(UserSort))
async def test_few_are_found_by_the_index_of_the_field(crowd: AsyncEngine, sort: UserSort) -> None:
    for sought in (which(sort, team="team7"), which(sort, plan="paid", team="team7"), which(sort, team="none")):
        rows = await looked_at(crowd, sought)
        assert rows["users"] <= 2 * LIMIT
        assert rows["user_field_values"] <= 20_000 + 5 * LIMIT


@pytest.mark.parametrize("sort", get_args(UserSort))
async def test_many_are_found_along_the_order(
    crowd: AsyncEngine, monkeypatch: pytest.MonkeyPatch, sort: UserSort
) -> None:
    monkeypatch.setattr(user_search, "MAX_SORTED", 50)
    monkeypatch.setattr(user_search, "MAX_SCANNED", 300)
    for sought in (which(sort, plan="paid"), which(sort, plan="free"), which(sort, plan="paid", late="yes")):
        rows = await looked_at(crowd, sought)
        assert rows["users"] <= 2 * 50 + 2 * (300 + 1) + 3 * LIMIT
        assert rows["user_field_values"] <= len(sought.terms) * (50 + 1 + 300)


async def test_the_declarations_in_use_are_found_by_the_index(crowd: AsyncEngine) -> None:
    async with crowd.begin() as connection:
        for name, place in (("one", 7), ("two", 77)):
            statement = "UPDATE users SET field_index = :name WHERE id = (SELECT id FROM users OFFSET :place LIMIT 1)"
            await connection.execute(text(statement), {"name": name, "place": place})
    async with units(crowd).read() as tx:
        assert [index.name for index in await tx.users.indexes()] == ["", "one", "two"]
    rows = await rows_looked_at(crowd, lambda tx: tx.users.indexes())
    assert rows["users"] <= 20
    rows = await rows_looked_at(crowd, lambda tx: tx.users.indexed_under("one", 100))
    assert rows["users"] <= 20


async def test_in_sqlite_no_search_by_a_field_reads_all_users(tmp_path: Path) -> None:
    await upgrade(url := f"sqlite:///{tmp_path / 'ubr.db'}")
    engine = make_engine(url, LIMITS, durable=False)
    role = "INSERT INTO roles VALUES (:id, 'r', NULL, '[]', '2026-01-01', '2026-01-01', 1, NULL)"
    async with engine.begin() as connection:
        await connection.execute(text(role), {"id": uuid4().hex})
    many: tuple[dict[str, Any], ...] = (
        {},
        {"prefix": Prefix.parse("a")},
        {"role": RoleName("r")},
        {"status": UserStatus.ACTIVE},
    )
    for sort, more in product(get_args(UserSort), many):
        sought = UserFilter(terms=(Term("plan", "paid"), Term("team", "a")), sort=sort, **more)
        with listening(engine) as asked:
            async with units(engine).read() as tx:
                await tx.users.search(sought, None, LIMIT)
                await tx.users.indexes()
                await tx.users.indexed_under("", 10)
        async with engine.connect() as connection:
            for statement, parameters in asked:
                plan = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)).all()
                steps = [str(row.detail) for row in plan]
                scans = [step for step in steps if step.startswith(("SCAN users", "SCAN user_field_values"))]
                assert scans == [], (sort, more, statement)
    await engine.dispose()
