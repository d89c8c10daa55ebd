"""The ChangeNotifier port: in memory and through Redis alike, and what Redis can and cannot do with it."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Protocol
from uuid import uuid4

import msgspec
import pytest
from redis.asyncio import Redis

from tests.contracts.kit import MovableClock, new_grant, new_role, new_session, new_user, put
from tests.support.plugin import PrivateRedis
from tests.support.proxy import FaultProxy
from tests.support.servers import DATABASES, RedisServer
from ubr.adapters.memory import MemoryChangeFeed, MemoryChangeNotifier, MemoryStore, MemoryUnitOfWork
from ubr.adapters.redis import Envelope, RedisChangeNotifier, RedisClient
from ubr.adapters.security.secrets import HmacSigner, SecretKeys
from ubr.application.access.session_cache import CacheTimes, SessionCache
from ubr.application.audit.recorder import Recorder
from ubr.application.ports.revocation import ChangeNotifier, WorkerId
from ubr.application.ports.sessions import Principal
from ubr.domain.actor import SYSTEM
from ubr.domain.ids import SessionId
from ubr.domain.revocation.changes import Change, ChangeRecord
from ubr.domain.sessions.termination import SecurityEvent
from ubr.testing.contracts import ChangeNotifierContract, Heard
from ubr.testing.contracts.change_notifier import EPOCH, PATIENCE, arrives, gives_up, listening, rows


class Connect(Protocol):
    def __call__(self, url: str | None = None, *, secret: bytes = b"k" * 32, deadline: float = 30) -> ChangeNotifier:
        """The nudges of one more worker."""


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - what comes over a network is seen only by looking
            await asyncio.sleep(0.005)


@pytest.fixture
async def connect_redis(redis_prefix: str) -> AsyncIterator[Connect]:
    name_space = f"{redis_prefix}{uuid4().hex}:"
    async with AsyncExitStack() as stack:

        def connect(url: str | None = None, *, secret: bytes = b"k" * 32, deadline: float = 30) -> ChangeNotifier:
            assert url is not None
            link = RedisClient(url, name_space=name_space, deadline=deadline)
            stack.push_async_callback(link.close)
            return RedisChangeNotifier(link, Envelope(HmacSigner(SecretKeys([secret]))))

        yield connect


class TestMemory(ChangeNotifierContract):
    @pytest.fixture
    def connect(self) -> Callable[[], ChangeNotifier]:
        shared = MemoryChangeNotifier()
        return lambda: shared


class TestRedis(ChangeNotifierContract):
    @pytest.fixture
    def connect(self, connect_redis: Connect, redis_url: str) -> Callable[[], ChangeNotifier]:
        return lambda: connect_redis(redis_url)


# --- through Redis ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def eavesdropping(url: str, prefix: str) -> AsyncIterator[tuple[Redis, list[tuple[bytes, bytes]]]]:
    """Somebody with all of Redis in their hands and no key."""
    caught: list[tuple[bytes, bytes]] = []
    # Without the library's own limit on sending: in Python 3.11 it can swallow that whoever sends is being cancelled.
    async with Redis.from_url(url, socket_timeout=None) as client, client.pubsub() as subscription:
        await subscription.psubscribe(f"{prefix}*")

        async def catch() -> None:
            async for message in subscription.listen():
                if message["type"] == "pmessage":
                    caught.append((message["channel"], message["data"]))  # noqa: PERF401 - it never ends

        catching = asyncio.create_task(catch())
        try:
            yield client, caught
        finally:
            catching.cancel()
            await asyncio.gather(catching, return_exceptions=True)


async def test_rows_are_taken_before_they_are_acknowledged(connect_redis: Connect, redis_url: str) -> None:
    """A worker that cannot take them says nothing, and takes the next."""
    one, writer, heard, broken = connect_redis(redis_url), connect_redis(redis_url), Heard(), True

    def fragile(epoch: str, said: Sequence[ChangeRecord]) -> None:
        if broken:
            raise ZeroDivisionError
        heard(epoch, said)

    async with one.listen(heard.worker, fragile), listening((writer, Heard())):
        await gives_up(writer, rows(1), heard)
        broken = False
        assert await arrives(writer, rows(2), heard)


async def test_one_that_was_away_for_a_moment_is_told_again(connect_redis: Connect, redis_url: str) -> None:
    one, writer, heard = connect_redis(redis_url), connect_redis(redis_url), Heard()
    async with listening((writer, Heard())):
        delivery = asyncio.create_task(arrives(writer, rows(1), heard))
        await asyncio.sleep(0.3)
        async with listening((one, heard)):
            assert await delivery
            assert heard.rows


async def test_foreign_messages_are_ignored(
    connect_redis: Connect, redis_url: str, redis_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    one, writer, heard = connect_redis(redis_url), connect_redis(redis_url), Heard()
    junk = [
        b"",
        b"\0",
        b"\xff" * 100,
        b"\x92" * 5000,
        b"\x92\xa1a\xc4\x00",
        b"\x94" + b"\xa1\xff" * 4,
        b"{}",
        bytes(5000),
    ]
    async with listening((one, heard), (writer, Heard())), eavesdropping(redis_url, redis_prefix) as (enemy, caught):
        assert await arrives(writer, rows(1), heard)
        await until(lambda: len(caught) >= 2)
        before = list(heard.rows)
        ours = list(caught)
        channels = {channel for channel, _ in ours}
        assert len(channels) == 2
        for channel in channels:
            for message in junk:
                await enemy.publish(channel, message)
            for _, message in ours:
                for at in range(0, len(message), 3):  # a bit of each of ours turned over
                    await enemy.publish(channel, message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :])
        assert await arrives(writer, rows(2), heard)
        assert [row for _, row in heard.rows if row.number != 2] == [row for _, row in before]
    assert [record.message for record in caplog.records] == [
        "A message on the fast path is not ours; it is ignored"
    ] * 2


async def test_rows_are_believed_only_in_the_epoch_and_from_the_installation_that_sent_them(
    connect_redis: Connect, redis_url: str, redis_prefix: str
) -> None:
    one, writer, heard = connect_redis(redis_url), connect_redis(redis_url), Heard()
    stranger = connect_redis(redis_url, secret=b"x" * 32)
    async with listening((one, heard), (writer, Heard())), eavesdropping(redis_url, redis_prefix) as (enemy, caught):
        assert await arrives(writer, rows(1), heard)
        await gives_up(stranger, rows(2), heard)
        await until(lambda: len(caught) >= 3)
        channel, message = caught[0]
        epoch, sealed = msgspec.msgpack.decode(message)
        assert epoch == EPOCH
        await enemy.publish(channel, msgspec.msgpack.encode(("epoch 2", sealed)))
        assert await arrives(writer, rows(3), heard)
        assert {(epoch, row.number) for epoch, row in heard.rows} == {(EPOCH, 1), (EPOCH, 3)}


async def test_installations_with_a_database_each_on_one_server_do_not_hear_each_other(
    connect_redis: Connect, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    # From the last ones: every worker of the tests has one of the first.
    one, writer = (connect_redis(redis_server.url(DATABASES - 1)) for _ in range(2))
    stranger, strange, heard = connect_redis(redis_server.url(DATABASES - 2), secret=b"x" * 32), Heard(), Heard()
    async with listening((one, heard), (writer, Heard()), (stranger, strange)):
        assert await arrives(writer, rows(1), heard)
        await gives_up(writer, rows(2), strange)
        assert strange.rows == []
    assert caplog.records == []


async def test_an_acknowledgement_counts_for_its_own_rows_worker_epoch_and_writer_alone(
    connect_redis: Connect, redis_url: str, redis_prefix: str
) -> None:
    one, writer, heard = connect_redis(redis_url), connect_redis(redis_url), Heard()
    silent = Heard()
    async with listening((writer, Heard())), eavesdropping(redis_url, redis_prefix) as (enemy, caught):
        async with listening((one, heard)):
            for number in (1, 2):
                assert await arrives(writer, rows(number), heard)

        def acknowledged() -> list[tuple[bytes, bytes]]:
            return [(channel, message) for channel, message in caught if b":taken:" in channel]

        await until(lambda: len(acknowledged()) >= 2)
        ours = acknowledged()
        channel, message = ours[-1]
        epoch, number, worker, sealed = msgspec.msgpack.decode(message)
        assert (epoch, number, worker) == (EPOCH, 2, str(heard.worker))
        forged = [
            (epoch, 3, worker, sealed),
            (epoch, 2, str(silent.worker), sealed),
            (epoch, 3, str(silent.worker), sealed),
            ("epoch 2", 3, str(silent.worker), sealed),
            (epoch, 3, str(silent.worker), b""),
            (epoch, 3, str(silent.worker), sealed[:1] + bytes(len(sealed) - 1)),
        ]

        async def forge() -> None:
            while True:
                for parts in forged:
                    await enemy.publish(channel, msgspec.msgpack.encode(parts))
                for _, message in ours:
                    await enemy.publish(channel, message)
                await asyncio.sleep(0.01)

        forging = asyncio.create_task(forge())
        for number in (1, 2, 3):
            await gives_up(writer, rows(number), silent)
        await gives_up(writer, rows(3), heard)  # which listens no longer
        forging.cancel()
        await asyncio.gather(forging, return_exceptions=True)


async def test_a_verifier_has_reached_everything_up_to_a_number(connect_redis: Connect, redis_url: str) -> None:
    """It listens to no channel: a worker that it speaks to passes on what it says."""
    one, writer, verifier = connect_redis(redis_url), connect_redis(redis_url), Heard()
    async with listening((one, Heard()), (writer, Heard())):
        for epoch, number in ((EPOCH, 4), ("epoch 2", 5), (EPOCH, 0)):
            await one.acknowledge(verifier.worker, epoch, number)
            await gives_up(writer, rows(5), verifier)
        for number, reached in ((5, 5), (6, 6), (7, 9)):
            delivery = asyncio.create_task(arrives(writer, rows(number), verifier))
            await one.acknowledge(verifier.worker, EPOCH, reached)
            assert await delivery
        assert await arrives(writer, rows(8), verifier)  # it is known already
        await gives_up(writer, rows(10), verifier)


async def test_the_service_starts_without_a_reachable_redis(
    connect_redis: Connect, private_redis: PrivateRedis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ubr.redis")
    server = private_redis()
    await asyncio.to_thread(server.kill)
    one, writer = connect_redis(server.url(), deadline=0.1), connect_redis(server.url(), deadline=0.1)
    left, right = Heard(), Heard()
    async with listening((one, left), (writer, right)):
        assert not await arrives(writer, rows(1), left)
        await asyncio.to_thread(server.restart)
        await again(writer, left)
        await again(one, right)
    said = [record.message for record in caplog.records if "fast path" in record.message]
    assert sum("is lost" in message for message in said) == 2
    assert sum("is back" in message for message in said) == 2
    assert str(server.port) not in caplog.text


async def again(writer: ChangeNotifier, heard: Heard) -> None:
    """The short way is there again, sooner or later."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    if await writer.deliver(EPOCH, rows(random.randrange(1, 2**40)), frozenset({heard.worker})):  # noqa: S311
                        return
            await asyncio.sleep(0.02)


