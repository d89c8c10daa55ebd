"""The RateLimitStore port: in memory, in Redis and in SQL alike."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from tests.contracts.conftest import Databases
from ubr.adapters.memory.rate_limit_store import MemoryRateLimitStore
from ubr.adapters.redis import RedisClient, RedisRateLimitStore
from ubr.adapters.security.secrets import HmacSigner, SecretKeys
from ubr.adapters.sql import SqlUnitOfWork
from ubr.adapters.sql.rate_limit_store import SqlRateLimitStore
from ubr.application.audit.recorder import Recorder
from ubr.application.ports.protection import Decision, Quota, RateLimitStore

QUOTA = Quota(limit=10, per=timedelta(hours=1))
INTERVAL = timedelta(minutes=6)


class Time(Protocol):
    async def move(self, by: timedelta) -> None:
        """Let time pass for every counter."""


@dataclass(frozen=True)
class Bench:
    """A store to try, another instance on the same store, their time, and how exactly it can be told."""

    one: RateLimitStore
    other: RateLimitStore
    time: Time
    slack: timedelta
    rounds: int = 5
    """How much is tried: less where each try is a transaction."""


class MemoryTime:
    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    async def move(self, by: timedelta) -> None:
        self.now += by


class RedisTime:
    """The server's clock cannot be moved, so all that is kept is moved the other way."""

    def __init__(self, client: Redis, prefix: str) -> None:
        self.client = client
        self.prefix = prefix

    async def move(self, by: timedelta) -> None:
        async for key in self.client.scan_iter(match=f"{self.prefix}*"):
            value = await self.client.get(key)
            if value is not None:
                moved = int(value) - by // timedelta(microseconds=1)
                await self.client.set(key, moved, keepttl=True)


@pytest.fixture(params=["memory", "redis", "sqlite", "postgresql"])
async def bench(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[Bench]:
    if request.param in {"sqlite", "postgresql"}:
        yield await in_sql(databases, request.param)
        return
    if request.param == "memory":
        clock = MemoryTime()
        rate_limit_store = MemoryRateLimitStore(clock)
        yield Bench(rate_limit_store, rate_limit_store, clock, timedelta(microseconds=1))
        return
    url: str = request.getfixturevalue("clean_redis_url")
    prefix: str = request.getfixturevalue("redis_prefix")
    signer = HmacSigner(SecretKeys([b"k" * 32]))
    # What is counted is looked at here, not how fast: the deadline is none.
    links = [RedisClient(url, name_space=prefix, deadline=30, connect_deadline=30) for _ in range(2)]
    async with Redis.from_url(url) as client:
        one, other = (RedisRateLimitStore(link, signer) for link in links)
        yield Bench(one, other, RedisTime(client, prefix), timedelta(seconds=30))
    for link in links:
        await link.close()


async def in_sql(databases: Databases, kind: str) -> Bench:
    """Two instances on one database."""
    time = MemoryTime()
    signer = HmacSigner(SecretKeys([b"k" * 32]))
    engines = [await databases.empty(kind), databases.another(kind)]
    one, other = (
        SqlRateLimitStore(SqlUnitOfWork(engine, Recorder(uuid4, os.urandom), time), signer) for engine in engines
    )
    return Bench(one, other, time, timedelta(microseconds=1), rounds=1)


async def taken(rate_limit_store: RateLimitStore, name: str, quota: Quota, times: int) -> list[Decision]:
    return [await rate_limit_store.take(name, quota) for _ in range(times)]


async def test_as_many_are_allowed_as_the_quota_has(bench: Bench) -> None:
    verdicts = await taken(bench.one, "a", QUOTA, 12)

    assert [decision.allowed for decision in verdicts] == [True] * 10 + [False] * 2
    assert [decision.remaining for decision in verdicts] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]


async def test_the_next_try_is_at_once_as_long_as_any_remain(bench: Bench) -> None:
    verdicts = await taken(bench.one, "a", QUOTA, 11)

    assert all(decision.retry_after == timedelta(0) for decision in verdicts[:9])
    for decision in verdicts[9:]:
        assert INTERVAL - bench.slack <= decision.retry_after <= INTERVAL


