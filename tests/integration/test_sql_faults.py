"""What becomes of a unit of work when the database, the network or the caller does not play along."""

import asyncio
import os
import socket
import sqlite3
import sys
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.to_thread
import pytest
from sqlalchemy import ForeignKeyConstraint, UniqueConstraint, event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from tests.contracts.kit import (
    MovableClock,
    email,
    new_grant,
    new_role,
    new_session,
    new_token,
    new_user,
    page_of_users,
    put,
    race,
    seen,
)
from tests.support.plugin import NewDatabase, PrivatePostgres
from tests.support.room import PRODUCTION_LIMITS, PROMPT
from tests.support.servers import PostgresServer
from tests.support.values import replace
from ubr.adapters.sql import ConnectionLimits, SqlStore, SqlUnitOfWork, make_engine, normal_url
from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.engine import Mode
from ubr.adapters.sql.errors import CONSTRAINTS, SQLITE_CONSTRAINTS, SQLITE_REFERENCES, SqlTransactionConflict
from ubr.adapters.sql.migrations import check, upgrade
from ubr.adapters.sql.tables import metadata
from ubr.application.audit.recorder import Recorder
from ubr.application.ports.accounts import UserFilter
from ubr.domain.accounts.user import User
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import EmailTaken, SessionNotFound, StoreUnavailable, TransactionConflict, UserNotFound
from ubr.domain.ids import UserId

pytestmark = [pytest.mark.anyio, pytest.mark.system]

DEFAULT = PRODUCTION_LIMITS
DEADLINE = 5.0
"""Nothing takes longer than this, whatever happens to the database."""


@dataclass
class Bench:
    engine: AsyncEngine
    uow: SqlUnitOfWork
    store: SqlStore

    @property
    def used(self) -> int:
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)
        return pool.checkedout()


@asynccontextmanager
async def bench(url: str, limits: ConnectionLimits = DEFAULT, *, own_clock: bool = False) -> AsyncIterator[Bench]:
    engine = make_engine(url, limits, durable=False)
    uow = SqlUnitOfWork(engine, Recorder(uuid4, os.urandom), None if own_clock else MovableClock())
    store = SqlStore(engine)
    try:
        yield Bench(engine, uow, store)
    finally:
        await store.close()


@pytest.fixture
async def sqlite_url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'ubr.db'}"
    await upgrade(url)
    return url


@pytest.fixture
def postgres_url(new_database: NewDatabase) -> str:
    return new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest) -> str:
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(name)
    return url


@asynccontextmanager
async def fails_in_time(within: float = DEADLINE) -> AsyncIterator[pytest.ExceptionInfo[StoreUnavailable]]:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as failure:
        yield failure
    assert time.monotonic() - began < within
    assert failure.value.retry_after >= 1
    assert failure.value.code in {"store-unavailable", "store-too-slow"}


# Addresses


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("postgresql://u:p@h:1/d", "postgresql+asyncpg://u:p@h:1/d"),
        ("postgres://u@h/d?sslmode=require", "postgresql+asyncpg://u@h/d?sslmode=require"),
        ("postgresql+asyncpg://u:p%40ss%2F@h/d", "postgresql+asyncpg://u:p%40ss%2F@h/d"),
        ("sqlite:///var/ubr.db", "sqlite+aiosqlite:///var/ubr.db"),
        ("sqlite+aiosqlite:////abs/ubr.db", "sqlite+aiosqlite:////abs/ubr.db"),
    ],
)
def test_an_address_gets_the_driver_used_here(given: str, normal: str) -> None:
    assert normal_url(given) == normal_url(normal) == normal


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense-hunter2",
        "mysql://u:hunter2@h/d",
        "postgresql+psycopg://u:hunter2@h/d",
        "postgresql://u:hunter2@h:x/d",
    ],
)
def test_an_address_that_will_not_do_is_refused_without_showing_it(given: str) -> None:
    with pytest.raises(ValueError, match="database URL") as failure:
        normal_url(given)
    assert "hunter2" not in "".join(traceback.format_exception(failure.value))


