"""The ChangeFeed port: in memory, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.contracts.conftest import LIMITS, Databases
from tests.contracts.kit import MovableClock, new_user
from tests.support.plugin import NewDatabase, PrivatePostgres
from ubr.adapters.memory import MemoryChangeFeed, MemoryStore, MemoryUnitOfWork
from ubr.adapters.sql import SqlUnitOfWork, make_engine
from ubr.adapters.sql.migrations import upgrade
from ubr.adapters.sql.revocation import SqlChangeFeed
from ubr.application.access.session_cache import CacheTimes, SessionCache
from ubr.application.audit.recorder import Recorder
from ubr.application.ports.revocation import ChangeFeed, WorkerId
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.revocation.propagation import PollingOnly, RevocationBarrier
from ubr.domain.accounts.user import User, UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.revocation.changes import Change, ChangeRecord

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Followed:
    """A store and its feed."""

    uow: UnitOfWork
    feed: ChangeFeed

    async def announce(self, *changes: Change) -> UUID:
        """Write a unit of these changes; its key."""
        async with self.uow.begin(SYSTEM) as tx:
            for change in changes:
                tx.announce(change)
            await tx.commit()
            assert tx.commit_id is not None
            return tx.commit_id

    async def rows(self, since: int = 0) -> tuple[ChangeRecord, ...]:
        return (await self.feed.read(since)).rows

    async def living(self) -> frozenset[WorkerId]:
        """The workers that a unit that commits now has to wait for."""
        return (await self.feed.committed_changes(await self.announce(session()))).workers


def session() -> Change:
    return Change("session", str(uuid4()))


def new_worker() -> WorkerId:
    return WorkerId(uuid4())


@asynccontextmanager
async def on_sql(url: str, clock: MovableClock | None) -> AsyncIterator[Followed]:
    engine = make_engine(url, LIMITS, durable=False)
    try:
        yield following(engine, clock)
    finally:
        await engine.dispose()


def following(engine: AsyncEngine, clock: MovableClock | None) -> Followed:
    return Followed(SqlUnitOfWork(engine, Recorder(uuid4, os.urandom), clock), SqlChangeFeed(engine, clock))


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def followed(request: pytest.FixtureRequest, clock: MovableClock, databases: Databases) -> Followed:
    if request.param == "memory":
        store = MemoryStore()
        uow = MemoryUnitOfWork(store, Recorder(uuid4, os.urandom), clock)
        return Followed(uow, MemoryChangeFeed(store))
    return following(await databases.empty(request.param), clock)


@pytest.fixture
async def postgres(databases: Databases) -> Followed:
    """As in production: the clock is the server's."""
    return following(await databases.empty("postgresql"), None)


# --- numbers ---------------------------------------------------------------------------------------------------------


async def test_an_empty_feed_stands_at_its_beginning(followed: Followed) -> None:
    read = await followed.feed.read(0)

    assert read.position.number == 0
    assert read.position.epoch
    assert read.rows == ()


async def test_rows_are_numbered_one_by_one_in_the_order_of_the_commits(followed: Followed) -> None:
    changes = [session(), Change("user", "1"), Change("role", "2"), Change("key", "3"), session(), session()]
    await followed.announce(*changes[:1])
    await followed.announce(*changes[1:5])
    await followed.announce(*changes[5:])

    read = await followed.feed.read(0)

    assert read.rows == tuple(ChangeRecord(number, change) for number, change in enumerate(changes, 1))
    assert read.position.number == len(changes)
    for since in range(len(changes) + 1):
        assert await followed.rows(since) == read.rows[since:]
    assert await followed.rows(99) == ()


async def test_a_read_of_the_position_returns_no_rows(followed: Followed) -> None:
    await followed.announce(session(), session())

    read = await followed.feed.read(None)

    assert read.rows == ()
    assert read.position == (await followed.feed.read(0)).position


async def test_a_change_that_is_said_twice_in_a_unit_is_one_row(followed: Followed) -> None:
    change = session()
    await followed.announce(change, session(), change)
    await followed.announce(change)

    assert [row.number for row in await followed.rows() if row.change == change] == [1, 3]


async def test_a_unit_that_is_rolled_back_writes_nothing_and_takes_no_number(followed: Followed) -> None:
    async with followed.uow.begin(SYSTEM) as tx:
        tx.announce(session())
    with suppress(ZeroDivisionError):
        async with followed.uow.begin(SYSTEM) as tx:
            tx.announce(session())
            raise ZeroDivisionError
    assert await followed.rows() == ()

    change = session()
    await followed.announce(change)

    assert await followed.rows() == (ChangeRecord(1, change),)


