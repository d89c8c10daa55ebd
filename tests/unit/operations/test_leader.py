"""One process does the background jobs, and another one when it is gone."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from ubr.adapters.memory import MemoryStore, MemoryUnitOfWork
from ubr.adapters.memory.faults import FaultyUnitOfWork, StoreFaults
from ubr.application.audit.recorder import Recorder
from ubr.application.operations.leader import LASTS, ROUND, Leader
from ubr.application.ports.revocation import WorkerId
from ubr.domain.errors import StoreUnavailable
from ubr.testing import MovableClock

pytestmark = pytest.mark.anyio


class Processes:
    """Processes on one store, on one clock, each with a job that counts its rounds."""

    def __init__(self) -> None:
        self._clock, self._store = MovableClock(), MemoryStore()
        self._start = self._clock()
        self.faults = StoreFaults()
        self.done: dict[str, int] = {}
        self._jobs: dict[str, Callable[[], Awaitable[object]]] = {}

    def leader(self, name: str, *, unreachable: bool = False) -> Leader:
        """A process. With `unreachable`, the faults are those of its store."""
        units = MemoryUnitOfWork(self._store, Recorder(uuid4, os.urandom), self._clock)
        leader = Leader(
            unit_of_work=FaultyUnitOfWork(units, self.faults) if unreachable else units,
            worker=WorkerId(uuid4()),
            elapsed=lambda: (self._clock() - self._start).total_seconds() + 1,
        )
        self.done[name] = 0

        async def job() -> None:
            self.done[name] += 1

        self._jobs[name] = leader.led(job)
        return leader

    def move(self, seconds: float) -> None:
        self._clock.move(seconds=seconds)

    async def work(self) -> dict[str, int]:
        """A round of the job in each process. Returns the rounds that were done so far, by process."""
        for job in self._jobs.values():
            await job()
        return self.done


@pytest.fixture
def processes() -> Processes:
    return Processes()


async def test_only_the_leader_does_the_jobs(processes: Processes) -> None:
    first, second = processes.leader("first"), processes.leader("second")
    assert await processes.work() == {"first": 0, "second": 0}
    for each in (first, second, first, second):
        await each()
    assert await processes.work() == {"first": 1, "second": 0}


async def test_a_leader_stays_leader_while_it_extends_its_lease(processes: Processes) -> None:
    first, second = processes.leader("first"), processes.leader("second")
    for number in range(20):
        await first()
        await second()
        assert await processes.work() == {"first": number + 1, "second": 0}
        processes.move(ROUND)


async def test_another_process_leads_within_the_bound_after_the_leader_is_gone(processes: Processes) -> None:
    first, second = processes.leader("first"), processes.leader("second")
    await first()
    waited = 0.0
    while not second.leads:
        processes.move(ROUND)
        waited += ROUND
        await second()
    assert waited <= LASTS.total_seconds() + ROUND
    assert await processes.work() == {"first": 0, "second": 1}
    await first()
    assert await processes.work() == {"first": 0, "second": 2}


async def test_a_leader_without_its_store_stops_before_another_begins(processes: Processes) -> None:
    first, second = processes.leader("first", unreachable=True), processes.leader("second")
    await first()
    with processes.faults.failing("unreachable"):
        for _ in range(int((LASTS.total_seconds() - 1) // ROUND)):
            processes.move(ROUND)
            with pytest.raises(StoreUnavailable):
                await first()
            await second()
            assert (first.leads, second.leads) == (True, False)
        processes.move(ROUND)
        assert not first.leads
        await second()
    assert (first.leads, second.leads) == (False, True)
    await first()
    assert (first.leads, second.leads) == (False, True)


async def test_a_leader_that_ends_gives_its_lease_back(processes: Processes) -> None:
    first, second = processes.leader("first"), processes.leader("second")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(first.running())
        await second()
        assert await processes.work() == {"first": 1, "second": 0}
    await second()
    assert await processes.work() == {"first": 1, "second": 1}


async def test_the_end_of_another_process_changes_no_lease(processes: Processes) -> None:
    first, second = processes.leader("first"), processes.leader("second")
    await first()
    async with second.running():
        pass
    third = processes.leader("third")
    await third()
    assert (first.leads, third.leads) == (True, False)
