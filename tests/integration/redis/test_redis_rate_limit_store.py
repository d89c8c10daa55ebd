"""What Redis keeps of a counter, and what becomes of a counter that something else has written to."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from tests.contracts.kit import MovableClock
from tests.integration.redis.conftest import NewLink
from tests.support.servers import RedisServer
from ubr.adapters.memory.rate_limit_store import MemoryRateLimitStore
from ubr.adapters.redis import RedisClient, RedisRateLimitStore
from ubr.adapters.security.secrets import HmacSigner, SecretKeys
from ubr.application.ports.protection import Quota
from ubr.application.protection.rate_limits import FallbackRateLimitStore
from ubr.domain.errors import StoreUnavailable

QUOTA = Quota(limit=3, per=timedelta(hours=3))


@pytest.fixture
def url(clean_redis_url: str) -> str:
    return clean_redis_url


@pytest.fixture
def link(url: str, new_link: NewLink) -> RedisClient:
    return new_link(url, deadline=30, connect_deadline=30)


@pytest.fixture
def rate_limit_store(link: RedisClient, signer: HmacSigner) -> RedisRateLimitStore:
    return RedisRateLimitStore(link, signer)


@pytest.fixture
async def client(url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(url) as client:
        yield client


async def only_key(client: Redis) -> bytes:
    (key,) = await client.keys("*")
    assert isinstance(key, bytes)
    return key


async def test_names_cannot_be_read_or_guessed_in_redis(rate_limit_store: RedisRateLimitStore, client: Redis) -> None:
    await rate_limit_store.take("192.0.2.77", QUOTA)

    key = await only_key(client)
    assert key.startswith(b"ubr:counter:")
    assert b"192.0.2.77" not in key
    assert hashlib.sha256(b"192.0.2.77").hexdigest().encode() not in key


async def test_another_secret_means_other_counters(
    link: RedisClient, rate_limit_store: RedisRateLimitStore, client: Redis
) -> None:
    await rate_limit_store.take("a", QUOTA)
    await RedisRateLimitStore(link, HmacSigner(SecretKeys([b"x" * 32]))).take("a", QUOTA)

    assert len(await client.keys("*")) == 2


async def test_a_counter_is_gone_when_its_quota_is_full(rate_limit_store: RedisRateLimitStore, client: Redis) -> None:
    hour = 3_600_000
    for times in range(1, 6):
        await rate_limit_store.take("a", QUOTA)
        left = await client.pttl(await only_key(client))
        assert (min(times, 3) * hour) - 60_000 < left <= min(times, 3) * hour

    for times in (2, 1):
        await rate_limit_store.give_back("a", QUOTA)
        left = await client.pttl(await only_key(client))
        assert times * hour - 60_000 < left <= times * hour
    await rate_limit_store.give_back("a", QUOTA)
    assert await client.keys("*") == []
    await rate_limit_store.give_back("a", QUOTA)
    assert await client.keys("*") == []


async def test_who_really_waits_is_allowed(rate_limit_store: RedisRateLimitStore, client: Redis) -> None:
    quota = Quota(limit=2, per=timedelta(milliseconds=200))
    for _ in range(10):
        while (decision := await rate_limit_store.take("a", quota)).allowed:
            pass
        assert timedelta(0) < decision.retry_after <= timedelta(milliseconds=100)
        await asyncio.sleep(decision.retry_after.total_seconds())
        assert (await rate_limit_store.take("a", quota)).allowed

    deadline = asyncio.get_running_loop().time() + 10
    while await client.keys("*"):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


FOREIGN = [
    b"",
    b"junk",
    b"-1",
    b"1e3",
    b"0x10",
    b"nan",
    b"inf",
    b"1.5",
    b" 12",
    b"12\n",
    b"9" * 17,
    b"9" * 400,
    b"\0\xff",
]


@pytest.mark.parametrize("junk", FOREIGN)
async def test_a_foreign_value_is_not_counted_in_redis(
    rate_limit_store: RedisRateLimitStore, client: Redis, junk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await rate_limit_store.take("a", QUOTA)
    key = await only_key(client)
    await client.set(key, junk)

    with caplog.at_level(logging.WARNING, "ubr.redis"):
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await rate_limit_store.take("a", QUOTA)
            with pytest.raises(StoreUnavailable):
                await rate_limit_store.give_back("a", QUOTA)

    assert len([record for record in caplog.records if "was overwritten" in record.message]) == 1
    assert (await rate_limit_store.take("b", QUOTA)).allowed, "other names still count"
    # It stays, and expires like a counter.
    assert await client.get(key) == junk
    assert 0 < await client.pttl(key) <= 10_800_000
    await client.delete(key)
    assert (await rate_limit_store.take("a", QUOTA)).allowed


async def test_neither_is_a_value_of_another_type(
    link: RedisClient, rate_limit_store: RedisRateLimitStore, client: Redis
) -> None:
    await rate_limit_store.take("a", QUOTA)
    key = await only_key(client)
    for command in (
        ("SADD", key, "member"),
        ("HSET", key, "field", "value"),
        ("RPUSH", key, "item"),
        ("XADD", key, "*", "field", "value"),
    ):
        await client.delete(key)
        await link.call(*command)

        with pytest.raises(StoreUnavailable):
            await rate_limit_store.take("a", QUOTA)
        assert 0 < await client.pttl(key) <= 10_800_000


async def test_a_foreign_value_does_not_lift_the_limit_or_lock_users_out(
    rate_limit_store: RedisRateLimitStore, client: Redis
) -> None:
    """The name is counted in the database, however often that is written."""
    both = FallbackRateLimitStore(rate_limit_store, MemoryRateLimitStore(MovableClock()))
    await rate_limit_store.take("a", QUOTA)
    key = await only_key(client)
    allowed = []
    for _ in range(20):
        await client.set(key, b"junk")
        allowed.append((await both.take("a", QUOTA)).allowed)
    assert allowed == [True] * 3 + [False] * 17


async def test_a_number_from_the_far_future_shuts_nobody_out_for_ever(
    rate_limit_store: RedisRateLimitStore, client: Redis
) -> None:
    await rate_limit_store.take("a", QUOTA)
    await client.set(await only_key(client), b"9" * 16)

    decision = await rate_limit_store.take("a", QUOTA)

    assert not decision.allowed
    assert decision.retry_after <= timedelta(hours=1)


async def test_a_server_that_forgets_the_script_is_told_again(
    server: RedisServer, new_link: NewLink, signer: HmacSigner
) -> None:
    link = new_link(server.url(), deadline=30)
    rate_limit_store = RedisRateLimitStore(link, signer)
    for _ in range(3):
        assert (await rate_limit_store.take("a", QUOTA)).allowed
        await link.call("SCRIPT", "FLUSH")
    assert not (await rate_limit_store.take("a", QUOTA)).allowed


async def test_an_emptied_server_starts_again(server: RedisServer, new_link: NewLink, signer: HmacSigner) -> None:
    rate_limit_store = RedisRateLimitStore(new_link(server.url(), deadline=30), signer)
    assert [(await rate_limit_store.take("a", QUOTA)).allowed for _ in range(4)] == [True, True, True, False]

    await asyncio.to_thread(server.flush)

    assert [(await rate_limit_store.take("a", QUOTA)).allowed for _ in range(4)] == [True, True, True, False]


async def test_both_servers_count_alike(server: RedisServer, new_link: NewLink, signer: HmacSigner) -> None:
    links = [new_link(server.url(), deadline=30) for _ in range(2)]
    both = [RedisRateLimitStore(link, signer) for link in links]

    verdicts = await asyncio.gather(
        *(rate_limit_store.take("a", QUOTA) for _ in range(100) for rate_limit_store in both)
    )

    assert sum(decision.allowed for decision in verdicts) == 3


async def test_an_answer_that_makes_no_sense_is_none(signer: HmacSigner, url: str) -> None:
    class Liar(RedisClient):
        def __init__(self, reply: object) -> None:
            super().__init__(url)
            self.reply = reply

        async def run(self, *_: object) -> object:
            return self.reply

    replies: list[object] = [None, b"OK", [], [1, 2], [1, 2, b"x"], {}, [1, 2, 3, 4]]
    for reply in replies:
        with pytest.raises(StoreUnavailable):
            await RedisRateLimitStore(Liar(reply), signer).take("a", QUOTA)
