"""What a worker keeps of who is logged in, and when it lets go of it."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from tests.contracts.kit import NOON, MovableClock, new_grant, new_role, new_session, new_user, put
from tests.support.feeds import PassedOn
from tests.support.values import replace
from ubr.adapters.memory import MemoryChangeFeed, MemoryStore, MemoryUnitOfWork
from ubr.adapters.memory.unit_of_work import MemoryTransaction
from ubr.application.access import cached_sessions
from ubr.application.access.cached_sessions import CachedSessions
from ubr.application.access.session_cache import CacheTimes, SessionCache
from ubr.application.audit.recorder import Recorder
from ubr.application.ports.revocation import ChangeFeed, FeedPosition, FeedRead, WorkerId
from ubr.application.ports.unit_of_work import Repositories
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import StoreUnavailable
from ubr.domain.ids import SessionId
from ubr.domain.revocation.changes import Change, ChangeKind, ChangeRecord
from ubr.domain.roles.permissions import Permission, Permissions
from ubr.domain.sessions.session import Session
from ubr.domain.sessions.termination import SecurityEvent

TIMES = CacheTimes()


@dataclass
class CountedUnits:
    inner: MemoryUnitOfWork
    reads: int = 0

    def begin(self, actor: Actor | System | None) -> AbstractAsyncContextManager[MemoryTransaction]:
        return self.inner.begin(actor)

    def read(self) -> AbstractAsyncContextManager[MemoryTransaction]:
        return self.inner.read()

    def autocommit(self) -> AbstractAsyncContextManager[Repositories]:
        return self.inner.autocommit()

    @asynccontextmanager
    async def peek(self) -> AsyncIterator[MemoryTransaction]:
        self.reads += 1
        async with self.inner.read() as tx:
            yield tx


class SeenFeed(PassedOn):
    """A feed whose rows can be deleted, as a database's are, and of which it is seen how many are read."""

    def __init__(self, inner: ChangeFeed) -> None:
        super().__init__(inner)
        self.deleted = 0
        self.rows = 0
        self.going = asyncio.Event()
        self.going.set()

    async def read(self, since: int | None) -> FeedRead:
        await self.going.wait()
        found = await super().read(since)
        left = tuple(row for row in found.rows if row.number > self.deleted)
        self.rows += len(left)
        return replace(found, rows=left)


class Worker:
    def __init__(self) -> None:
        self.now = 1000.0
        self.store = MemoryStore()
        self.uow = CountedUnits(MemoryUnitOfWork(self.store, Recorder(uuid4, os.urandom), MovableClock()))
        self.feed = SeenFeed(MemoryChangeFeed(self.store))
        self.session_cache = SessionCache(WorkerId(uuid4()), self.uow, self.feed, lambda: self.now, TIMES)
        self.role = new_role()
        self.users = [new_user(grants=[new_grant(self.role)]) for _ in range(2)]
        self.sessions = [new_session(user) for user in self.users]

    @property
    def reads(self) -> int:
        """How often a unit read since this was asked before."""
        reads, self.uow.reads = self.uow.reads, 0
        return reads

    async def announce(self, *changes: Change) -> None:
        """As another worker does."""
        async with self.uow.begin(SYSTEM) as tx:
            for change in changes:
                tx.announce(change)
            await tx.commit()

    async def position(self) -> FeedPosition:
        async with self.uow.inner.read() as tx:
            return await tx.feed_position()

    async def ask_from(self, position: FeedPosition, session: Session) -> None:
        """A reading that began when the feed stood here."""

        @asynccontextmanager
        async def peek() -> AsyncIterator[MemoryTransaction]:
            async with self.uow.inner.read() as tx:
                positions = [position, await tx.feed_position()]
                tx.feed_position = lambda: asyncio.sleep(0, positions.pop(0))  # type: ignore[method-assign]
                yield tx

        self.uow.peek = peek  # type: ignore[method-assign]
        assert await self.session_cache.look_up(session.id) is not None
        del self.uow.peek

    async def ask(self, *sessions: Session) -> None:
        for session in sessions or self.sessions:
            assert await self.session_cache.principal(session.id) is not None


@pytest.fixture
async def worker() -> Worker:
    """One that knows two people."""
    made = Worker()
    await put(made.uow.inner, made.role, *made.users, *made.sessions)
    for _ in range(2):
        await made.ask()
    assert made.reads == 2
    return made


def elsewhere() -> Change:
    return Change("session", str(uuid4()))