@pytest.mark.parametrize("given", ["sqlite://", "sqlite:///:memory:", "sqlite+aiosqlite://"])
def test_sqlite_needs_a_file(given: str) -> None:
    with pytest.raises(ValueError, match="no file"):
        normal_url(given)


@pytest.mark.parametrize("size", ["0", "7"])
async def test_statements_are_prepared_by_name_only_where_that_is_wanted(postgres_url: str, size: str) -> None:
    async with bench(f"{postgres_url}?prepared_statement_cache_size={size}") as it:
        await put(it.uow, user := new_user())
        assert await seen(it.uow, lambda tx: tx.users.get(user.id)) == user
        async with it.engine.connect() as connection:
            named = (await connection.execute(text("SELECT count(*) FROM pg_prepared_statements"))).scalar()
        assert (named == 0) == (size == "0")


@pytest.mark.parametrize("size", ["-1", "many", "1000000"])
async def test_an_invalid_number_of_statements_is_refused(size: str) -> None:
    with pytest.raises(ValueError, match="prepared_statement_cache_size that is not a number"):
        make_engine(f"postgresql://u@h/d?prepared_statement_cache_size={size}")


async def test_every_transaction_overrides_the_settings_of_the_installation(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    name = postgres_url.rpartition("/")[2]
    for wrong in ("default_transaction_isolation = 'serializable'", "timezone = 'Asia/Tokyo'", "statement_timeout = 0"):
        await anyio.to_thread.run_sync(postgres_server.query, f'ALTER DATABASE "{name}" SET {wrong}')
    expected = {"transaction_isolation": "read committed", "timezone": "UTC", "statement_timeout": "4s", "jit": "off"}
    async with bench(postgres_url) as it:
        for _ in range(2):
            async with it.engine.begin() as connection:
                told = {each: (await connection.execute(text(f"SHOW {each}"))).scalar() for each in expected}
            assert told == expected


@pytest.mark.parametrize("option", ["", "?prepared_statement_cache_size=0"])
async def test_every_query_of_a_peek_overrides_the_settings_of_the_installation(
    postgres_url: str, postgres_server: PostgresServer, option: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    for wrong in ("timezone = 'Asia/Tokyo'", "statement_timeout = 0"):
        await anyio.to_thread.run_sync(postgres_server.query, f'ALTER DATABASE "{name}" SET {wrong}')
    async with bench(postgres_url + option) as it:
        for _ in range(2):
            async with SqlConnection.opened(it.engine, Mode.PEEK) as connection:
                told = [
                    (await connection.rows(text(f"SHOW {each}")))[0][0] for each in ("timezone", "statement_timeout")
                ]
            assert told == ["UTC", "4s"]


async def test_a_peek_finds_users_by_a_grant_with_an_end_by_the_clock_of_the_database(postgres_url: str) -> None:
    """Such a unit has no moment of its own: its statements ask PostgreSQL for the time."""
    async with bench(postgres_url, own_clock=True) as it:
        role = new_role("wanted")
        held = new_user(grants=[new_grant(role, until=datetime(2999, 1, 1, tzinfo=UTC))])
        await put(it.uow, role, held, new_user(grants=[new_grant(role, until=datetime(2001, 1, 1, tzinfo=UTC))]))
        async with it.uow.peek() as peek:
            found = await peek.users.search(UserFilter(role=role.name), None, 10)
            assert [user.id for user in found.items] == [held.id]


async def test_a_session_that_may_be_shared_keeps_no_setting(postgres_url: str) -> None:
    """Behind a pooler of transactions, the session is another client's next."""
    async with bench(f"{postgres_url}?prepared_statement_cache_size=0") as it:
        await put(it.uow, new_user())
        async with it.uow.peek() as peek:
            assert len((await peek.users.search(UserFilter(), None, 10)).items) == 1
        async with it.engine.connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None
            assert await raw.fetchval("SHOW statement_timeout") == "0"
            assert "ubr" not in await raw.fetchval("SHOW search_path")


# Constraints


def test_every_constraint_that_can_be_broken_has_a_meaning() -> None:
    checked = [
        constraint
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint | ForeignKeyConstraint)
    ]
    assert {str(constraint.name) for constraint in checked} | {"pk_roles"} == set(CONSTRAINTS)
    assert {"users.email_key", "roles.name", "machines.name", "log_leaves.entry_id"} == set(SQLITE_CONSTRAINTS)
    assert {str(c.table.name) for c in checked if isinstance(c, ForeignKeyConstraint)} == set(SQLITE_REFERENCES)


async def test_broken_constraints_mean_the_same_in_both_databases(any_url: str) -> None:
    async with bench(any_url) as it:
        await put(it.uow, new_user("taken"))
        with pytest.raises(EmailTaken) as failure:
            await put(it.uow, new_user("taken"))
        assert "taken@" not in "".join(traceback.format_exception(failure.value))
        with pytest.raises(UserNotFound):
            await put(it.uow, new_session(new_user()))
        with pytest.raises(SessionNotFound):
            await put(it.uow, new_token(new_session(new_user())))
        assert it.used == 0


# Misuse


async def test_a_unit_that_reads_refuses_to_write(any_url: str) -> None:
    async with bench(any_url) as it, it.uow.read() as tx:
        with pytest.raises(RuntimeError, match="only reads"):
            await tx.users.add(new_user())
        with pytest.raises(RuntimeError, match="only reads"):
            await tx.links.forget_all(1)


async def test_a_unit_that_has_ended_is_of_no_more_use(any_url: str) -> None:
    async with bench(any_url) as it:
        async with it.uow.begin(SYSTEM) as tx:
            await tx.commit()
            with pytest.raises(RuntimeError, match="ended"):
                await tx.users.add(new_user())
            with pytest.raises(RuntimeError, match="ended"):
                await tx.commit()
        with pytest.raises(RuntimeError, match="ended"):
            await tx.users.get(UserId(uuid4()))


async def test_all_that_one_unit_reads_is_of_one_moment(any_url: str) -> None:
    async with bench(any_url) as it:
        await put(it.uow, user := new_user())
        async with it.uow.read() as tx:
            assert await tx.users.get(user.id) == user
            changed = replace(user, full_name="Changed")
            async with it.uow.begin(SYSTEM) as writing:
                await writing.users.save(changed)
                await writing.commit()
            assert await tx.users.get(user.id) == user
        assert await seen(it.uow, lambda tx: tx.users.get(user.id)) == changed


def test_sqlite_requires_a_clock(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="clock"):
        SqlUnitOfWork(make_engine(f"sqlite:///{tmp_path / 'x'}"), Recorder(uuid4, os.urandom))


async def test_postgresql_tells_the_time_itself(postgres_url: str, postgres_server: PostgresServer) -> None:
    async with bench(postgres_url, own_clock=True) as it:
        before = await anyio.to_thread.run_sync(postgres_server.query, "SELECT clock_timestamp()")
        async with it.uow.begin(SYSTEM) as writing, it.uow.read() as reading:
            moments = writing.now, reading.now
        after = await anyio.to_thread.run_sync(postgres_server.query, "SELECT clock_timestamp()")
    assert isinstance(before, datetime)
    assert isinstance(after, datetime)
    assert before < moments[0] < moments[1] < after


# Cancellation


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.003, 0.01, 0.05])
async def test_a_cancelled_task_gives_its_connection_back(any_url: str, delay: float) -> None:
    async with bench(any_url, ConnectionLimits(connections=4)) as it:
        await put(it.uow, user := new_user("kept"))

        async def work() -> None:
            async with it.uow.begin(SYSTEM) as tx:
                found = await tx.users.get(user.id)
                assert found is not None
                found.full_name = "Changed"
                await tx.users.save(found)
                await asyncio.sleep(0.02)

        for _ in range(6):
            tasks = [asyncio.create_task(work()) for _ in range(8)]
            await asyncio.sleep(delay)
            for task in tasks:
                task.cancel()
            outcomes = await race(tasks)
            assert all(outcome is None or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes), outcomes
            assert it.used == 0
        async with asyncio.timeout(PROMPT), it.uow.begin(SYSTEM) as tx:
            assert await tx.users.get(user.id) == user


