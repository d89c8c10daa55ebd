"""What a worker knows of the signing keys: nothing is read while nothing changes, and what changed is read once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from tests.support.room import PROMPT
from ubr.adapters.memory import MemoryChangeFeed, MemoryStore, MemoryUnitOfWork
from ubr.adapters.memory.unit_of_work import MemoryTransaction
from ubr.adapters.security.secrets import SecretKeys
from ubr.adapters.security.tokens import JwtAccessTokens
from ubr.application.access.session_cache import CacheTimes, SessionCache
from ubr.application.audit.recorder import Recorder
from ubr.application.keys.get_public_keys import GetPublicKeys
from ubr.application.keys.key_ring import KeyRing
from ubr.application.ports.revocation import WorkerId
from ubr.application.ports.unit_of_work import Repositories
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import StoreUnavailable
from ubr.domain.events import SigningKeyRotated
from ubr.domain.keys.signing_key import JWKS_CACHE, SigningKey

NOW = datetime(2030, 1, 1, tzinfo=UTC)
POLL = 0.05


@dataclass
class CountedReads:
    """Units that are counted, that may be held up behind what they read, and that may fail."""

    inner: MemoryUnitOfWork
    reads: int = 0
    failing: bool = False
    going: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, actor: Actor | System | None) -> AbstractAsyncContextManager[MemoryTransaction]:
        return self.inner.begin(actor)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[MemoryTransaction]:
        self.reads += 1
        if self.failing:
            raise StoreUnavailable
        async with self.inner.read() as tx:
            yield tx
            await self.going.wait()

    def peek(self) -> AbstractAsyncContextManager[MemoryTransaction]:
        return self.inner.read()

    def autocommit(self) -> AbstractAsyncContextManager[Repositories]:
        return self.inner.autocommit()


class Worker:
    def __init__(self, **times: float) -> None:
        self.store = MemoryStore()
        self.uow = CountedReads(MemoryUnitOfWork(self.store, Recorder(uuid4, os.urandom), lambda: NOW))
        self.uow.going.set()
        feed = MemoryChangeFeed(self.store)
        settings = CacheTimes(**{"poll": POLL, "bound": 30.0, **times})
        self.passed = 0.0
        """Seconds beside those that pass by themselves."""
        self.session_cache = SessionCache(WorkerId(uuid4()), self.uow, feed, self.elapsed, settings)
        self.tokens = JwtAccessTokens("iss", "aud", SecretKeys([b"x" * 32]))
        self.keys = KeyRing(self.session_cache, self.uow, self.tokens, self.elapsed)

    def elapsed(self) -> float:
        return time.monotonic() + self.passed

    async def make_key(self) -> SigningKey:
        """As another worker would: this one hears nothing of it before its next cycle."""
        async with self.uow.begin(SYSTEM) as tx:
            key = self.tokens.generate(NOW)
            await tx.signing_keys.add(key)
            tx.record(SigningKeyRotated(kid="old", successor=key.kid))
            await tx.commit()
        return key

    @property
    def known(self) -> int:
        return len(self.tokens.public_keys(NOW))

    @property
    def reads(self) -> int:
        """How many there were since this was asked before."""
        reads, self.uow.reads = self.uow.reads, 0
        return reads


@pytest.fixture
async def worker() -> Worker:
    made = Worker()
    await made.make_key()
    await made.keys.ensure_current()
    assert made.reads == 1
    return made


async def test_nothing_is_read_while_nothing_changes(worker: Worker) -> None:
    for _ in range(10):
        await worker.keys.ensure_current()
        await worker.session_cache.poll_feed()
    assert worker.reads == 0


async def test_a_change_is_read_once_for_all_waiting_calls(worker: Worker) -> None:
    await worker.make_key()
    await worker.session_cache.poll_feed()
    assert worker.known == 1
    await asyncio.gather(*(worker.keys.ensure_current() for _ in range(50)))
    assert (worker.known, worker.reads) == (2, 1)


async def test_what_is_heard_of_during_a_reading_is_read_again(worker: Worker) -> None:
    await worker.make_key()
    await worker.session_cache.poll_feed()
    worker.uow.going.clear()
    first = asyncio.create_task(worker.keys.ensure_current())
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    await worker.make_key()
    await worker.session_cache.poll_feed()
    second = asyncio.create_task(worker.keys.ensure_current())
    await asyncio.sleep(0.01)
    worker.uow.going.set()
    await first
    await second
    assert (worker.known, worker.reads) == (3, 2)


async def test_without_the_store_the_keys_are_not_current_but_are_shown(worker: Worker) -> None:
    await worker.make_key()
    await worker.session_cache.poll_feed()
    worker.uow.failing = True
    with pytest.raises(StoreUnavailable):
        await worker.keys.ensure_current()
    show = GetPublicKeys(worker.tokens, worker.keys, lambda: NOW)
    assert len(await show()) == 1
    with pytest.raises(StoreUnavailable):
        await show(current=True)
    worker.passed += JWKS_CACHE.total_seconds() - 10
    assert len(await show()) == 1
    worker.passed += 11
    with pytest.raises(StoreUnavailable):
        await show()
    worker.uow.failing = False
    await worker.keys.ensure_current()
    assert worker.known == 2


async def test_every_wait_ends() -> None:
    worker = Worker(patience=0.05)
    await worker.make_key()
    worker.uow.going.clear()
    with pytest.raises(StoreUnavailable, match="The signing keys were not read in time"):
        await worker.keys.ensure_current()
    worker.uow.going.set()
    worker.session_cache.times = CacheTimes(poll=POLL, bound=30.0)  # a busy machine may need longer for this one
    await worker.keys.ensure_current()
    assert worker.known == 1


async def test_a_call_with_an_unknown_key_waits_for_a_later_read(worker: Worker) -> None:
    for number in range(2, 5):
        await worker.make_key()
        await worker.keys.ask()
        assert (worker.known, worker.reads) == (number, 1)


async def test_a_reading_under_way_is_too_old_for_who_comes_later(worker: Worker) -> None:
    worker.uow.going.clear()
    early = asyncio.create_task(worker.keys.ask())
    await asyncio.sleep(0.01)
    await worker.make_key()
    late = asyncio.create_task(worker.keys.ask())
    await asyncio.sleep(0.01)
    worker.uow.going.set()
    await early
    await late
    assert (worker.known, worker.reads) == (2, 2)


async def test_however_many_come_with_unknown_keys_the_store_is_asked_now_and_then(worker: Worker) -> None:
    began = time.monotonic()

    async def stranger(number: int) -> None:
        await asyncio.sleep(number / 1000)
        await worker.keys.ask()

    await asyncio.gather(*(stranger(number % 150) for number in range(1500)))
    assert worker.reads <= (time.monotonic() - began) / POLL + 1


async def test_what_is_shown_is_never_older_than_the_feed_would_be(worker: Worker) -> None:
    await asyncio.sleep(POLL)
    await worker.make_key()
    await asyncio.gather(*(worker.keys.ensure_recent() for _ in range(20)))
    assert (worker.known, worker.reads) == (2, 1)
    await asyncio.gather(*(worker.keys.ensure_recent() for _ in range(20)))
    assert worker.reads == 0


async def test_following_reads_without_being_asked(worker: Worker) -> None:
    async with worker.keys.following():
        await worker.make_key()
        await worker.session_cache.poll_feed()
        async with asyncio.timeout(PROMPT):
            while worker.known < 2:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(POLL / 5)
    await worker.make_key()
    await worker.session_cache.poll_feed()
    await asyncio.sleep(2 * POLL)
    assert worker.known == 2
