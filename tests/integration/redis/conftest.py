"""What the tests of the Redis adapter share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Protocol

import pytest

from tests.support.plugin import PrivateRedis
from tests.support.servers import Kind, RedisServer
from ubr.adapters.redis import RedisClient
from ubr.adapters.redis.breaker import Breaker
from ubr.adapters.security.secrets import HmacSigner, SecretKeys
from ubr.domain.errors import StoreUnavailable


class NewLink(Protocol):
    def __call__(
        self,
        url: str,
        *,
        name_space: str = "ubr:",
        deadline: float = 0.1,
        connect_deadline: float = 1.0,
        connections: int = 16,
        breaker: Breaker | None = None,
    ) -> RedisClient:
        """Make a link that is closed with the test."""


@pytest.fixture
async def new_link() -> AsyncIterator[NewLink]:
    async with AsyncExitStack() as stack:

        def make(
            url: str,
            *,
            name_space: str = "ubr:",
            deadline: float = 0.1,
            connect_deadline: float = 1.0,
            connections: int = 16,
            breaker: Breaker | None = None,
        ) -> RedisClient:
            link = RedisClient(
                url,
                name_space=name_space,
                deadline=deadline,
                connect_deadline=connect_deadline,
                connections=connections,
                breaker=breaker,
            )
            stack.push_async_callback(link.close)
            return link

        yield make


@pytest.fixture(params=["redis", "valkey"])
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def server(kind: Kind, private_redis: PrivateRedis) -> RedisServer:
    """A Redis, and then a Valkey, for this test alone."""
    return private_redis(kind)


@pytest.fixture
def signer() -> HmacSigner:
    return HmacSigner(SecretKeys([b"k" * 32]))


def never_opens() -> Breaker:
    return Breaker(failures=10**9)


async def refused_after(call: Callable[[], Awaitable[object]]) -> float:
    """How long it takes until this is refused, as it must be."""
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await call()
    return time.monotonic() - begun


async def healed_after(call: Callable[[], Awaitable[object]], patience: float = 10) -> float:
    """How long it takes until this works, tried again and again."""
    begun = time.monotonic()
    while True:
        try:
            await call()
        except StoreUnavailable:
            assert time.monotonic() - begun < patience, "it did not heal"
            await asyncio.sleep(0.02)
        else:
            return time.monotonic() - begun