async def test_a_scope_that_cancels_again_and_again_does_not_stop_the_roll_back(any_url: str) -> None:
    """A cancelled scope of anyio, which web frameworks use, interrupts every await there is, the roll-back's too."""
    made = 0
    async with bench(any_url, ConnectionLimits(connections=1)) as it:

        @event.listens_for(it.engine.sync_engine, "connect")
        def count(*_: object) -> None:
            nonlocal made
            made += 1

        for _ in range(5):
            with anyio.CancelScope() as scope:
                async with it.uow.begin(SYSTEM) as tx:
                    await tx.users.add(new_user("gone"))
                    scope.cancel()
                    await anyio.sleep_forever()
            assert it.used == 0
        assert made == 1  # It was rolled back and given back, and not thrown away.
        assert await seen(it.uow, lambda tx: tx.users.by_email(email("gone"))) is None


async def test_a_cancelled_call_stops_waiting_for_its_lock(postgres_url: str, postgres_server: PostgresServer) -> None:
    async with bench(postgres_url) as it:
        await put(it.uow, user := new_user())

        async def wait() -> None:
            async with it.uow.begin(SYSTEM) as tx:
                await tx.users.get(user.id)

        async with it.uow.begin(SYSTEM) as tx:
            await tx.users.get(user.id)
            tasks = [asyncio.create_task(wait()) for _ in range(3)]
            await until_waiting(3, postgres_url, postgres_server)
            for task in tasks:
                task.cancel()
            await race(tasks)
            assert it.used == 1
            await until_waiting(0, postgres_url, postgres_server)
        assert it.used == 0


