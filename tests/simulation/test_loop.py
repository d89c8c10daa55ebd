"""The loop that simulations run in keeps asyncio's promises."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.simulation.loop import SimulatedLoop, thread
from ubr.domain.errors import StoreUnavailable


def run(loop: SimulatedLoop, *works: Coroutine[Any, Any, None], until: float = 100) -> None:
    with loop.running():
        for number, work in enumerate(works):
            loop.spawn(f"w{number}:work", work)
        loop.run_ready()
        while (due := loop.next_moment) is not None and due <= until:
            loop.advance(due)


def finish(loop: SimulatedLoop) -> None:
    with loop.running():
        loop.finish()


def test_the_clock_moves_on_request() -> None:
    loop, seen = SimulatedLoop(), list[tuple[str, float]]()

    async def sleeps(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, loop.time()))

    run(loop, sleeps("late", 3600), sleeps("soon", 1), until=1e6)
    assert seen == [("soon", 1), ("late", 3600)]
    finish(loop)


def test_timeouts_locks_shields_and_waits_are_as_ever() -> None:
    loop, seen = SimulatedLoop(), list[str]()
    lock = asyncio.Lock()

    async def slow() -> None:
        async with lock:
            await asyncio.sleep(10)
            seen.append("slow ended")

    async def hasty() -> None:
        task = asyncio.create_task(slow())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await asyncio.shield(task)
        seen.append(f"gave up at {loop.time()}")
        await asyncio.wait([task])
        async with lock:
            seen.append(f"done at {loop.time()}")

    run(loop, hasty())
    assert seen == ["gave up at 3.0", "slow ended", "done at 10.0"]
    finish(loop)


def test_a_gate_opens_when_it_is_chosen_and_for_what() -> None:
    loop, seen = SimulatedLoop(), list[str]()

    async def asks(label: str) -> None:
        try:
            seen.append(f"{thread()} {label} {await loop.gate(label, 'fail', 'lost')}")
        except StoreUnavailable:
            seen.append(f"{thread()} {label} failed")

    with loop.running():
        for worker in "ABC":
            loop.spawn(f"{worker}:asks", asks("it"))
        loop.run_ready()
        first, second, third = loop.open_gates()
        loop.open(third)
        loop.open(first, "fail")
        loop.open(second, "lost")
    assert seen == ["C:asks it ", "A:asks it failed", "B:asks it lost"]
    finish(loop)


def test_a_worker_that_stands_still_misses_what_is_due_until_it_goes_on() -> None:
    loop, seen = SimulatedLoop(), list[tuple[str, float]]()

    async def sleeps(name: str) -> None:
        await asyncio.sleep(1)
        seen.append((name, loop.time()))

    with loop.running():
        loop.spawn("A:sleeps", sleeps("A"))
        loop.spawn("B:sleeps", sleeps("B"))
        loop.run_ready()
        loop.stopped.add("A")
        loop.advance(5)
        loop.stopped.clear()
        loop.advance(6)
    assert seen == [("B", 1), ("A", 5)]
    finish(loop)


def test_which_worker_runs_next_is_chosen_and_a_seed_repeats_it() -> None:
    def order(seed: int) -> list[str]:
        loop, seen = SimulatedLoop(random.Random(seed).choice), list[str]()  # noqa: S311 - no secret

        async def steps() -> None:
            for _ in range(3):
                seen.append(thread())
                await asyncio.sleep(0)

        with loop.running():
            for name in "ABC":
                loop.spawn(f"{name}:steps", steps())
            loop.run_ready()
        finish(loop)
        return seen

    orders = {tuple(order(seed)) for seed in range(50)}
    assert len(orders) > 20
    assert all(order(seed) == order(seed) for seed in range(10))


def test_what_nobody_heard_of_is_trouble() -> None:
    loop = SimulatedLoop()

    async def fails() -> None:
        raise ValueError("nobody waits for this")

    async def starts() -> None:
        asyncio.create_task(fails())  # noqa: RUF006 - so that nobody does
        await asyncio.sleep(1)

    run(loop, fails(), starts())
    assert ["nobody waits for this" in trouble for trouble in loop.troubles] == [True, True]
    finish(loop)
