"""What a worker keeps of who is logged in, and when it lets go of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import uuid4

import pytest

from tests.contracts.kit import MovableClock, new_grant, new_role, new_session, new_user, put
from tests.support.feeds import PassedOn
from ubr.adapters.memory import MemoryChangeFeed, MemoryStore, MemoryUnitOfWork
from ubr.adapters.memory.unit_of_work import MemoryTransaction
from ubr.application.access.cached_sessions import CachedSession, CachedSessions
from ubr.application.access.session_cache import CacheTimes, SessionCache
from ubr.application.audit.recorder import Recorder
from ubr.application.ports.revocation import ChangeFeed, FeedPosition, FeedRead, WorkerId
from ubr.application.ports.sessions import Principal
from ubr.application.ports.unit_of_work import Repositories
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import StoreUnavailable
from ubr.domain.ids import SessionId
from ubr.domain.revocation.changes import Change, ChangeRecord
from ubr.domain.sessions.session import Session

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
                tx.feed_position = lambda: asyncio.sleep(0, position)  # type: ignore[method-assign]
                yield tx

        self.uow.peek = peek  # type: ignore[method-assign]
        await self.ask(session)
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
    about = CachedSessions.about

    def noted(entries: CachedSessions, change: Change) -> Sequence[SessionId]:
        looked_up.append(change)
        return about(entries, change)

    monkeypatch.setattr(CachedSessions, "about", noted)
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


async def test_sessions_are_found_by_their_roles(worker: Worker) -> None:
    other = new_role()
    user = new_user(grants=[new_grant(other), new_grant(worker.role)])
    session = new_session(user)
    await put(worker.uow.inner, other, user, session)
    await worker.ask(session)
    entries = worker.session_cache._entries  # noqa: SLF001 - what it keeps
    everybody = {each.id for each in (*worker.sessions, session)}
    assert set(entries.about(Change("role", str(worker.role.id)))) == everybody
    assert set(entries.about(Change("role", str(other.id)))) == {session.id}
    assert entries.about(Change("role", "nothing")) == ()
    del entries[session.id]
    assert set(entries.about(Change("role", str(worker.role.id)))) == everybody - {session.id}
    assert not entries.about(Change("role", str(other.id)))
    entries.clear()
    assert not entries.about(Change("role", str(worker.role.id)))
    assert not entries._of_role  # noqa: SLF001 - nothing is left behind


class Looked:
    """An entry that counts how often somebody looks at it."""

    def __init__(self, inner: CachedSession) -> None:
        self._inner = inner
        self.times = 0

    @property
    def principal(self) -> Principal:
        self.times += 1
        return self._inner.principal


async def test_no_entry_is_looked_at_to_find_the_sessions_of_a_role(worker: Worker) -> None:
    entries = worker.session_cache._entries  # noqa: SLF001 - what it keeps
    looked = {session.id: Looked(entries[session.id]) for session in worker.sessions}
    for session_id, entry in looked.items():
        entries[session_id] = cast("Any", entry)
        entry.times = 0
    assert set(entries.about(Change("role", str(worker.role.id)))) == set(looked)
    assert not entries.about(Change("role", str(uuid4())))
    assert [entry.times for entry in looked.values()] == [0, 0]


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

    async with worker.uow.begin(SYSTEM) as tx:
        role = await tx.roles.get(worker.role.id)
        assert role is not None
        await tx.roles.save(replace(role, description="another"))
        tx.announce(Change("role", str(role.id)))
        await tx.commit()
    await worker.session_cache.poll_feed()
    held = [await worker.session_cache.principal(session.id) for session in worker.sessions]
    found = {id(role): role for principal in held if principal is not None for role in principal.roles}
    assert [role.description for role in found.values()] == ["another"]


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
    with pytest.raises(StoreUnavailable):
        await waiting
    assert worker.session_cache.worker not in worker.store.workers
