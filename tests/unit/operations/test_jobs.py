"""What runs beside requests: it goes on whatever happens to it, and takes away only what is of no more use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Mapping
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from tests.support.feeds import PassedOn
from tests.support.people import World
from tests.support.values import replace
from ubr.adapters.memory import MemoryChangeFeed, MemoryStore
from ubr.adapters.memory.sessions import MemorySessions
from ubr.application.kernel.periodic import TOLERATED, Watched, repeat
from ubr.application.ports.revocation import WorkerId
from ubr.application.ports.sessions import ForgottenSessions
from ubr.application.revocation.worker_reaper import WorkerReaper
from ubr.bootstrap import open_environment
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import StoreUnavailable
from ubr.domain.ids import SessionId, TokenDigest, UserId
from ubr.domain.sessions.session import RefreshToken
from ubr.settings import Settings
from ubr.testing import MovableClock
from ubr.testing.memory import TINY_HASHING

ROW = 60.0


class Rows(PassedOn):
    """Workers that come, renew and go, and who counts them."""

    def __init__(self) -> None:
        super().__init__(MemoryChangeFeed(MemoryStore()))
        self.now = 0.0
        self.takes = 0.0
        """Seconds until an answer arrives."""
        self.reaper = WorkerReaper(self, lambda: self.now, ROW)

    async def workers(self) -> Mapping[WorkerId, Hashable]:
        found = await super().workers()
        self.now += self.takes
        return found

    async def left(self) -> set[WorkerId]:
        await self.reaper()
        return set(await self.inner.workers())


@pytest.fixture
def rows() -> Rows:
    return Rows()


def new_worker() -> WorkerId:
    return WorkerId(uuid4())


async def test_a_row_goes_when_it_was_not_renewed_for_a_minute_on_a_clock_of_ones_own(rows: Rows) -> None:
    dead, living = new_worker(), new_worker()
    for each in (dead, living):
        await rows.renew(each)
    rows.now = 1000.0
    assert await rows.left() == {dead, living}, "since when they have been there, nobody has seen"
    rows.now += ROW - 0.01
    await rows.renew(living)
    assert await rows.left() == {dead, living}
    rows.now += 0.01
    assert await rows.left() == {living}
    for _ in range(5):
        rows.now += ROW - 1
        await rows.renew(living)
        assert await rows.left() == {living}


async def test_who_comes_back_is_seen_anew(rows: Rows) -> None:
    worker = new_worker()
    await rows.renew(worker)
    await rows.left()
    rows.now += ROW - 1
    await rows.leave(worker)
    await rows.renew(worker)
    rows.now += 1
    assert await rows.left() == {worker}
    rows.now += ROW
    assert await rows.left() == set()


async def test_a_row_counts_from_when_it_was_seen_and_not_from_when_it_was_asked_for(rows: Rows) -> None:
    worker = new_worker()
    await rows.renew(worker)
    rows.takes = 30
    await rows.reaper()
    rows.now += ROW - 30
    assert await rows.left() == {worker}


async def test_a_job_continues_after_every_error_and_logs_it_once(caplog: pytest.LogCaptureFixture) -> None:
    rounds = iter([StoreUnavailable(), ValueError("one"), ValueError("two"), None, ValueError("three")])
    done = asyncio.Event()

    async def act() -> None:
        error = next(rounds, done)
        if error is done:
            done.set()
        elif error is not None:
            assert isinstance(error, Exception)
            raise error

    task = asyncio.create_task(repeat(act, 0))
    async with asyncio.timeout(10):
        await done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    told = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert told == ["one", "three"]


class Slow(StoreUnavailable):
    reason = "sqlstate 57014"


async def test_a_job_that_fails_again_and_again_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise Slow("The database took too long")

    async def succeed() -> None:
        pass

    watched = Watched("expired sessions")
    for _ in range(TOLERATED):
        assert not await watched(fail)
    assert caplog.messages == [], "a database that restarts is no news"
    for _ in range(12 - TOLERATED):
        assert not await watched(fail)
    assert caplog.messages == [
        f"Background job (expired sessions): {count} failures in a row, it will be retried: "
        "The database took too long (sqlstate 57014)"
        for count in (3, 6, 12)
    ]
    caplog.clear()
    assert await watched(succeed)
    assert caplog.messages == ["Background job (expired sessions): works again after 12 failures"]
    caplog.clear()
    for _ in range(TOLERATED):
        assert not await watched(fail)
    assert await watched(succeed)
    assert caplog.messages == [], "the count begins again"


class Failing(PassedOn):
    """A feed whose cleaning always takes too long."""

    async def forget(self, older: timedelta, limit: int) -> int:
        raise Slow("The database took too long")


async def test_a_step_of_the_janitor_that_fails_stops_no_other_step(caplog: pytest.LogCaptureFixture) -> None:
    clock = MovableClock()
    async with open_environment(Settings.memory(**TINY_HASHING), clock=clock) as environment:
        world = World(environment.application, clock)
        janitor = replace(environment.janitor, feed=Failing(environment.janitor.feed))
        member = await world.user()
        async with janitor.unit_of_work.begin(SYSTEM) as tx:
            await tx.known_clients.see(UserId(member.id), b"a client", tx.now)
            await tx.commit()
        clock.move(days=200)
        assert await janitor() == 1
        async with janitor.unit_of_work.begin(SYSTEM) as tx:
            assert await tx.known_clients.forget(tx.now, 10) == 0, "a later step has deleted it"
        for _ in range(TOLERATED):
            await janitor()
    [line] = caplog.messages
    assert line == (
        "Background job (Janitor, change records): 3 failures in a row, it will be retried: "
        "The database took too long (sqlstate 57014)"
    )


async def test_the_janitor_deletes_sessions_with_any_number_of_tokens() -> None:
    clock = MovableClock()
    async with open_environment(Settings.memory(**TINY_HASHING), clock=clock) as environment:
        world, uow = World(environment.application, clock), environment.janitor.unit_of_work
        member = await world.user()
        tokens = [
            RefreshToken(digest=TokenDigest(uuid4().bytes * 2), session_id=member.actor.session_id, issued_at=clock())
            for _ in range(9000)
        ]
        async with uow.begin(SYSTEM) as tx:
            for token in tokens:
                await tx.refresh_tokens.add(token)
            await tx.commit()
        clock.move(days=200)
        assert await environment.janitor() == 1
        async with uow.read() as tx:
            assert [token for token in tokens if await tx.refresh_tokens.get(token.digest) is not None] == []


async def test_each_batch_of_expired_sessions_begins_where_the_one_before_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the beginning, a database would walk over all that the earlier batches have deleted."""
    begun: list[datetime | None] = []
    forget = MemorySessions.forget

    async def noted(
        it: MemorySessions, expired_before: datetime, limit: int, *, reached: datetime | None = None
    ) -> ForgottenSessions:
        begun.append(reached)
        return await forget(it, expired_before, limit, reached=reached)

    monkeypatch.setattr(MemorySessions, "forget", noted)
    clock = MovableClock()
    async with open_environment(Settings.memory(**TINY_HASHING), clock=clock) as environment:
        world, uow = World(environment.application, clock), environment.janitor.unit_of_work
        member = await world.user()
        async with uow.begin(SYSTEM) as tx:
            session = await tx.sessions.get(member.actor.session_id)
            assert session is not None
            ends = [session.expires_at + timedelta(seconds=number) for number in range(1, 250)]
            for end in ends:
                await tx.sessions.add(replace(session, id=SessionId(uuid4()), expires_at=end))
            await tx.commit()
        clock.move(days=200)
        assert await environment.janitor() == 250
    assert begun == [None, ends[98], ends[198]]