async def test_one_more_is_allowed_after_each_interval(bench: Bench) -> None:
    await taken(bench.one, "a", QUOTA, 10)

    for _ in range(5):
        await bench.time.move(INTERVAL)
        assert [decision.allowed for decision in await taken(bench.one, "a", QUOTA, 2)] == [True, False]


async def test_who_waits_as_long_as_told_is_allowed(bench: Bench) -> None:
    for limit, seconds in ((1, 60), (3, 1000), (7, 3600), (10, 3600)):
        quota = Quota(limit=limit, per=timedelta(seconds=seconds))
        name = f"{limit} in {seconds}"
        refused = (await taken(bench.one, name, quota, limit + 1))[-1]
        for _ in range(3):
            assert not refused.allowed
            assert refused.remaining == 0
            await bench.time.move(refused.retry_after - bench.slack)
            assert not (await bench.one.take(name, quota)).allowed
            await bench.time.move(bench.slack)
            assert (await bench.one.take(name, quota)).allowed
            refused = await bench.one.take(name, quota)


async def test_a_refused_try_takes_nothing(bench: Bench) -> None:
    await taken(bench.one, "a", QUOTA, 50)

    await bench.time.move(INTERVAL)

    assert (await bench.one.take("a", QUOTA)).allowed


async def test_after_the_whole_time_the_quota_is_full_and_no_fuller(bench: Bench) -> None:
    await taken(bench.one, "a", QUOTA, 10)

    await bench.time.move(timedelta(days=7))

    assert [decision.allowed for decision in await taken(bench.one, "a", QUOTA, 11)] == [True] * 10 + [False]


@pytest.mark.parametrize("limit", [1, 3, 7, 600, 999_999])
async def test_a_quota_that_does_not_divide_its_time_is_exact_as_well(bench: Bench, limit: int) -> None:
    quota = Quota(limit=limit, per=timedelta(days=1))

    assert (await bench.one.take("a", quota)).remaining == limit - 1
    assert (await bench.one.take("a", quota)).remaining == max(0, limit - 2)


async def test_names_never_run_into_one_another(bench: Bench) -> None:
    names = [
        "",
        "a",
        "A",
        "a ",
        "a:b",
        "a:",
        ":a",
        "a\0b",
        "a*",
        "ä",
        "a\u0308",
        "\ud800",
        "1.2.3.4",
        "::1",
        "x" * 9999,
    ]
    once = Quota(limit=1, per=timedelta(hours=1))

    for expected in (True, False):
        assert [(await bench.one.take(name, once)).allowed for name in names] == [expected] * len(names)


async def test_a_returned_attempt_can_be_taken_again(bench: Bench) -> None:
    await taken(bench.one, "a", QUOTA, 10)

    await bench.one.give_back("a", QUOTA)
    await bench.one.give_back("a", QUOTA)

    assert [decision.allowed for decision in await taken(bench.one, "a", QUOTA, 3)] == [True, True, False]


async def test_returning_an_attempt_that_was_not_taken_adds_none(bench: Bench) -> None:
    for _ in range(3):
        await bench.one.give_back("a", QUOTA)
    await bench.one.take("b", QUOTA)
    for _ in range(3):
        await bench.one.give_back("b", QUOTA)

    for name in "ab":
        assert [decision.allowed for decision in await taken(bench.one, name, QUOTA, 11)] == [True] * 10 + [False]


async def test_a_look_tells_about_the_next_attempt_and_takes_none(bench: Bench) -> None:
    fresh = await bench.other.look("a", QUOTA)
    assert fresh == Decision(allowed=True, remaining=10, retry_after=timedelta(0))
    await taken(bench.one, "a", QUOTA, 9)
    for _ in range(3):
        assert await bench.other.look("a", QUOTA) == Decision(allowed=True, remaining=1, retry_after=timedelta(0))
    assert (await bench.one.take("a", QUOTA)).allowed
    refused = await bench.other.look("a", QUOTA)
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert INTERVAL - bench.slack <= refused.retry_after <= INTERVAL
    await bench.time.move(INTERVAL)
    assert (await bench.other.look("a", QUOTA)).remaining == 1
    await bench.time.move(timedelta(days=7))
    assert (await bench.other.look("a", QUOTA)).remaining == 10


