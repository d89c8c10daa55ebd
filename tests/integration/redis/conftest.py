"""What the tests of the Redis adapter share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Final, Protocol

import pytest

from tests.support.plugin import PrivateRedis
from tests.support.servers import Kind, RedisServer
from ubr.adapters.redis import RedisClient
from ubr.adapters.redis.breaker import Breaker
from ubr.adapters.security.secrets import HmacSigner, SecretKeys
from ubr.domain.errors import StoreUnavailable

PATIENCE: Final = 30.0
"""Seconds, far more than any deadline of a test and what a busy machine adds to it."""

NEVER: Final = 600.0
"""A deadline that no test reaches: a call that misses its own one fails by `PATIENCE`."""


class NewLink(Protocol):
    def __call__(
        self,
        url: str,
        *,
        name_space: str = "ubr:",
        deadline: float = 0.1,
        connect_deadline: float = NEVER,
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
            connect_deadline: float = NEVER,
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


async def refused(call: Callable[[], Awaitable[object]]) -> None:
    """The call is refused by its deadline."""
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(StoreUnavailable):
            await call()


async def healed(call: Callable[[], Awaitable[object]]) -> None:
    """The call succeeds, if it is tried again and again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(StoreUnavailable):
                await call()
                return
            await asyncio.sleep(0.02)