async def kill(server: RedisServer) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.restart)


async def freeze(server: RedisServer) -> None:
    await asyncio.to_thread(server.pause)
    await asyncio.sleep(2.5)  # longer than a silent server is listened to
    await asyncio.to_thread(server.resume)


async def flush(server: RedisServer) -> None:
    await asyncio.to_thread(server.flush)


async def disconnect_all(server: RedisServer) -> None:
    async with Redis.from_url(server.url()) as client:
        await client.client_kill_filter(_type="pubsub")


@pytest.mark.parametrize("fault", [kill, freeze, flush, disconnect_all], ids=lambda fault: fault.__name__)
async def test_after_a_fault_the_way_is_found_again(
    connect_redis: Connect, private_redis: PrivateRedis, fault: Callable[[RedisServer], Awaitable[None]]
) -> None:
    server = private_redis()
    one, writer, heard = connect_redis(server.url(), deadline=0.1), connect_redis(server.url(), deadline=0.1), Heard()
    async with listening((one, heard), (writer, Heard())):
        await again(writer, heard)
        for _ in range(2):
            await fault(server)
            await again(writer, heard)


async def test_a_network_that_swallows_everything_is_noticed_and_found_again(
    connect_redis: Connect, redis_server: RedisServer
) -> None:
    async with FaultProxy(redis_server.host, redis_server.port) as proxy:
        url = proxy.url(redis_server.url())
        one, writer, heard = connect_redis(url, deadline=0.1), connect_redis(url, deadline=0.1), Heard()
        async with listening((one, heard), (writer, Heard())):
            await again(writer, heard)
            proxy.stall()
            accepted = proxy.accepted
            await gives_up(writer, rows(1), heard)
            await until(lambda: proxy.accepted >= accepted + 2)  # both listeners begin anew
            await proxy.heal()
            await again(writer, heard)