async def test_a_unit_without_a_change_has_no_rows(followed: Followed) -> None:
    async with followed.uow.begin(SYSTEM) as tx:
        await tx.commit()

    assert tx.commit_id is None
    assert tx.must_propagate is False
    assert (await followed.feed.read(0)).position.number == 0


async def test_a_unit_sees_where_the_feed_stood(followed: Followed) -> None:
    await followed.announce(session(), session())

    async with followed.uow.read() as tx:
        assert await tx.feed_position() == (await followed.feed.read(0)).position


async def test_what_is_stored_announces_itself(followed: Followed) -> None:
    user = new_user()
    async with followed.uow.begin(SYSTEM) as tx:
        await tx.users.add(user)
        await tx.commit()
    before = (await followed.feed.read(0)).position.number
    async with followed.uow.begin(SYSTEM) as tx:
        found = await tx.users.get(user.id)
        assert found is not None
        found.update(email=found.email, full_name=None, status=UserStatus.DISABLED, now=tx.now)
        await tx.users.save(found)
        await tx.commit()

    assert Change("user", str(user.id)) in [row.change for row in await followed.rows(before)]
    assert tx.must_propagate is True


# --- what a number says ----------------------------------------------------------------------------------------------


async def test_of_many_units_at_once_none_is_skipped_by_who_follows(followed: Followed) -> None:
    """Had a row ever come to light under one that was seen already, a follower would have passed it by."""
    units = 50
    writing = asyncio.gather(*(followed.announce(*(session() for _ in range(1 + unit % 3))) for unit in range(units)))
    seen: list[ChangeRecord] = []
    while not (writing.done() and len(seen) == sum(1 + unit % 3 for unit in range(units))):
        read = await followed.feed.read(len(seen))
        seen += read.rows
        assert [row.number for row in seen] == list(range(1, len(seen) + 1))
        assert read.position.number == len(seen)
        await asyncio.sleep(0)  # in memory nothing else waits
    commits = await writing

    for commit_id in commits:  # The rows of one unit stand side by side.
        rows = (await followed.feed.committed_changes(commit_id)).rows
        assert rows == tuple(seen[rows[0].number - 1 : rows[-1].number])


async def test_a_reader_of_a_number_sees_every_earlier_commit(followed: Followed) -> None:
    users: dict[str, User] = {}

    async def write() -> None:
        for _ in range(20):
            user = new_user()
            users[str(user.id)] = user
            async with followed.uow.begin(SYSTEM) as tx:
                await tx.users.add(user)
                tx.announce(Change("user", str(user.id)))
                await tx.commit()
            await asyncio.sleep(0)

    writing = asyncio.gather(*(write() for _ in range(5)))
    looks = 0
    while not writing.done():
        async with followed.uow.read() as tx:
            position = await tx.feed_position()
            under = [row for row in await followed.rows() if row.number <= position.number]
            assert len(under) == position.number
            for row in under[-5:]:
                assert await tx.users.get(users[row.change.id].id) is not None
        looks += 1
        await asyncio.sleep(0)
    await writing
    assert looks > 1


async def test_a_unit_that_wrote_first_and_committed_later_has_the_later_number(postgres: Followed) -> None:
    first, second = session(), session()
    async with AsyncExitStack() as stack:
        earlier = await stack.enter_async_context(postgres.uow.begin(SYSTEM))
        await earlier.users.add(new_user())
        earlier.announce(first)
        async with postgres.uow.begin(SYSTEM) as later:
            await later.users.add(new_user())
            later.announce(second)
            await later.commit()
        assert await postgres.rows() == (ChangeRecord(1, second),)
        await earlier.commit()

    assert await postgres.rows() == (ChangeRecord(1, second), ChangeRecord(2, first))


async def test_a_row_that_was_inserted_first_waits_for_its_number_until_the_commit(
    new_database: NewDatabase,
) -> None:
    """The same between two bare connections, statement by statement."""
    url = new_database().replace("+asyncpg", "").partition("?")[0]
    insert = "INSERT INTO feed (batch, ordinal, kind, thing, at) VALUES ($1, 0, 'session', $2, now())"
    early, late = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(2)]
    try:
        slow = early.transaction()
        await slow.start()
        await early.execute(insert, uuid4(), "early")
        async with late.transaction():
            await late.execute(insert, uuid4(), "late")
        assert await late.fetchval("SELECT number FROM feed_head") == 1
        await slow.commit()
        rows = await late.fetch("SELECT thing, number FROM feed ORDER BY number")
        assert [tuple(row) for row in rows] == [("late", 1), ("early", 2)]
    finally:
        await early.close()
        await late.close()


# --- workers ---------------------------------------------------------------------------------------------------------