async def until_waiting(wanted: int, url: str, server: PostgresServer) -> None:
    """Come back when so many backends wait for a lock of this database."""
    name = url.rpartition("/")[2]
    asked = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND wait_event_type = 'Lock'"  # noqa: S608
    async with asyncio.timeout(DEADLINE):
        while await anyio.to_thread.run_sync(server.query, asked) != wanted:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)


# Out of reach


async def test_a_port_where_nobody_listens(free_tcp_port: int) -> None:
    url = f"postgresql://user:hunter2@127.0.0.1:{free_tcp_port}/name"
    async with bench(url) as it:
        for doing in (it.store.ping, lambda: put(it.uow, new_user()), lambda: check(url), lambda: upgrade(url)):
            async with fails_in_time() as failure:
                await doing()
            assert "hunter2" not in "".join(traceback.format_exception(failure.value))
        assert it.used == 0


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield server.getsockname()[1]


async def test_a_server_that_never_answers(silent_port: int) -> None:
    async with bench(f"postgresql://user@127.0.0.1:{silent_port}/name", ConnectionLimits(connect=0.5)) as it:
        async with fails_in_time(2):
            await it.store.ping()
        async with fails_in_time(2):
            await put(it.uow, new_user())
        assert it.used == 0


async def test_a_host_that_does_not_exist() -> None:
    async with bench("postgresql://user@nowhere.invalid/name") as it, fails_in_time():
        await it.store.ping()


async def test_a_wrong_password_or_database(postgres_server: PostgresServer) -> None:
    async with bench(postgres_server.url("no_such_database")) as it, fails_in_time():
        await it.store.ping()