async def test_what_changes_elsewhere_makes_it_forget_nothing(worker: Worker) -> None:
    await worker.announce(*(elsewhere() for _ in range(10)))
    await worker.session_cache.poll_feed()
    await worker.ask()
    assert worker.reads == 0


async def test_a_row_that_comes_again_and_again_is_looked_up_once(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message can be sent again by whoever captured it, before the feed was read and long after."""
    looked_up: list[Change] = []
    told: list[int] = []
    drop = SessionCache._drop  # noqa: SLF001 - what it does with a row

    def noted(session_cache: SessionCache, row: ChangeRecord) -> None:
        looked_up.append(row.change)
        drop(session_cache, row)

    monkeypatch.setattr(SessionCache, "_drop", noted)
    worker.session_cache.on_key(lambda: told.append(1))
    changes = [Change("role", str(worker.role.id)), Change("user", str(worker.users[0].id)), Change("key", "kid")]
    here = await worker.position()
    rows = [ChangeRecord(here.number + 1 + place, change) for place, change in enumerate(changes)]
    for _ in range(3):
        worker.session_cache.apply(here.epoch, rows)
    assert (looked_up, told) == (changes[:2], [1])
    await worker.announce(*changes)
    for _ in range(3):
        await worker.session_cache.poll_feed()
        worker.session_cache.apply(here.epoch, rows)
        worker.now += 2 * TIMES.horizon
    assert looked_up == changes[:2]
    later = [ChangeRecord(here.number + 100, change) for change in changes]
    worker.session_cache.apply(here.epoch, later)
    assert looked_up == 2 * changes[:2], "a later one about the same is another"


async def change_role(worker: Worker, **changes: Any) -> None:
    """As another worker does."""
    async with worker.uow.begin(SYSTEM) as tx:
        role = await tx.roles.get(worker.role.id)
        assert role is not None
        await tx.roles.save(replace(role, version=role.version + 1, **changes))
        tx.announce(Change("role", str(role.id)))
        await tx.commit()


async def descriptions(worker: Worker) -> list[str | None]:
    """The description of the role in the principal of each session."""
    held = [await worker.session_cache.principal(session.id) for session in worker.sessions]
    return [role.description for principal in held if principal is not None for role in principal.roles]


async def test_a_changed_role_is_read_once_for_all_its_sessions(worker: Worker) -> None:
    await change_role(worker, description="another")
    await worker.session_cache.poll_feed()
    assert await descriptions(worker) == ["another", "another"]
    assert worker.reads == 1


async def test_a_deleted_role_is_gone_from_every_session(worker: Worker) -> None:
    async with worker.uow.begin(SYSTEM) as tx:
        role = await tx.roles.get(worker.role.id)
        assert role is not None
        await tx.roles.remove(role)
        tx.announce(Change("role", str(role.id)))
        await tx.commit()
    await worker.session_cache.poll_feed()
    for _ in range(3):
        assert await descriptions(worker) == []
    assert worker.reads == len(worker.sessions)


async def role_of_another(worker: Worker) -> None:
    """A user loses the role, and then the role gets a permission. No moment has both the grant and the permission."""
    taken = worker.users[0]
    async with worker.uow.begin(SYSTEM) as tx:
        user = await tx.users.get(taken.id)
        assert user is not None
        del user.grants[worker.role.id]
        await tx.users.save(user)
        tx.announce(Change("user", str(user.id)))
        await tx.commit()
    await change_role(worker, permissions=Permissions.of([Permission("notes:delete")]))


async def may_delete(worker: Worker, session: Session) -> bool:
    held = await worker.session_cache.principal(session.id)
    assert held is not None
    return held.permissions_at(NOON).allow(Permission("notes:delete"))


async def test_a_role_read_beyond_the_cursor_is_not_combined_with_an_earlier_user(worker: Worker) -> None:
    """Nothing was polled since. A look-up for the other user finds the new version of the role."""
    await role_of_another(worker)
    await worker.session_cache.look_up(worker.sessions[1].id)
    assert [await may_delete(worker, session) for session in worker.sessions] == [False, True]


async def test_a_role_whose_reading_crossed_a_change_is_not_combined_with_an_earlier_user(worker: Worker) -> None:
    """The look-up began at the cursor, and its second statement reads a later state."""
    before = await worker.position()
    await role_of_another(worker)
    await worker.ask_from(before, worker.sessions[1])
    assert [await may_delete(worker, session) for session in worker.sessions] == [False, True]


async def test_a_user_whose_reading_crossed_a_change_is_not_combined_with_an_earlier_role(worker: Worker) -> None:
    """The role loses a permission, and then a user gets the role. The version before comes from a slow look-up."""
    await change_role(worker, permissions=Permissions.of([Permission("notes:delete")]))
    await worker.session_cache.poll_feed()
    await worker.ask()
    before = await worker.position()
    early = await worker.session_cache.principal(worker.sessions[0].id)
    assert early is not None
    await change_role(worker, permissions=Permissions())
    granted = new_user(grants=[new_grant(worker.role)])
    session = new_session(granted)
    await put(worker.uow.inner, granted, session)
    await worker.ask_from(before, session)
    worker.session_cache._keep(early, before.number, before.number, worker.now)  # noqa: SLF001 - the slow answer
    assert not await may_delete(worker, session)


async def test_an_older_version_of_a_role_does_not_replace_a_later_one(worker: Worker) -> None:
    """Two look-ups overlap a change, and the earlier one is answered last."""
    before = await worker.position()
    early = await worker.session_cache.principal(worker.sessions[0].id)
    assert early is not None
    await change_role(worker, description="another")
    await worker.session_cache.look_up(worker.sessions[1].id)
    worker.session_cache._keep(early, before.number, before.number, worker.now)  # noqa: SLF001 - the answer that comes last
    later = await worker.session_cache.principal(worker.sessions[1].id)
    assert later is not None
    assert [role.description for role in later.roles] == ["another"]
    await worker.session_cache.poll_feed()
    assert await descriptions(worker) == ["another", "another"]


# --- look-ups --------------------------------------------------------------------------------------------------------


async def test_look_ups_of_the_same_moment_share_a_query(worker: Worker) -> None:
    more = [new_session(user) for user in worker.users for _ in range(20)]
    await put(worker.uow.inner, *more)
    found = await asyncio.gather(*(worker.session_cache.principal(session.id) for session in more))
    assert [principal.session for principal in found if principal is not None] == more
    assert worker.reads == 1
    await worker.ask(*more)
    assert worker.reads == 0


async def test_a_later_call_is_not_answered_by_an_earlier_query(worker: Worker) -> None:
    """Its use case began when the query was running, and may be about what was committed meanwhile."""
    session = worker.sessions[0]
    peek, reading, going = worker.uow.peek, asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[MemoryTransaction]:
        async with peek() as tx:
            yield tx
        reading.set()
        await going.wait()

    worker.uow.peek = slow  # type: ignore[method-assign]
    early = asyncio.create_task(worker.session_cache.look_up(session.id))
    await reading.wait()
    async with worker.uow.begin(SYSTEM) as tx:
        stored = await tx.sessions.get(session.id)
        assert stored is not None
        stored.end(SecurityEvent.REVOKED, now=tx.now)
        await tx.sessions.save(stored)
        await tx.commit()
    late = asyncio.create_task(worker.session_cache.look_up(session.id))
    await asyncio.sleep(0)
    going.set()
    found = await late
    assert found is not None
    assert found.session.ended_at is not None
    await early
    assert worker.reads == 2


async def test_a_failed_query_is_the_error_of_every_caller(worker: Worker) -> None:
    @asynccontextmanager
    async def failing() -> AsyncIterator[MemoryTransaction]:
        raise StoreUnavailable
        yield  # type: ignore[unreachable]

    worker.uow.peek = failing  # type: ignore[method-assign]
    calls = [worker.session_cache.look_up(session.id) for session in worker.sessions]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable, StoreUnavailable]
    del worker.uow.peek
    assert await worker.session_cache.look_up(worker.sessions[0].id) is not None


async def test_a_call_is_answered_that_comes_in_the_moment_in_which_the_last_queries_end(worker: Worker) -> None:
    peek, reading, answered, ready = worker.uow.peek, asyncio.Event(), asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[MemoryTransaction]:
        async with peek() as tx:
            yield tx
        reading.set()
        await answered.wait()

    async def call() -> object:
        await ready.wait()
        return await worker.session_cache.look_up(worker.sessions[0].id)

    worker.uow.peek = slow  # type: ignore[method-assign]
    running = []
    for session in worker.sessions:
        running.append(asyncio.create_task(worker.session_cache.look_up(session.id)))
        await reading.wait()
        reading.clear()
    late = asyncio.create_task(call())
    await asyncio.sleep(0)
    answered.set()
    ready.set()
    await asyncio.gather(*running)
    async with asyncio.timeout(60):
        assert await late is not None


async def test_a_caller_that_is_cancelled_leaves_the_answer_to_others(worker: Worker) -> None:
    session = worker.sessions[0]
    first = asyncio.create_task(worker.session_cache.look_up(session.id))
    second = asyncio.create_task(worker.session_cache.look_up(session.id))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is not None
    assert first.cancelled()


# --- room ------------------------------------------------------------------------------------------------------------


async def cached(worker: Worker, capacity: int, sessions: int, *, unpacked: int) -> list[Session]:
    """The cache has this capacity, and there are so many sessions, of which it knows none."""
    entries = CachedSessions(capacity, TIMES.horizon, unpacked=unpacked)
    worker.session_cache._entries = entries  # noqa: SLF001 - its room
    more = [new_session(worker.users[place % 2]) for place in range(sessions)]
    await put(worker.uow.inner, *more)
    return more


async def test_a_packed_session_is_the_same_as_before(worker: Worker) -> None:
    more = await cached(worker, capacity=100, sessions=20, unpacked=2)
    first = [await worker.session_cache.principal(session.id) for session in more]
    assert len(worker.session_cache._entries) == 20  # noqa: SLF001 - what it keeps
    assert worker.reads == 20
    assert [await worker.session_cache.principal(session.id) for session in more] == first
    assert worker.reads == 0


@pytest.mark.parametrize("kind", ["session", "user"])
async def test_a_packed_session_is_dropped_by_a_change(worker: Worker, kind: ChangeKind) -> None:
    more = await cached(worker, capacity=100, sessions=20, unpacked=2)
    await worker.ask(*more)
    assert worker.reads == 20
    await worker.announce(Change(kind, str(more[0].id if kind == "session" else worker.users[0].id)))
    await worker.session_cache.poll_feed()
    await worker.ask(*more)
    assert worker.reads == (1 if kind == "session" else 10)


async def test_a_change_of_a_user_unpacks_each_of_the_sessions_once(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user may have 10,000 sessions, and nothing else runs while they are dropped."""
    more = await cached(worker, capacity=1000, sessions=200, unpacked=2)
    await worker.ask(*more)
    looked_at = 0
    unpack, names = cached_sessions._unpack, cached_sessions._names  # noqa: SLF001 - what a drop costs

    def unpacked(packed: bytes) -> cached_sessions.CachedSession:
        nonlocal looked_at
        looked_at += 1
        return unpack(packed)

    def named(ids: bytes) -> Sequence[bytes]:
        nonlocal looked_at
        looked_at += len(ids) // 16
        return names(ids)

    monkeypatch.setattr(cached_sessions, "_unpack", unpacked)
    monkeypatch.setattr(cached_sessions, "_names", named)
    await worker.announce(Change("user", str(worker.users[0].id)))
    await worker.session_cache.poll_feed()
    assert looked_at <= 3 * 100
    assert worker.session_cache.size == 100


async def test_a_changed_role_reaches_packed_sessions(worker: Worker) -> None:
    more = await cached(worker, capacity=100, sessions=20, unpacked=2)
    await worker.ask(*more)
    await change_role(worker, description="another")
    await worker.session_cache.poll_feed()
    worker.sessions = more
    assert worker.reads == 20
    assert set(await descriptions(worker)) == {"another"}
    assert worker.reads == 1


async def test_packed_sessions_are_nothing_that_the_garbage_collector_looks_at(worker: Worker) -> None:
    more = await cached(worker, capacity=1000, sessions=300, unpacked=2)
    await worker.ask(*more[:100])
    gc.collect()
    before = len(gc.get_objects())
    await worker.ask(*more[100:])
    gc.collect()
    assert len(gc.get_objects()) - before < 100


async def test_more_sessions_in_turn_than_there_is_room_for_are_found_in_part(worker: Worker) -> None:
    more = await cached(worker, capacity=50, sessions=60, unpacked=5)
    for _ in range(5):
        await worker.ask(*more)
    assert len(worker.session_cache._entries) == 50  # noqa: SLF001 - what it keeps
    assert worker.reads < 5 * 60 / 2
    entries = worker.session_cache._entries  # noqa: SLF001 - what it keeps
    entries.clear()
    for session in more:
        await worker.ask(session)
        entries.remove(session.id)
    assert not entries._of_user  # noqa: SLF001 - nothing is left behind


async def test_entries_that_are_too_old_give_way_to_new_ones(worker: Worker) -> None:
    more = await cached(worker, capacity=20, sessions=40, unpacked=2)
    await worker.ask(*more[:20])
    for _ in range(2):  # a cache that polled longer ago drops all entries
        worker.now += TIMES.horizon / 2 + 1
        await worker.session_cache.poll_feed()
    await worker.ask(*more[20:])
    assert worker.reads == 40
    await worker.ask(*more[20:])
    assert worker.reads < 5


async def test_earlier_knowledge_is_void_if_numbers_go_back(worker: Worker) -> None:
    """A dump was put back into the database, under the same name."""
    await worker.announce(elsewhere(), elsewhere())
    await worker.session_cache.poll_feed()
    del worker.store.feed[-2:]
    worker.store.workers.clear()
    await worker.session_cache.poll_feed()

    await worker.announce(Change("session", str(worker.sessions[0].id)))
    await worker.session_cache.poll_feed()

    await worker.ask()
    assert worker.reads == 2
    assert worker.session_cache.worker in worker.store.workers, "the lease stood in a table that is not there any more"


async def test_earlier_knowledge_is_void_if_rows_are_missing(worker: Worker) -> None:
    position = await worker.position()
    await worker.announce(Change("session", str(worker.sessions[0].id)), elsewhere())
    worker.feed.deleted = 1
    await worker.session_cache.poll_feed()
    await worker.ask_from(position, worker.sessions[0])  # which may be from before a row that nobody knows of
    await worker.ask()
    assert worker.reads == 2
    await worker.announce(elsewhere())
    await worker.session_cache.poll_feed()
    await worker.ask()
    assert worker.reads == 0


async def test_whoever_was_away_for_long_reads_no_row_and_keeps_nothing(worker: Worker) -> None:
    await worker.announce(*(elsewhere() for _ in range(100)))
    worker.now += TIMES.horizon + 1
    await worker.session_cache.poll_feed()
    assert worker.feed.rows == 0
    await worker.ask()
    assert worker.reads == 2
    await worker.announce(Change("session", str(worker.sessions[0].id)))
    await worker.session_cache.poll_feed()
    await worker.ask(worker.sessions[1])
    assert worker.reads == 0
    await worker.ask(worker.sessions[0])
    assert worker.reads == 1


async def test_a_session_that_is_gone_is_asked_for_once(worker: Worker) -> None:
    gone = SessionId(uuid4())
    for _ in range(5):
        assert await worker.session_cache.principal(gone) is None
    assert worker.reads == 1


async def test_of_gone_sessions_it_knows_only_so_many(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ubr.application.access.session_cache._GONE", 3)
    gone = [SessionId(uuid4()) for _ in range(5)]
    for session_id in gone:
        await worker.session_cache.principal(session_id)
    assert worker.reads == 5
    for session_id in gone[2:]:
        await worker.session_cache.principal(session_id)
    assert worker.reads == 0
    await worker.session_cache.principal(gone[0])
    assert worker.reads == 1


async def test_data_that_is_forgotten_early_is_read_again(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading that began before a row that is not known any more must not be kept: it may be from before it."""
    monkeypatch.setattr("ubr.application.access.session_cache._MAX_KNOWN", 3)
    session = worker.sessions[0]
    change = Change("session", str(session.id))
    position = await worker.position()

    await worker.announce(change, *(elsewhere() for _ in range(5)))
    await worker.session_cache.poll_feed()
    await worker.ask_from(position, session)
    await worker.ask(session)
    assert worker.reads == 1


async def test_a_role_is_held_once_however_many_have_it(worker: Worker) -> None:
    held = [await worker.session_cache.principal(session.id) for session in worker.sessions]
    assert len({id(role) for principal in held if principal is not None for role in principal.roles}) == 1


async def test_whoever_leaves_does_not_come_back_for_a_request_that_waits(worker: Worker) -> None:
    worker.feed.going.clear()
    worker.now += TIMES.lease + 1
    waiting = asyncio.create_task(worker.session_cache.ensure_fresh())
    await asyncio.sleep(0)
    leaving = asyncio.create_task(worker.session_cache.leave())
    await asyncio.sleep(0.01)
    worker.now += TIMES.lease + 1
    worker.feed.going.set()
    await leaving
    with pytest.raises(StoreUnavailable, match="The session cache is closed, because the service is shutting down"):
        await waiting
    assert worker.session_cache.worker not in worker.store.workers
