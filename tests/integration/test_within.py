"""Use cases in a transaction that the embedding program commits: all of it is there, or nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from tests.support.people import NO_LIMITS
from tests.support.plugin import NewDatabase
from ubr import (
    SYSTEM,
    Application,
    AssignRoleCommand,
    CreateRoleCommand,
    CreateUserCommand,
    DeleteUserCommand,
    GetUserCommand,
    HostedUseCases,
    ListLogsCommand,
    ListMailCommand,
    LogInCommand,
    NotCommitted,
    ReadEventsCommand,
    RegisterUserCommand,
    RevokeUserSessionsCommand,
    Settings,
    WrongConnection,
    connect,
    errors,
    events,
)
from ubr.adapters.sql.migrations import upgrade
from ubr.testing import TINY_HASHING, in_memory, log_in

pytestmark = pytest.mark.anyio

PASSWORD = "a long enough password"
KINDS = ["sqlite", "postgresql"]
ELSEWHERE = "another database than the one of ubr"


class Host:
    """A program with a table of its own in the database of ubr."""

    def __init__(self, engine: AsyncEngine, ubr: Application, url: str) -> None:
        self.engine = engine
        self.ubr = ubr
        self.url = url

    async def teams(self) -> set[str]:
        async with self.engine.connect() as connection:
            return set((await connection.execute(text("SELECT name FROM teams"))).scalars())

    async def emails(self) -> set[str]:
        prefix = "ubr." if self.postgresql else ""
        async with self.engine.connect() as connection:
            return set((await connection.execute(text(f"SELECT email FROM {prefix}users"))).scalars())  # noqa: S608

    async def entries(self) -> list[str]:
        return [entry.action for entry in (await self.ubr.list_logs(ListLogsCommand(limit=100), actor=SYSTEM)).items]

    @property
    def postgresql(self) -> bool:
        return self.engine.dialect.name == "postgresql"

    @property
    def dsn(self) -> str:
        return self.url.replace("postgresql+asyncpg:", "postgresql:")

    @asynccontextmanager
    async def asyncpg(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self.dsn)
        try:
            yield connection
        finally:
            await connection.close()


def engine_of(url: str, **options: Any) -> AsyncEngine:
    if url.startswith("postgresql"):
        return create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"), **options)
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"), **options)
    event.listen(engine.sync_engine, "connect", lambda connection, _: enforce(connection))
    return engine


def enforce(connection: Any) -> None:
    connection.execute("PRAGMA foreign_keys=ON")


def settings(url: str, **more: Any) -> Settings:
    return Settings.memory(
        database_url=url,
        migrate="check",
        public_url="https://ubr.example.org",
        secret_keys=(bytes(32),),
        login_rate_limit=NO_LIMITS,
        **{**TINY_HASHING, **more},
    )


@pytest.fixture
async def database_of(tmp_path: Path, new_database: NewDatabase) -> Callable[[str], Awaitable[str]]:
    async def url(kind: str) -> str:
        if kind == "postgresql":
            return new_database()
        file = f"sqlite:///{tmp_path / f'{uuid4().hex}.db'}"
        await upgrade(file)
        return file

    return url


@pytest.fixture(params=KINDS)
async def host(request: pytest.FixtureRequest, database_of: Callable[[str], Awaitable[str]]) -> AsyncIterator[Host]:
    url = await database_of(request.param)
    engine = engine_of(url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE teams (name text PRIMARY KEY)"))
    async with connect(settings(url)) as ubr:
        yield Host(engine, ubr, url)
    await engine.dispose()


@pytest.fixture
async def on_postgresql(database_of: Callable[[str], Awaitable[str]]) -> AsyncIterator[Host]:
    url = await database_of("postgresql")
    engine = engine_of(url)
    async with connect(settings(url)) as ubr:
        yield Host(engine, ubr, url)
    await engine.dispose()


async def add_team(connection: AsyncConnection | AsyncSession, name: str) -> None:
    await connection.execute(text("INSERT INTO teams VALUES (:name)"), {"name": name})


def member(name: str = "a") -> CreateUserCommand:
    return CreateUserCommand(email=f"{name}@example.org", password=PASSWORD)


async def test_the_hosts_row_and_the_act_and_its_entry_and_its_mail_are_there_after_the_commit(host: Host) -> None:
    async with host.engine.begin() as connection:
        await add_team(connection, "one")
        users = host.ubr.within(connection)
        made = await users.create_user(CreateUserCommand(email="a@example.org"), actor=SYSTEM)
        assert (await users.get_user(GetUserCommand(user_id=made.id), actor=SYSTEM)).email == "a@example.org"
        with pytest.raises(errors.UserNotFound):
            await host.ubr.get_user(GetUserCommand(user_id=made.id), actor=SYSTEM)
        assert (await host.ubr.list_mail(ListMailCommand(), actor=SYSTEM)).items == []
    await users.committed()
    assert await host.teams() == {"one"}
    assert (await host.ubr.get_user(GetUserCommand(user_id=made.id), actor=SYSTEM)).id == made.id
    assert len((await host.ubr.list_mail(ListMailCommand(), actor=SYSTEM)).items) == 1
    assert "user.created" in await host.entries()


async def test_nothing_is_there_after_a_roll_back(host: Host) -> None:
    async def fail() -> None:
        async with host.engine.begin() as connection:
            await host.ubr.within(connection).create_user(member(), actor=SYSTEM)
            await add_team(connection, "one")
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert (await host.teams(), await host.emails()) == (set(), set())
    assert "user.created" not in await host.entries()


async def test_a_session_of_sqlalchemy(host: Host) -> None:
    async with AsyncSession(host.engine) as session:
        users = host.ubr.within(session)
        await add_team(session, "one")
        await users.create_user(member(), actor=SYSTEM)
        await session.commit()
        await add_team(session, "two")
        await users.create_user(member("b"), actor=SYSTEM)
        await session.rollback()
        await users.create_user(member("c"), actor=SYSTEM)
        await session.commit()
    assert await host.teams() == {"one"}
    assert await host.emails() == {"a@example.org", "c@example.org"}


async def test_the_first_statement_of_a_transaction_may_be_a_call(host: Host) -> None:
    async with host.engine.connect() as connection:
        await host.ubr.within(connection).create_user(member(), actor=SYSTEM)
        await add_team(connection, "one")
        await connection.rollback()
        assert (await host.teams(), await host.emails()) == (set(), set())
        await host.ubr.within(connection).create_user(member("b"), actor=SYSTEM)
        await connection.commit()
    assert await host.emails() == {"b@example.org"}


async def test_a_failed_call_leaves_no_trace_and_the_transaction_goes_on(host: Host) -> None:
    async with host.engine.begin() as connection:
        users = host.ubr.within(connection)
        await users.create_user(member(), actor=SYSTEM)
        with pytest.raises(errors.EmailTaken):
            await users.create_user(member(), actor=SYSTEM)
        with pytest.raises(errors.UserNotFound):
            await users.assign_role(AssignRoleCommand(user_id=uuid4(), role="admin"), actor=SYSTEM)
        await add_team(connection, "one")
        await users.create_user(member("b"), actor=SYSTEM)
    assert (await host.teams(), await host.emails()) == ({"one"}, {"a@example.org", "b@example.org"})
    assert (await host.entries()).count("user.created") == 2


async def test_savepoints_of_the_host(host: Host) -> None:
    async with host.engine.begin() as connection:
        users = host.ubr.within(connection)
        made = await users.create_user(member(), actor=SYSTEM)
        nested = await connection.begin_nested()
        await users.revoke_user_sessions(RevokeUserSessionsCommand(user_id=made.id), actor=SYSTEM)
        await users.assign_role(AssignRoleCommand(user_id=made.id, role="admin"), actor=SYSTEM)
        await nested.rollback()
        async with connection.begin_nested():
            await users.create_user(member("b"), actor=SYSTEM)
            await users.assign_role(AssignRoleCommand(user_id=made.id, role="admin"), actor=SYSTEM)
    await users.committed()
    entries = await host.entries()
    assert (entries.count("user.created"), entries.count("role.assigned")) == (2, 1)


async def test_the_transaction_finds_the_hosts_tables_and_settings_again(on_postgresql: Host) -> None:
    async with on_postgresql.engine.begin() as connection:
        await connection.execute(text("CREATE SCHEMA theirs"))
        await connection.execute(text("CREATE TABLE theirs.users (email text)"))
        await connection.execute(text("CREATE TABLE theirs.feed_head (number int)"))
        await connection.execute(text("CREATE TEMPORARY TABLE roles (name text)"))
        await connection.execute(text("SET search_path TO theirs, public"))
        users = on_postgresql.ubr.within(connection)
        made = await users.create_user(member(), actor=SYSTEM)
        await connection.execute(text("INSERT INTO users VALUES ('theirs')"))
        with pytest.raises(errors.EmailTaken):
            await users.create_user(member(), actor=SYSTEM)
        # Its change record gets its number at the commit, which is the host's.
        await users.assign_role(AssignRoleCommand(user_id=made.id, role="admin"), actor=SYSTEM)
        assert (await connection.execute(text("SHOW search_path"))).scalar() == "theirs, public"
        assert list((await connection.execute(text("SELECT email FROM users"))).scalars()) == ["theirs"]
    await users.committed()
    assert await on_postgresql.emails() == {"a@example.org"}


async def test_a_connection_of_asyncpg(on_postgresql: Host) -> None:
    async with on_postgresql.asyncpg() as connection:
        with pytest.raises(WrongConnection, match="in no transaction"):
            await on_postgresql.ubr.within(connection).create_user(member(), actor=SYSTEM)
        async with connection.transaction():
            users = on_postgresql.ubr.within(connection)
            made = await users.create_user(member(), actor=SYSTEM)
            await users.assign_role(AssignRoleCommand(user_id=made.id, role="admin"), actor=SYSTEM)
        await users.committed()
        transaction = connection.transaction()
        await transaction.start()
        await users.create_user(member("b"), actor=SYSTEM)
        await transaction.rollback()
    pool = await asyncpg.create_pool(on_postgresql.dsn, min_size=1, max_size=1)
    async with pool, pool.acquire() as pooled, pooled.transaction():
        await on_postgresql.ubr.within(pooled).create_user(member("c"), actor=SYSTEM)
    assert await on_postgresql.emails() == {"a@example.org", "c@example.org"}
    with pytest.raises(WrongConnection, match="closed"):
        await on_postgresql.ubr.within(connection).create_user(member("d"), actor=SYSTEM)
    with pytest.raises(WrongConnection, match="closed"):
        await on_postgresql.ubr.within(pooled).create_user(member("d"), actor=SYSTEM)


# Revocations


async def logged_in(host: Host, name: str = "a") -> Any:
    made = await host.ubr.create_user(member(name), actor=SYSTEM)
    return await log_in(host.ubr, made.email, PASSWORD)


async def is_known(ubr: Application, actor: Any) -> bool:
    try:
        await ubr.get_me(actor=actor)
    except errors.InvalidToken:
        return False
    return True


async def test_a_revocation_is_known_after_the_commit_and_not_before(host: Host) -> None:
    actor = await logged_in(host)
    async with host.engine.begin() as connection:
        users = host.ubr.within(connection)
        await users.revoke_user_sessions(RevokeUserSessionsCommand(user_id=actor.user_id), actor=SYSTEM)
        with pytest.raises(NotCommitted):
            await users.committed()
        assert (await host.ubr.get_me(actor=actor)).id == actor.user_id
    await users.committed()
    with pytest.raises(errors.InvalidToken):
        await host.ubr.get_me(actor=actor)
    await users.committed()


async def test_a_revocation_that_was_rolled_back_never_happened(host: Host) -> None:
    actor = await logged_in(host)
    async with host.engine.connect() as connection:
        users = host.ubr.within(connection)
        await users.revoke_user_sessions(RevokeUserSessionsCommand(user_id=actor.user_id), actor=SYSTEM)
        await connection.rollback()
    with pytest.raises(NotCommitted):
        await users.committed()
    assert (await host.ubr.get_me(actor=actor)).id == actor.user_id


async def test_other_processes_know_a_revocation_when_committed_returns(host: Host) -> None:
    actor = await logged_in(host)
    async with connect(settings(host.url)) as other:
        assert (await other.get_me(actor=actor)).id == actor.user_id
        async with host.engine.begin() as connection:
            users = host.ubr.within(connection)
            await users.delete_user(DeleteUserCommand(user_id=actor.user_id), actor=SYSTEM)
        await users.committed()
        with pytest.raises(errors.InvalidToken):
            await other.get_me(actor=actor)


async def test_others_know_a_revocation_also_if_the_host_does_not_say_that_it_committed(host: Host) -> None:
    actor = await logged_in(host)
    async with connect(settings(host.url)) as other:
        await other.get_me(actor=actor)
        async with host.engine.begin() as connection:
            users = host.ubr.within(connection)
            await users.revoke_user_sessions(RevokeUserSessionsCommand(user_id=actor.user_id), actor=SYSTEM)
        async with asyncio.timeout(60):
            while await is_known(other, actor):  # noqa: ASYNC110 - what others poll
                await asyncio.sleep(0.01)


# Events


async def test_a_transaction_that_began_first_and_commits_last_is_the_last_event(on_postgresql: Host) -> None:
    async with connect(settings(on_postgresql.url)) as other:  # another process
        async with on_postgresql.engine.begin() as connection:
            await on_postgresql.ubr.within(connection).create_user(member("early"), actor=SYSTEM)
            late = await on_postgresql.ubr.create_user(member("late"), actor=SYSTEM)
            before = await other.read_events(ReadEventsCommand(actions=["user.created"]), actor=SYSTEM)
            assert [event.entry.target and event.entry.target.id for event in before.items] == [str(late.id)]
        command = ReadEventsCommand(after=before.position, actions=["user.created"])
        after = await other.read_events(command, actor=SYSTEM)
    assert len(after.items) == 1
    assert after.items[0].entry.timestamp < before.items[0].entry.timestamp


async def test_a_follower_sees_each_of_many_concurrent_transactions_once(host: Host) -> None:
    created: set[str] = set()

    async def transact(number: int) -> None:
        async with host.engine.connect() as connection:
            made = await host.ubr.within(connection).create_user(
                CreateUserCommand(email=f"{number}@example.org"), actor=SYSTEM
            )
            if number % 3:
                await connection.commit()
                created.add(str(made.id))

    async def writing() -> None:
        for first in range(0, 24, 4):
            some = range(first, first + 4)
            if host.postgresql:
                await asyncio.gather(*map(transact, some))
            else:  # it has one writer
                for number in some:
                    await transact(number)

    async with connect(settings(host.url)) as other:
        seen: list[str] = []
        work = asyncio.create_task(writing())
        async with asyncio.timeout(60):
            async for event in events.follow(other, actions=["user.created"], pause=0.01):
                assert event.entry.target is not None
                seen.append(event.entry.target.id)
                if len(seen) == 16:
                    break
        await work
        rest = await other.read_events(ReadEventsCommand(after=event.position, actions=["user.created"]), actor=SYSTEM)
    assert rest.items == []
    assert sorted(seen) == sorted(created)


# What cannot carry a call


async def test_a_repeatable_read_and_a_read_only_transaction_are_refused(on_postgresql: Host) -> None:
    for start, sentence in (
        ("BEGIN ISOLATION LEVEL REPEATABLE READ", "repeatable read"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", "serializable"),
        ("BEGIN READ ONLY", "read-only"),
        ("BEGIN; SET LOCAL session_replication_role TO replica", "triggers"),
    ):
        async with on_postgresql.asyncpg() as connection:
            await connection.execute(start)
            with pytest.raises(WrongConnection, match=sentence):
                await on_postgresql.ubr.within(connection).create_user(member(), actor=SYSTEM)
            await connection.fetchval("SELECT 1")  # the transaction can go on


async def test_a_failed_transaction_is_refused(on_postgresql: Host) -> None:
    async with on_postgresql.asyncpg() as connection:
        await connection.execute("BEGIN")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.execute("SELECT 1 / 0")
        with pytest.raises(WrongConnection, match="has failed"):
            await on_postgresql.ubr.within(connection).create_user(member(), actor=SYSTEM)


async def test_a_codec_of_the_host_is_refused(on_postgresql: Host) -> None:
    async with on_postgresql.asyncpg() as connection, connection.transaction():
        await connection.set_type_codec("jsonb", encoder=str, decoder=len, schema="pg_catalog")
        with pytest.raises(WrongConnection, match="codec"):
            await on_postgresql.ubr.within(connection).create_user(member(), actor=SYSTEM)


async def test_a_role_without_rights_is_told_so(on_postgresql: Host) -> None:
    role = f"poor_{uuid4().hex}"
    async with on_postgresql.asyncpg() as connection:
        await connection.execute(f"CREATE ROLE {role}")
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL ROLE {role}")
                with pytest.raises(WrongConnection, match=r"lacks a privilege|another database"):
                    await on_postgresql.ubr.within(connection).create_user(member(), actor=SYSTEM)
            async with connection.transaction():
                await connection.execute(f"GRANT USAGE ON SCHEMA ubr TO {role}; SET LOCAL ROLE {role}")
                with pytest.raises(WrongConnection, match="lacks a privilege"):
                    await on_postgresql.ubr.within(connection).create_user(member(), actor=SYSTEM)
        finally:
            await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("migrated", [True, False])
async def test_another_database_is_refused(
    host: Host, migrated: bool, tmp_path: Path, new_database: NewDatabase
) -> None:
    if host.postgresql:
        url = new_database(migrated=migrated)
    else:
        url = f"sqlite:///{tmp_path / 'other.db'}"
        if migrated:
            await upgrade(url)
    other = engine_of(url)
    async with other.connect() as connection:
        with pytest.raises(WrongConnection, match=ELSEWHERE):
            await host.ubr.within(connection).create_user(member(), actor=SYSTEM)
    await other.dispose()


async def test_another_kind_of_database_is_refused(host: Host, tmp_path: Path) -> None:
    other = engine_of(f"sqlite:///{tmp_path / 'x.db'}" if host.postgresql else "postgresql://nobody@localhost/x")
    connection = AsyncConnection(other)
    if host.postgresql:
        _ = await connection.start()
        with pytest.raises(WrongConnection, match="is one of sqlite by aiosqlite"):
            await host.ubr.within(connection).create_user(member(), actor=SYSTEM)
        await connection.close()
    with pytest.raises(WrongConnection, match="closed"):
        await host.ubr.within(connection).create_user(member(), actor=SYSTEM)
    await other.dispose()


@pytest.mark.parametrize("given", [None, "sqlite:///ubr.db", sqlite3.connect(":memory:")])
async def test_what_is_no_connection_is_refused_at_once(host: Host, given: object) -> None:
    with pytest.raises(WrongConnection, match="takes an AsyncConnection"):
        host.ubr.within(given)


async def test_autocommit_and_closed_connections_are_refused(host: Host) -> None:
    async with host.engine.connect() as connection:
        _ = await connection.execution_options(isolation_level="AUTOCOMMIT")
        with pytest.raises(WrongConnection, match="in no transaction, or in autocommit mode"):
            await host.ubr.within(connection).create_user(member(), actor=SYSTEM)
    with pytest.raises(WrongConnection, match="closed"):
        await host.ubr.within(connection).create_user(member(), actor=SYSTEM)
    assert await host.emails() == set()


async def test_sqlite_without_foreign_keys_is_refused(database_of: Callable[[str], Awaitable[str]]) -> None:
    url = await database_of("sqlite")
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    async with connect(settings(url)) as ubr, engine.connect() as connection:
        with pytest.raises(WrongConnection, match="foreign_keys"):
            await ubr.within(connection).create_user(member(), actor=SYSTEM)
    await engine.dispose()


async def test_two_calls_at_once_in_one_transaction_are_refused(host: Host) -> None:
    async with host.engine.begin() as connection:
        users = host.ubr.within(connection)
        made = await asyncio.gather(
            *(users.create_user(CreateUserCommand(email=f"{n}@example.org"), actor=SYSTEM) for n in range(3)),
            return_exceptions=True,
        )
        assert [type(each) for each in made].count(RuntimeError) == 2, made
    assert len(await host.emails()) == 1


# Errors and cancellation within a call


class CancelledAt:
    """Awaits a call, and cancels the task at the await with a certain number."""

    def __init__(self, call: Coroutine[Any, Any, object], at: int) -> None:
        self._call = call
        self._left = at

    def __await__(self) -> Generator[Any, Any, None]:
        task = asyncio.current_task()
        assert task is not None
        answer, error = None, None
        while True:
            try:
                waits_for = self._call.send(answer) if error is None else self._call.throw(error)
            except StopIteration:
                return
            answer, error = None, None
            self._left -= 1
            if self._left == 0:
                task.cancel()
            try:
                answer = yield waits_for
            except BaseException as thrown:  # noqa: BLE001 - it is passed on
                error = thrown


@pytest.mark.system
async def test_a_call_that_is_cancelled_at_any_await_leaves_no_part_that_the_host_could_commit(host: Host) -> None:
    for at in range(1, 200):
        committed = True
        async with host.engine.connect() as connection:
            users = host.ubr.within(connection)

            async def call(at: int = at, users: HostedUseCases = users) -> None:
                await CancelledAt(users.create_user(CreateUserCommand(email="a@example.org"), actor=SYSTEM), at)

            try:
                await asyncio.create_task(call())
            except asyncio.CancelledError:
                try:
                    await add_team(connection, f"{at}")
                    await connection.commit()
                except Exception:  # noqa: BLE001 - the connection may be closed
                    committed = False
            else:
                assert at > 10
                return
        assert (f"{at}" in await host.teams()) == committed
        whole = "user.created" in await host.entries()
        assert (await host.emails() == {"a@example.org"}) == whole, at
        if whole:  # the last await came after the end of the call's work
            assert at > 5
            return
    pytest.fail("the call has more awaits than this tried")


async def test_a_deadlock_surfaces_and_is_not_repeated(on_postgresql: Host) -> None:
    first, second = [await on_postgresql.ubr.create_user(member(name), actor=SYSTEM) for name in ("a", "b")]

    async def both(users: HostedUseCases, ids: list[UUID], begun: asyncio.Barrier) -> None:
        await users.delete_user(DeleteUserCommand(user_id=ids[0]), actor=SYSTEM)
        await begun.wait()
        await users.delete_user(DeleteUserCommand(user_id=ids[1]), actor=SYSTEM)

    async def host(ids: list[UUID], begun: asyncio.Barrier) -> None:
        async with on_postgresql.engine.begin() as connection:
            await both(on_postgresql.ubr.within(connection), ids, begun)

    begun = asyncio.Barrier(2)
    done = await asyncio.gather(
        host([first.id, second.id], begun), host([second.id, first.id], begun), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in done) == ["NoneType", "SqlTransactionConflict"], done
    assert await on_postgresql.emails() == set()


async def test_a_denial_is_recorded_although_the_host_rolls_back(host: Host) -> None:
    actor = await logged_in(host)
    async with connect(settings(host.url)) as ubr, host.engine.connect() as connection:
        await add_team(connection, "one")  # SQLite has one writer: the host
        with pytest.raises(errors.Forbidden):
            await ubr.within(connection).create_role(CreateRoleCommand(name="editor"), actor=actor)
        await connection.rollback()
    assert "act.refused" in await host.entries()


async def test_a_registration_by_a_stranger_in_the_hosts_transaction(host: Host) -> None:
    async with host.engine.begin() as connection:
        await add_team(connection, "one")
        users = host.ubr.within(connection)
        made = await users.register_user(RegisterUserCommand(email="a@example.org", password=PASSWORD))
        assert made is not None
    assert (await host.ubr.log_in(LogInCommand(email="a@example.org", password=PASSWORD))).access_token


async def test_in_memory_a_call_has_its_effect_at_once() -> None:
    async with in_memory() as (ubr, _):
        users = ubr.within(object())
        made = await users.create_user(member(), actor=SYSTEM)
        actor = await log_in(ubr, made.email, PASSWORD)
        await users.revoke_user_sessions(RevokeUserSessionsCommand(user_id=made.id), actor=SYSTEM)
        await users.committed()
        with pytest.raises(errors.InvalidToken):
            await ubr.get_me(actor=actor)