@pytest.mark.system(seconds=10)
async def test_a_server_that_is_killed_and_started_again(private_postgres: PrivatePostgres) -> None:
    server = await anyio.to_thread.run_sync(lambda: private_postgres(durable=True))
    url = await anyio.to_thread.run_sync(server.create_database, "ubr")
    await upgrade(url)
    async with bench(url, ConnectionLimits(connections=5)) as it:
        await put(it.uow, before := new_user("before"))
        # Several connections lie in the pool when it happens, and one is in use.
        await race(seen(it.uow, lambda tx: tx.users.get(before.id)) for _ in range(5))
        async with fails_in_time(), it.uow.begin(SYSTEM) as tx:
            await tx.users.add(new_user("during"))
            await anyio.to_thread.run_sync(server.kill)
            await tx.commit()
        for doing in (it.store.ping, lambda: put(it.uow, new_user("during"))):
            async with fails_in_time():
                await doing()
        await anyio.to_thread.run_sync(server.restart)
        await it.store.ping()
        await put(it.uow, after := new_user("after"))
        async with it.uow.read() as tx:
            assert await tx.users.get(before.id) == before
            assert await tx.users.get(after.id) == after
            assert await tx.users.by_email(email("during")) is None
        assert it.used == 0


async def test_a_frozen_server_that_continues(private_postgres: PrivatePostgres) -> None:
    server = await anyio.to_thread.run_sync(private_postgres)
    url = await anyio.to_thread.run_sync(server.create_database, "ubr")
    await upgrade(url)
    async with bench(url, ConnectionLimits(connections=2, statement=1.0, connect=0.5, acquire=0.5)) as it:
        await put(it.uow, user := new_user("before"))

        async def read() -> User | None:
            return await seen(it.uow, lambda tx: tx.users.get(user.id))

        assert await race([read(), read()]) == [user, user]
        await anyio.to_thread.run_sync(server.pause)
        try:
            began = time.monotonic()
            outcomes = await race(read() for _ in range(6))
            assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes), outcomes
            # 1.5 s for the statement, and none for a roll-back that nobody would answer either.
            assert time.monotonic() - began < 2.8
            async with fails_in_time():
                await it.store.ping()
        finally:
            await anyio.to_thread.run_sync(server.resume)
        assert await race(read() for _ in range(6)) == [user] * 6
        await put(it.uow, new_user("after"))
        assert it.used == 0


async def test_the_kernel_probes_the_server_of_every_connection(postgres_url: str) -> None:
    """So a migration, whose statements have no short time limit, ends if the server has vanished."""
    engine = make_engine(postgres_url)
    try:
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            found = driver._transport.get_extra_info("socket")  # noqa: SLF001 - there is no other way to it
            assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if sys.platform == "linux":
                silent, between, probes = (
                    found.getsockopt(socket.IPPROTO_TCP, option)
                    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
                )
                assert silent + between * probes <= 60
    finally:
        await engine.dispose()