async def test_at_its_end_no_connection_is_left(connect_redis: Connect, private_redis: PrivateRedis) -> None:
    server = private_redis()
    notifier, heard = connect_redis(server.url()), Heard()

    async def listeners() -> int:
        async with Redis.from_url(server.url()) as client:
            return len(await client.client_list(_type="pubsub"))

    async with listening((notifier, heard)):
        await again(notifier, heard)
        assert await listeners() == 1
    async with asyncio.timeout(PATIENCE):
        while await listeners():  # noqa: ASYNC110 - the server is another process
            await asyncio.sleep(0.01)


# --- what a nudge can do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_that_is_nudged_makes_a_view_say_anything_but_the_truth(seed: int) -> None:
    """Rows that are forged, of any number, repeated and out of order: all they cost is a reading of the store."""
    dice = random.Random(seed)  # noqa: S311
    store, clock = MemoryStore(), MovableClock()
    uow = MemoryUnitOfWork(store, Recorder(uuid4, os.urandom), clock)
    loop = asyncio.get_running_loop()
    session_cache = SessionCache(WorkerId(uuid4()), uow, MemoryChangeFeed(store), loop.time, CacheTimes())
    role = new_role()
    users = [new_user(grants=[new_grant(role)]) for _ in range(3)]
    sessions = [new_session(user) for user in users for _ in range(2)]
    await put(uow, role, *users, *sessions)
    about = [
        Change("role", str(role.id)),
        *(Change("user", str(user.id)) for user in users),
        *(Change("session", str(session.id)) for session in sessions),
    ]

    async def truth(session_id: SessionId) -> Principal | None:
        async with uow.read() as tx:
            return await tx.principals.get(session_id)

    for _ in range(400):
        forged = [ChangeRecord(dice.choice([0, -1, 1, 5, 2**60]), dice.choice(about)) for _ in range(dice.randrange(4))]
        session_cache.apply(dice.choice([store.epoch, "another"]), forged)
        if dice.random() < 0.1:
            # One ends in truth, and this worker hears of it as it would: by its own cycle.
            ended = dice.choice(sessions)
            async with uow.begin(SYSTEM) as tx:
                found = await tx.sessions.get(ended.id)
                if found is not None and found.ended_at is None:
                    found.end(SecurityEvent.REVOKED, now=tx.now)
                    await tx.sessions.save(found)
                await tx.commit()
            await session_cache.poll_feed()
        session = dice.choice(sessions)
        assert await session_cache.principal(session.id) == await truth(session.id)