async def test_what_a_unit_wrote_is_announced_with_exactly_the_workers_that_have_a_row(followed: Followed) -> None:
    one, other, gone = new_worker(), new_worker(), new_worker()
    for worker in (one, other, gone):
        await followed.feed.renew(worker)
    await followed.feed.leave(gone)
    changes = [session(), session()]
    commit_id = await followed.announce(*changes)
    await followed.announce(session())

    announced = await followed.feed.committed_changes(commit_id)

    assert announced.rows == tuple(ChangeRecord(number, change) for number, change in enumerate(changes, 1))
    assert announced.epoch == (await followed.feed.read(0)).position.epoch
    assert announced.workers == {one, other}


async def test_the_latest_record_about_a_target_comes_with_every_worker(followed: Followed) -> None:
    one, other = Change("user", "one"), Change("user", "other")
    worker = WorkerId(uuid4())
    await followed.feed.renew(worker)
    for change in (one, other, one, Change("role", "one")):
        async with followed.uow.begin(SYSTEM) as tx:
            tx.announce(change)
            await tx.commit()
    found = await followed.feed.latest_change(one)
    assert [(row.number, row.change) for row in found.rows] == [(3, one)]
    assert worker in found.workers
    assert (await followed.feed.latest_change(Change("user", "nobody"))).rows == ()


async def test_a_change_that_is_only_said_beside_others_is_not_said_alone(followed: Followed) -> None:
    one, other = Change("user", "one"), Change("user", "other")
    async with followed.uow.begin(SYSTEM) as tx:
        tx.announce(one, alone=False)
        await tx.commit()
    assert tx.commit_id is None
    async with followed.uow.begin(SYSTEM) as tx:
        tx.announce(one, alone=False)
        tx.announce(other)
        await tx.commit()
    assert {row.change for row in (await followed.feed.read(0)).rows} == {one, other}


@pytest.mark.parametrize("step", [DAY, -DAY, timedelta(0)], ids=["ahead", "back", "not at all"])
async def test_a_clock_that_is_set_makes_no_worker_look_dead(
    followed: Followed, clock: MovableClock, step: timedelta
) -> None:
    worker = new_worker()
    await followed.feed.renew(worker)
    clock.move(step)
    assert await followed.living() == {worker}


async def test_each_renewal_is_seen_as_another_one(followed: Followed) -> None:
    """Though the clock stands still, and though the worker has been away in between."""
    worker, other = new_worker(), new_worker()
    await followed.feed.renew(other)
    seen = set()
    for _ in range(3):
        await followed.feed.renew(worker)
        seen.add((await followed.feed.workers())[worker])
        await followed.feed.renew(worker)
        seen.add((await followed.feed.workers())[worker])
        await followed.feed.leave(worker)
    assert len(seen) == 6
    assert set(await followed.feed.workers()) == {other}


async def test_a_worker_that_renewed_is_not_removed(followed: Followed) -> None:
    worker, other = new_worker(), new_worker()
    for each in (worker, other):
        await followed.feed.renew(each)
    seen = (await followed.feed.workers())[worker]
    await followed.feed.renew(worker)
    await followed.feed.remove_worker(worker, seen)
    assert await followed.living() == {worker, other}

    for _ in range(2):
        await followed.feed.remove_worker(worker, (await followed.feed.workers()).get(worker, seen))
    assert await followed.living() == {other}


async def test_a_worker_can_leave_twice_and_come_back(followed: Followed) -> None:
    worker = new_worker()
    await followed.feed.leave(worker)
    await followed.feed.renew(worker)
    await followed.feed.leave(worker)
    await followed.feed.leave(worker)
    assert await followed.living() == set()

    await followed.feed.renew(worker)

    assert await followed.living() == {worker}


async def test_many_workers_renew_and_leave_at_once(followed: Followed) -> None:
    staying, leaving = [new_worker() for _ in range(20)], [new_worker() for _ in range(20)]
    await asyncio.gather(*(followed.feed.renew(worker) for worker in staying * 2 + leaving))
    await asyncio.gather(*(followed.feed.leave(worker) for worker in leaving))

    assert await followed.living() == set(staying)


# --- what is old -----------------------------------------------------------------------------------------------------


async def test_old_records_are_deleted_and_numbers_continue(followed: Followed, clock: MovableClock) -> None:
    await followed.announce(session())
    clock.move(DAY)
    kept = session()
    await followed.announce(kept)

    clock.move(timedelta(microseconds=1))
    for _ in range(2):
        await followed.feed.forget(DAY, 10)

    assert await followed.rows(1) == (ChangeRecord(2, kept),)
    await followed.announce(session())
    assert [row.number for row in await followed.rows(2)] == [3]