async def test_connections_that_were_ended_in_the_pool_are_replaced_unseen(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    async with bench(postgres_url) as it:
        await put(it.uow, user := new_user())
        await race(it.store.ping() for _ in range(5))
        await end_all(postgres_url, postgres_server)
        assert await race(seen(it.uow, lambda tx: tx.users.get(user.id)) for _ in range(5)) == [user] * 5
        await end_all(postgres_url, postgres_server)
        assert await race(put(it.uow, new_user()) for _ in range(5)) == [None] * 5


@pytest.mark.parametrize("option", ["", "?prepared_statement_cache_size=0"])
async def test_a_peek_replaces_a_connection_that_broke_in_the_pool_and_no_other(
    postgres_url: str, postgres_server: PostgresServer, option: str
) -> None:
    async with bench(postgres_url + option) as it:
        await put(it.uow, user := new_user())
        await end_all(postgres_url, postgres_server)
        async with it.uow.peek() as peek:
            assert await peek.users.get(user.id) == user
        async with it.uow.peek() as peek:
            await end_all(postgres_url, postgres_server)
            assert await peek.users.get(user.id) == user
            # Another connection may lead to another server, with other data.
            await end_all(postgres_url, postgres_server)
            async with fails_in_time():
                await peek.users.get(user.id)
        assert it.used == 0
        assert await seen(it.uow, lambda tx: tx.users.get(user.id)) == user


@pytest.mark.parametrize("cancelled", [False, True])
async def test_connections_are_given_in_the_order_of_the_requests(any_url: str, cancelled: bool) -> None:
    async with bench(any_url, ConnectionLimits(connections=1)) as it:
        served: list[str] = []

        async def ask(name: str) -> None:
            async with it.uow.peek():
                served.append(name)

        async with it.uow.peek():
            waiting = [asyncio.create_task(ask(name)) for name in ("first", "second", "third")]
            await asyncio.sleep(0)
            if cancelled:
                waiting[0].cancel()
        # The connection is free again, and those who wait have not run yet.
        await ask("late")
        await asyncio.gather(*waiting, return_exceptions=True)
        assert served == [*([] if cancelled else ["first"]), "second", "third", "late"]
        assert it.used == 0
        await ask("again")


async def end_all(url: str, server: PostgresServer) -> None:
    """End every connection to a database, as an administrator would."""
    name = url.rpartition("/")[2]
    ended = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
    await anyio.to_thread.run_sync(server.query, ended)


async def test_a_connection_that_is_ended_within_a_unit_ends_the_unit(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    async with bench(postgres_url) as it:
        user = new_user("lost")
        async with fails_in_time(), it.uow.begin(SYSTEM) as tx:
            await tx.users.add(user)
            await end_all(postgres_url, postgres_server)
            await tx.users.get(user.id)
        assert it.used == 0
        assert await seen(it.uow, lambda tx: tx.users.get(user.id)) is None
        await put(it.uow, new_user("lost"))


@pytest.mark.system(seconds=5)
async def test_a_server_with_no_connection_left(private_postgres: PrivatePostgres) -> None:
    settings = {"max_connections": "4", "superuser_reserved_connections": "0"}
    server = await anyio.to_thread.run_sync(lambda: private_postgres(settings=settings))
    url = await anyio.to_thread.run_sync(server.create_database, "ubr")
    await upgrade(url)
    async with bench(url) as hog, bench(url) as it:
        async with hog.uow.read(), hog.uow.read(), hog.uow.read(), hog.uow.read(), fails_in_time():
            await put(it.uow, new_user())
        await hog.store.close()
        await put(it.uow, new_user())


async def test_a_database_that_only_reads(postgres_url: str, postgres_server: PostgresServer) -> None:
    async with bench(postgres_url) as it:
        await put(it.uow, user := new_user())
        name = postgres_url.rpartition("/")[2]
        change = f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'
        await anyio.to_thread.run_sync(postgres_server.query, change)
        await it.store.close()  # Connections of before do not know yet.
        async with fails_in_time():
            await put(it.uow, new_user())
        assert await seen(it.uow, lambda tx: tx.users.get(user.id)) == user


async def test_a_unit_that_waited_for_a_lock_sees_the_commit_at_every_default_isolation(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    name = postgres_url.rpartition("/")[2]
    change = f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'repeatable read'"
    await anyio.to_thread.run_sync(postgres_server.query, change)
    async with bench(postgres_url) as it:
        await put(it.uow, user := new_user())
        waiting = anyio.Event()
        found = []

        async def end_all() -> None:
            async with it.uow.begin(SYSTEM) as tx:
                waiting.set()
                await tx.users.get(user.id)
                found.extend(await tx.sessions.page(user.id, tx.now, None, 1000))

        async with anyio.create_task_group() as tasks, it.uow.begin(SYSTEM) as tx:
            await tx.users.get(user.id)
            tasks.start_soon(end_all)
            await waiting.wait()
            await tx.sessions.add(session := new_session(user))
            await tx.commit()
        assert found == [session]


# Limits


@pytest.mark.parametrize(
    "limits", [ConnectionLimits(lock=0.3), ConnectionLimits(statement=0.3)], ids=["lock", "statement"]
)
async def test_the_wait_for_a_lock_is_limited(postgres_url: str, limits: ConnectionLimits) -> None:
    async with bench(postgres_url, limits) as it:
        await put(it.uow, user := new_user())
        async with it.uow.begin(SYSTEM) as tx:
            await tx.users.get(user.id)
            async with fails_in_time(2), it.uow.begin(SYSTEM) as other:
                await other.users.get(user.id)
        async with it.uow.begin(SYSTEM) as tx:
            assert await tx.users.get(user.id) == user
        assert it.used == 0


async def test_tidying_up_passes_by_what_is_in_use(postgres_url: str) -> None:
    async with bench(postgres_url, ConnectionLimits(lock=0.5)) as it:
        user = new_user()
        used, idle = new_session(user), new_session(user)
        tokens = [new_token(used), new_token(idle)]
        await put(it.uow, user, used, idle, *tokens)
        async with it.uow.begin(SYSTEM) as tx:
            for token in tokens:
                await tx.refresh_tokens.spend(token.digest, successor=b"sealed", now=tx.now)
            await tx.commit()
        async with it.uow.begin(SYSTEM) as tx:
            await tx.sessions.get(used.id)
            async with it.uow.begin(SYSTEM) as tidying:
                await tidying.refresh_tokens.forget_successors(tidying.now + timedelta(seconds=1), 10)
                forgotten = await tidying.sessions.forget(used.expires_at + timedelta(seconds=1), 10)
                assert forgotten.sessions == 1
                await tidying.commit()
        async with it.uow.read() as tx:
            assert await tx.sessions.get(used.id) == used
            assert await tx.sessions.get(idle.id) is None


async def test_a_unit_in_which_nothing_is_asked_is_ended(postgres_url: str) -> None:
    async with bench(postgres_url, ConnectionLimits(idle=0.2)) as it:
        user = new_user()
        async with fails_in_time(), it.uow.begin(SYSTEM) as tx:
            await tx.users.add(user)
            await asyncio.sleep(0.6)
            await tx.commit()
        assert await seen(it.uow, lambda tx: tx.users.get(user.id)) is None
        assert it.used == 0


async def test_the_wait_for_a_connection_is_limited(any_url: str) -> None:
    async with bench(any_url, ConnectionLimits(connections=2, acquire=0.3)) as it:
        async with it.uow.begin(SYSTEM), it.uow.read():
            for doing in (it.store.ping, lambda: put(it.uow, new_user())):
                async with fails_in_time(2):
                    await doing()
        await put(it.uow, new_user())
        assert it.used == 0


async def test_units_that_wait_in_a_circle_are_told_apart(postgres_url: str) -> None:
    async with bench(postgres_url) as it:
        users = [new_user(), new_user()]
        await put(it.uow, *users)
        met = asyncio.Barrier(2)

        async def lock(first: User, second: User) -> None:
            async with it.uow.begin(SYSTEM) as tx:
                await tx.users.get(first.id)
                await met.wait()
                await tx.users.get(second.id)
                await tx.commit()

        outcomes = await race([lock(*users), lock(*reversed(users))])
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "SqlTransactionConflict"]
        assert issubclass(SqlTransactionConflict, TransactionConflict)  # which use cases repeat
        assert it.used == 0


async def test_a_change_of_the_tables_under_a_running_service_heals(postgres_url: str) -> None:
    async with bench(postgres_url, ConnectionLimits(connections=1)) as it:
        await put(it.uow, user := new_user())
        assert await seen(it.uow, lambda tx: tx.users.get(user.id)) == user
        other = make_engine(postgres_url)
        async with other.begin() as connection:
            await connection.execute(text("ALTER TABLE users ALTER COLUMN full_name TYPE varchar(200)"))
        await other.dispose()

        async def read() -> User | None:
            return await seen(it.uow, lambda tx: tx.users.get(user.id))

        outcomes = [(await race([read()]))[0] for _ in range(2)]
        assert outcomes[0] == user or isinstance(outcomes[0], SqlTransactionConflict)
        assert outcomes[1] == user


# SQLite


async def test_a_file_that_another_process_is_writing_to(sqlite_url: str) -> None:
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    async with bench(sqlite_url, ConnectionLimits(acquire=0.3)) as it:
        await put(it.uow, user := new_user())
        other.execute("BEGIN IMMEDIATE")
        async with fails_in_time(2):
            await put(it.uow, new_user())
        assert await seen(it.uow, lambda tx: tx.users.get(user.id)) == user
        other.execute("ROLLBACK")
        await put(it.uow, new_user())
    other.close()


async def test_two_processes_that_write_to_one_file_lose_nothing(sqlite_url: str) -> None:
    """The service and the command line, say: no line is common to them, only the lock of the file."""
    limits = ConnectionLimits(acquire=30)
    async with bench(sqlite_url, limits) as one, bench(sqlite_url, limits) as two:
        await put(one.uow, user := new_user())

        async def change(uow: SqlUnitOfWork) -> None:
            async with uow.begin(SYSTEM) as tx:
                found = await tx.users.get(user.id)
                assert found is not None
                await asyncio.sleep(0.001)
                found.version += 1
                await tx.users.save(found)
                await tx.commit()

        assert await race(change(it.uow) for it in (one, two) for _ in range(15)) == [None] * 30
        found = await seen(one.uow, lambda tx: tx.users.get(user.id))
        assert found is not None
        assert found.version == 31


async def test_writers_of_one_process_wait_in_line_and_not_for_the_file(sqlite_url: str) -> None:
    async with bench(sqlite_url, ConnectionLimits(connections=3, acquire=30)) as it:
        assert await race(put(it.uow, new_user()) for _ in range(200)) == [None] * 200
        assert len(await seen(it.uow, lambda tx: page_of_users(tx, UserFilter(), None, 500))) == 200


@pytest.mark.parametrize("content", [b"not a database" * 100, None], ids=["garbage", "directory"])
async def test_a_file_that_is_not_a_database(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ubr.db"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    async with bench(f"sqlite:///{path}") as it:
        async with fails_in_time():
            await it.store.ping()
        async with fails_in_time():
            await put(it.uow, new_user())
        assert it.used == 0


async def test_a_disk_that_is_full(sqlite_url: str) -> None:
    full = False
    async with bench(sqlite_url, ConnectionLimits(connections=1)) as it:

        @event.listens_for(it.engine.sync_engine, "begin")
        def fill(connection: object) -> None:
            pages = 1 if full else 1_000_000  # SQLite takes the present size where that is more.
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")  # type: ignore[attr-defined]

        await put(it.uow, user := new_user())
        full = True

        async def write_much() -> None:
            await put(it.uow, *(new_user() for _ in range(200)))

        async with fails_in_time():
            await write_much()
        assert await seen(it.uow, lambda tx: page_of_users(tx, UserFilter(), None, 500)) == [user]
        full = False
        await write_much()


async def test_a_file_that_may_only_be_read(sqlite_url: str) -> None:
    async with bench(sqlite_url, ConnectionLimits(connections=1)) as it:
        await put(it.uow, user := new_user())

        @event.listens_for(it.engine.sync_engine, "begin")
        def protect(connection: object) -> None:
            connection.exec_driver_sql("PRAGMA query_only=ON")  # type: ignore[attr-defined]

        async with fails_in_time():
            await put(it.uow, new_user())
        assert await seen(it.uow, lambda tx: tx.users.get(user.id)) == user


async def test_an_answered_change_is_on_the_disk(sqlite_url: str, tmp_path: Path) -> None:
    engine = make_engine(sqlite_url)
    async with engine.connect() as connection:
        found = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar() for name in ("synchronous", "journal_mode")
        ]
    await engine.dispose()
    assert found == [2, "wal"]  # FULL


async def test_a_new_file_is_opened_by_many_at_once(tmp_path: Path) -> None:
    async def write(url: str, name: str) -> None:
        engine = make_engine(url, durable=False)
        try:
            async with engine.begin() as connection:
                await connection.exec_driver_sql(f"CREATE TABLE {name} (id INTEGER)")
        finally:
            await engine.dispose()

    for number in range(20):
        url = f"sqlite:///{tmp_path / f'{number}.db'}"
        assert await race(write(url, f"t{n}") for n in range(8)) == [None] * 8
