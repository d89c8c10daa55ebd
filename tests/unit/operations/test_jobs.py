"""What runs beside requests: it goes on whatever happens to it, and takes away only what is of no more use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Mapping
from uuid import uuid4

import pytest

from tests.support.feeds import PassedOn
from ubr.adapters.memory import MemoryChangeFeed, MemoryStore
from ubr.application.kernel.periodic import repeat
from ubr.application.ports.revocation import WorkerId
from ubr.application.revocation.worker_reaper import WorkerReaper
from ubr.domain.errors import StoreUnavailable

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