async def test_a_database_throws_old_rows_away_a_few_at_a_time(postgres: Followed) -> None:
    await postgres.announce(session(), session())
    await postgres.announce(*(session() for _ in range(5)))

    assert [await postgres.feed.forget(timedelta(0), 3) for _ in range(4)] == [3, 3, 1, 0]

    read = await postgres.feed.read(0)
    assert read.rows == ()
    assert read.position.number == 7


# --- the epoch -------------------------------------------------------------------------------------------------------


async def test_the_epoch_stays_while_nothing_happens_to_the_store(followed: Followed) -> None:
    epochs = set()
    for _ in range(3):
        commit_id = await followed.announce(session())
        epochs.add((await followed.feed.read(None)).position.epoch)
        epochs.add((await followed.feed.committed_changes(commit_id)).epoch)
        async with followed.uow.read() as tx:
            epochs.add((await tx.feed_position()).epoch)
    assert len(epochs) == 1


async def test_a_dump_that_is_put_back_into_a_server_that_runs_is_another_epoch(new_database: NewDatabase) -> None:
    url = new_database()
    async with on_sql(url, None) as followed:
        before = (await followed.feed.read(None)).position
        await followed.announce(session())
        connection = await asyncpg.connect(url.replace("+asyncpg", "").partition("?")[0], statement_cache_size=0)
        try:
            rows = await connection.fetch("SELECT * FROM feed_head")
            async with connection.transaction():
                await connection.execute("TRUNCATE feed, feed_head")
                await connection.copy_records_to_table("feed_head", records=[tuple(row) for row in rows])
        finally:
            await connection.close()
        after = (await followed.feed.read(None)).position
    assert after.epoch != before.epoch


async def test_how_a_session_writes_times_is_no_part_of_the_epoch(new_database: NewDatabase) -> None:
    url = new_database()
    epochs = set()
    for style in ("ISO", "German", "SQL, DMY"):
        async with on_sql(url, None) as followed:
            epochs.add((await followed.feed.read(None)).position.epoch)
        connection = await asyncpg.connect(url.replace("+asyncpg", "").partition("?")[0], statement_cache_size=0)
        try:
            await connection.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} SET datestyle = '{style}'")
        finally:
            await connection.close()
    assert len(epochs) == 1


async def test_two_databases_never_have_one_epoch(tmp_path: Path) -> None:
    epochs = set()
    for name in "ab":
        url = f"sqlite:///{tmp_path / name}.db"
        await upgrade(url)
        async with on_sql(url, MovableClock()) as followed:
            epochs.add((await followed.feed.read(None)).position.epoch)
    assert len(epochs) == 2


async def test_a_restarted_server_is_another_epoch_and_remembers_who_renewed(private_postgres: PrivatePostgres) -> None:
    """Killed, with commits that the installation does not wait for: a lease is on the disk before it counts."""
    settings = {"synchronous_commit": "off", "wal_writer_delay": "10s"}
    server = await asyncio.to_thread(private_postgres, durable=True, settings=settings)
    url = await asyncio.to_thread(server.create_database, "ubr")
    await upgrade(url)
    worker = new_worker()
    async with on_sql(url, None) as followed:
        before = (await followed.feed.read(None)).position
        await followed.feed.renew(worker)
        await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.restart)
    async with on_sql(url, None) as followed:
        after = (await followed.feed.read(None)).position
        assert after.epoch != before.epoch
        assert await followed.living() == {worker}


# --- both together ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [2, pytest.param(100, marks=pytest.mark.long)])
async def test_50_units_at_once_are_each_known_to_every_view_when_they_are_answered(
    postgres: Followed, rounds: int
) -> None:
    loop = asyncio.get_running_loop()
    times = CacheTimes(bound=0.5)
    views = [SessionCache(new_worker(), postgres.uow, postgres.feed, loop.time, times) for _ in range(3)]
    for session_cache in views:
        await session_cache.ensure_fresh()
    barrier = RevocationBarrier(views[0], postgres.feed, PollingOnly(), loop.time)

    async def revoke() -> int:
        commit_id = await postgres.announce(session())
        await barrier(commit_id, must_propagate=True)
        number = (await postgres.feed.committed_changes(commit_id)).rows[0].number
        for session_cache in views:
            await session_cache.ensure_fresh()
            cursor = session_cache._cursor  # noqa: SLF001 - how far it has read is what this is about
            assert cursor is not None
            assert cursor >= number
        return number

    for turn in range(rounds):
        numbers = await asyncio.gather(*(revoke() for _ in range(50)))
        assert sorted(numbers) == list(range(50 * turn + 1, 50 * turn + 51))