async def test_a_look_at_a_smaller_quota_shows_none_emptier_than_its_own(bench: Bench) -> None:
    await taken(bench.one, "a", Quota(limit=2, per=timedelta(days=2)), 2)
    refused = await bench.one.look("a", Quota(limit=4, per=timedelta(hours=4)))
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert refused.retry_after <= timedelta(hours=1)


async def test_an_attempt_is_returned_to_its_name(bench: Bench) -> None:
    await taken(bench.one, "a", QUOTA, 10)

    await bench.one.give_back("b", QUOTA)

    assert not (await bench.one.take("a", QUOTA)).allowed


async def test_a_quota_that_becomes_smaller_shuts_nobody_out_for_longer_than_its_own(bench: Bench) -> None:
    await taken(bench.one, "a", Quota(limit=2, per=timedelta(days=2)), 2)
    quota = Quota(limit=4, per=timedelta(hours=4))

    refused = await bench.one.take("a", quota)

    assert not refused.allowed
    assert refused.retry_after <= timedelta(hours=1)


async def test_exactly_the_quota_of_concurrent_calls_is_allowed(bench: Bench) -> None:
    for name in range(bench.rounds):
        verdicts = await asyncio.gather(
            *(
                rate_limit_store.take(f"{name}", QUOTA)
                for _ in range(20 * bench.rounds)
                for rate_limit_store in (bench.one, bench.other)
            )
        )
        assert sum(decision.allowed for decision in verdicts) == 10
        assert sorted(decision.remaining for decision in verdicts if decision.allowed) == list(range(10))


async def test_takers_and_givers_at_once_lose_nothing(bench: Bench) -> None:
    async def borrow(rate_limit_store: RateLimitStore) -> bool:
        allowed = (await rate_limit_store.take("a", QUOTA)).allowed
        if allowed:
            await rate_limit_store.give_back("a", QUOTA)
        return allowed

    assert any(await asyncio.gather(*(borrow(c) for _ in range(10 * bench.rounds) for c in (bench.one, bench.other))))

    assert [decision.allowed for decision in await taken(bench.one, "a", QUOTA, 11)] == [True] * 10 + [False]


@pytest.mark.parametrize("seed", range(3))
async def test_however_time_passes_no_more_is_allowed_than_comes_back(bench: Bench, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311
    passed, allowed = timedelta(0), 0
    for _ in range(30 * bench.rounds):
        if dice.random() < 0.3:
            by = timedelta(seconds=dice.uniform(0, 900))
            await bench.time.move(by)
            passed += by
        allowed += (await bench.one.take("a", QUOTA)).allowed

    # The slack is for the time that passes by itself.
    assert 10 <= allowed <= 10 + (passed + bench.slack) / INTERVAL


async def test_memory_forgets_names_only_when_their_quota_is_full_again() -> None:
    time = MemoryTime()
    rate_limit_store = MemoryRateLimitStore(time)
    once = Quota(limit=1, per=timedelta(hours=1))
    for name in range(5000):
        assert (await rate_limit_store.take(f"{name}", once)).allowed
        await time.move(timedelta(seconds=1))

    verdicts = [(await rate_limit_store.take(f"{name}", once)).allowed for name in range(5000)]

    assert verdicts == [name <= 1400 for name in range(5000)]


async def test_only_full_quotas_are_forgotten(bench: Bench) -> None:
    await taken(bench.one, "a", QUOTA, 2)
    await bench.one.take("b", QUOTA)
    await bench.time.move(INTERVAL + bench.slack)

    assert await bench.other.forget(10) <= 1

    assert (await bench.one.take("a", QUOTA)).remaining == 8
    assert (await bench.one.take("b", QUOTA)).remaining == 9
    assert await bench.one.forget(10) == 0
