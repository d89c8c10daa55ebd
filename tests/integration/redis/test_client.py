"""The way to Redis under every fault: no hang, no answer of somebody else, and healed without a restart."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.integration.redis.conftest import PATIENCE, NewLink, healed, never_opens, refused
from tests.support.plugin import PrivateRedis
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer, free_port
from ubr.adapters.redis import RedisClient, RedisRateLimitStore
from ubr.adapters.redis.breaker import Breaker
from ubr.adapters.security.secrets import HmacSigner
from ubr.application.ports.protection import Quota
from ubr.domain.errors import StoreUnavailable

QUOTA = Quota(limit=1000, per=timedelta(hours=1))

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def fake(answer: Answer) -> AsyncIterator[str]:
    """Something that listens where Redis should; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await answer(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"redis://{host}:{port}"
    finally:
        server.close()


async def request(reader: asyncio.StreamReader) -> list[bytes]:
    """One command as clients send it."""
    count = int((await reader.readuntil(b"\r\n"))[1:])
    words = []
    for _ in range(count):
        length = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(length + 2))[:-2])
    return words


# --- what works ------------------------------------------------------------------------------------------------------


async def test_commands_are_answered(server: RedisServer, new_link: NewLink) -> None:
    link = new_link(server.url(3), name_space="mine:", deadline=30)

    await link.ping()
    assert await link.call("SET", link.key("a", "b"), b"\0\xff", "PX", 60_000) == b"OK"
    assert await link.call("GET", "mine:a:b") == b"\0\xff"
    assert await link.call("GET", "nothing") is None
    assert b"db=3" in await link.call("CLIENT", "INFO")
    assert b"resp=3" in await link.call("CLIENT", "INFO")


async def test_making_one_connects_to_nothing() -> None:
    async def explode(*_: object) -> None:
        raise AssertionError

    async with fake(explode) as url:
        link = await asyncio.to_thread(RedisClient, url)
        await link.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis",
        "http://user:canary@host",
        "redis://:canary/x@host:1",
        "redis://:canary@[::1",
        "redis://:canary@h:99999",
    ],
)
def test_a_url_that_cannot_be_read_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="cannot be read") as refused:
        RedisClient(url)
    assert "canary" not in f"{refused.value}{refused.value.__cause__}"
    assert refused.value.__suppress_context__


async def test_never_more_connections_than_allowed(redis_server: RedisServer, new_link: NewLink) -> None:
    async with FaultProxy(redis_server.host, redis_server.port) as proxy:
        link = new_link(proxy.url(redis_server.url()), connections=4, deadline=30)
        for _ in range(3):
            answers = await asyncio.gather(*(link.call("ECHO", f"{number}") for number in range(200)))
            assert answers == [f"{number}".encode() for number in range(200)]
        assert 1 <= proxy.accepted <= 4


async def test_more_than_can_be_carried_is_refused_in_time_and_opens_nothing(
    redis_server: RedisServer, new_link: NewLink
) -> None:
    async with FaultProxy(redis_server.host, redis_server.port) as proxy:
        breaker = Breaker()
        link = new_link(proxy.url(redis_server.url()), connections=1, breaker=breaker, deadline=1.0)
        await link.ping()
        proxy.delay("to_client", 0.1)

        async with asyncio.timeout(PATIENCE):
            answers = await asyncio.gather(*(link.call("ECHO", "x") for _ in range(100)), return_exceptions=True)

        assert any(answer == b"x" for answer in answers)
        assert any(isinstance(answer, StoreUnavailable) for answer in answers)
        assert not breaker.is_open()


async def test_closing_leaves_no_connection_and_no_way_back(server: RedisServer, new_link: NewLink) -> None:
    link, watcher = new_link(server.url(), deadline=30), new_link(server.url(), deadline=30)
    await asyncio.gather(*(link.ping() for _ in range(50)))

    await asyncio.gather(link.close(), link.close())
    await link.close()

    with pytest.raises(StoreUnavailable):
        await link.ping()
    await healed(lambda: only_one_client(watcher))


async def only_one_client(link: RedisClient) -> None:
    if len((await link.call("CLIENT", "LIST")).splitlines()) != 1:
        raise StoreUnavailable


async def test_closing_under_load_ends_everything(server: RedisServer, new_link: NewLink) -> None:
    link, watcher = new_link(server.url(), deadline=30, connections=4), new_link(server.url(), deadline=30)
    await watcher.ping()
    calls = [asyncio.ensure_future(link.call("ECHO", f"{number}")) for number in range(100)]
    await asyncio.sleep(0.01)

    await link.close()

    for number, answer in enumerate(await asyncio.gather(*calls, return_exceptions=True)):
        assert answer == f"{number}".encode() or isinstance(answer, StoreUnavailable)
    await healed(lambda: only_one_client(watcher))


# --- servers that are gone, frozen or not themselves -----------------------------------------------------------------


async def test_a_killed_server_is_noticed_at_once_and_found_again(
    server: RedisServer, new_link: NewLink, signer: HmacSigner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ubr.redis")
    breaker = Breaker()
    link = new_link(server.url(), breaker=breaker)
    rate_limit_store = RedisRateLimitStore(link, signer)
    await healed(lambda: rate_limit_store.take("a", QUOTA))

    await asyncio.to_thread(server.kill)
    for _ in range(20):
        await refused(lambda: rate_limit_store.take("a", QUOTA))
    assert breaker.is_open()

    await asyncio.to_thread(server.restart)
    await healed(lambda: rate_limit_store.take("a", QUOTA))
    assert not breaker.is_open()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_frozen_server_gets_a_few_commands_and_then_none(
    server: RedisServer, new_link: NewLink, signer: HmacSigner
) -> None:
    clock = 0.0
    breaker = Breaker(clock=lambda: clock)
    rate_limit_store = RedisRateLimitStore(new_link(server.url(), breaker=breaker), signer)
    watcher = new_link(server.url(), deadline=30)
    await healed(lambda: rate_limit_store.take("a", QUOTA))

    await asyncio.to_thread(server.pause)
    for _ in range(5):
        await refused(lambda: rate_limit_store.take("a", QUOTA))
    assert breaker.is_open()
    # Until the next probe is due, nothing is sent.
    await asyncio.gather(*(refused(lambda: rate_limit_store.take("a", QUOTA)) for _ in range(400)))
    # Then one call is the probe.
    clock += 60
    await asyncio.gather(*(refused(lambda: rate_limit_store.take("a", QUOTA)) for _ in range(400)))

    await asyncio.to_thread(server.resume)
    clock += 60
    await healed(lambda: rate_limit_store.take("a", QUOTA))
    assert not breaker.is_open()
    assert await scripts_called(watcher) <= 1 + 5 + 1 + 1


async def scripts_called(link: RedisClient) -> int:
    """The number of calls of a script that the server has received, with those that nobody waited for."""
    answer = await link.call("INFO", "commandstats")
    assert isinstance(answer, bytes)
    return sum(int(found) for found in re.findall(rb"cmdstat_evalsha:calls=(\d+)", answer))


async def test_a_network_that_swallows_everything_is_as_a_frozen_server(
    redis_server: RedisServer, new_link: NewLink
) -> None:
    async with FaultProxy(redis_server.host, redis_server.port) as proxy:
        breaker = Breaker()
        link = new_link(proxy.url(redis_server.url()), breaker=breaker, connect_deadline=0.3)
        proxy.stall()
        for _ in range(8):
            await refused(link.ping)
        assert breaker.is_open()

        await proxy.heal()
        await healed(link.ping)

        await proxy.refuse()
        proxy.cut()
        for _ in range(8):
            await refused(link.ping)
        await proxy.heal()
        await healed(link.ping)


async def test_connections_that_died_at_rest_are_not_used(redis_server: RedisServer, new_link: NewLink) -> None:
    async with FaultProxy(redis_server.host, redis_server.port) as proxy:
        link = new_link(proxy.url(redis_server.url()), deadline=30)
        await asyncio.gather(*(link.ping() for _ in range(50)))
        proxy.cut()
        await asyncio.sleep(0.05)

        await asyncio.gather(*(link.ping() for _ in range(50)))


async def test_a_full_server_refuses_until_there_is_room(
    server: RedisServer, new_link: NewLink, signer: HmacSigner, caplog: pytest.LogCaptureFixture
) -> None:
    link = new_link(server.url(), deadline=30)
    rate_limit_store = RedisRateLimitStore(link, signer)
    assert (await rate_limit_store.take("a", QUOTA)).allowed
    await link.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await link.call("CONFIG", "SET", "maxmemory", 1)

    for _ in range(20):
        await refused(lambda: rate_limit_store.take("a", QUOTA))
    await link.ping()  # It answers, and what does not write still works.
    assert [record.message for record in caplog.records] == ["Redis refused a command: OutOfMemoryError"]

    await link.call("CONFIG", "SET", "maxmemory", 0)
    assert (await rate_limit_store.take("a", QUOTA)).allowed


async def test_a_server_that_throws_everything_away_begins_anew_each_time(
    server: RedisServer, new_link: NewLink, signer: HmacSigner
) -> None:
    link = new_link(server.url(), deadline=30)
    await link.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    await link.call("CONFIG", "SET", "maxmemory", "2mb")
    rate_limit_store = RedisRateLimitStore(link, signer)

    for number in range(2000):
        with suppress(StoreUnavailable):  # Too little even for one key.
            await rate_limit_store.take(f"{number}", QUOTA)


async def test_a_read_only_server_refuses_until_it_is_promoted(
    server: RedisServer, new_link: NewLink, signer: HmacSigner
) -> None:
    link = new_link(server.url(), deadline=30)
    rate_limit_store = RedisRateLimitStore(link, signer)
    await link.call("REPLICAOF", "127.0.0.1", free_port())

    await refused(lambda: rate_limit_store.take("a", QUOTA))

    await link.call("REPLICAOF", "NO", "ONE")
    assert (await rate_limit_store.take("a", QUOTA)).allowed


async def test_a_server_that_became_a_replica_is_left_by_every_connection(
    server: RedisServer, new_link: NewLink, signer: HmacSigner
) -> None:
    """Also by the one that listens, and those in use: the address leads to another server by now."""
    link = new_link(server.url(), deadline=30)
    rate_limit_store = RedisRateLimitStore(link, signer)
    await asyncio.gather(*(link.ping() for _ in range(5)))
    other = new_link(server.url(), deadline=30)

    async def ids() -> set[str]:
        told = (await other.call("CLIENT", "LIST")).decode()
        return {line.split()[0] for line in told.splitlines()} - {f"id={await other.call('CLIENT', 'ID')}"}

    async with link.kept_connection() as listening:
        await listening.send_command("SUBSCRIBE", "anything")
        await listening.read_response(push_request=True)
        before = await ids()
        assert len(before) >= 2
        # Not a command that blocks: the server itself ends those when it becomes a replica.
        async with link._pool.connection() as in_use:  # noqa: SLF001 - as a command that takes long
            await in_use.send_command("PING")
            await other.call("REPLICAOF", "127.0.0.1", free_port())
            await refused(lambda: rate_limit_store.take("a", QUOTA))
            assert await in_use.read_response() == b"PONG"
        with pytest.raises((ConnectionError, RedisConnectionError)):
            async with asyncio.timeout(10):
                await listening.read_response(push_request=True)
        async with asyncio.timeout(10):
            while before & await ids():  # noqa: ASYNC110 - the server is another process
                await asyncio.sleep(0.01)
    await other.call("REPLICAOF", "NO", "ONE")
    await healed(lambda: rate_limit_store.take("a", QUOTA))
    assert not before & await ids()


async def test_a_wrong_type_is_refused_for_that_key_alone(server: RedisServer, new_link: NewLink) -> None:
    link = new_link(server.url(), deadline=30)
    await link.call("SADD", "set", "member")

    for _ in range(20):
        await refused(lambda: link.call("GET", "set"))
        assert await link.call("ECHO", "x") == b"x"


async def test_a_password_is_needed_used_and_never_shown(
    private_redis: PrivateRedis, new_link: NewLink, caplog: pytest.LogCaptureFixture
) -> None:
    server = private_redis(settings={"requirepass": "canary@/:?#"})
    caplog.set_level(logging.DEBUG)
    good = new_link(server.url(), deadline=30)
    await good.ping()
    place = f"{server.host}:{server.port}"
    for credentials in ("", ":wrong-canary@", "user:canary@"):
        link = new_link(f"redis://{credentials}{place}")
        for _ in range(6):
            with pytest.raises(StoreUnavailable) as refused:
                await link.ping()
            assert refused.value.__suppress_context__ or refused.value.__context__ is None
            assert "canary" not in f"{refused.value!r}{refused.value}"
        assert "canary" not in repr(link)
    assert "does not answer (AuthenticationError)" in caplog.text
    assert "canary" not in caplog.text
    assert str(server.port) not in caplog.text


HELLO = b"%1\r\n+proto\r\n:3\r\n"
JUNK = {
    "nothing": b"",
    "a web server": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "zeros": bytes(1000),
    "half a reply": b"%7\r\n$6\r\nserver\r\n",
    "no map": b"+OK\r\n",
    "null": b"_\r\n",
    "deep": b"*1\r\n" * 10_000,
    "a huge length": b"$999999999999999999999\r\n",
    "not UTF-8": b"-\xff\xfe\r\n",
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "no password": b"-NOAUTH Authentication required.\r\n",
    "busy": b"-BUSY Redis is busy running a script\r\n",
    "too many": b"-ERR max number of clients reached\r\n",
    "too old": b"-ERR unknown command 'HELLO'\r\n",
    "moved": b"-MOVED 3999 127.0.0.1:6381\r\n",
}


@pytest.mark.parametrize("said", JUNK.values(), ids=JUNK.keys())
@pytest.mark.parametrize("greeted", [False, True], ids=["at once", "after the greeting"])
@pytest.mark.parametrize("credentials", ["", "user:password@"], ids=["anonymous", "with a password"])
async def test_whatever_it_says_it_is_unavailable(
    new_link: NewLink, said: bytes, greeted: bool, credentials: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if greeted:
            await request(reader)
            writer.write(HELLO)
        await request(reader)
        writer.write(said)
        await writer.drain()
        await reader.read()

    async with fake(answer) as url:
        link = new_link(url.replace("//", f"//{credentials}"), connect_deadline=0.2)
        script = RedisRateLimitStore(link, StubSigner())
        for _ in range(3):
            await refused(lambda: script.take("a", QUOTA))
        await link.close()


class StubSigner:
    def sign(self, purpose: str, message: bytes) -> bytes:
        return bytes(32)

    def verify(self, purpose: str, message: bytes, tag: bytes) -> bool:
        return True


async def test_a_reply_nobody_asked_for_is_given_to_nobody(new_link: NewLink) -> None:
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await request(reader)
        writer.write(HELLO)
        while True:
            said = (await request(reader))[1]
            writer.write(b"+" + said + b"\r\n+stray\r\n")

    async with fake(answer) as url:
        link = new_link(url, deadline=30)
        for number in range(20):
            assert await link.call("ECHO", f"{number}") == f"{number}".encode()
        assert connections == 20


async def test_a_handshake_longer_than_the_deadline_comes_to_its_end(new_link: NewLink) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        await asyncio.sleep(0.3)
        writer.write(HELLO)
        while True:
            writer.write(b"+" + (await request(reader))[1] + b"\r\n")

    async with fake(answer) as url:
        link = new_link(url, connections=1)
        await refused(lambda: link.call("ECHO", "x"))
        await healed(lambda: link.call("ECHO", "x"))


async def test_a_truncated_reply_is_not_a_reply(redis_server: RedisServer, new_link: NewLink) -> None:
    async with FaultProxy(redis_server.host, redis_server.port) as proxy:
        link = new_link(proxy.url(redis_server.url()), connections=1, breaker=never_opens(), deadline=5)
        for count in range(12):  # b"$5\r\nhello\r\n" is eleven bytes.
            await link.ping()
            proxy.cut_after(count, "to_client")
            if count < 11:
                await refused(lambda: link.call("ECHO", "hello"))
            else:
                assert await link.call("ECHO", "hello") == b"hello"
            await proxy.heal()


# --- no answer of somebody else --------------------------------------------------------------------------------------


async def crossed(server: RedisServer, new_link: NewLink, *, commands: int, enough: int, seed: int) -> dict[str, int]:
    """Ask in parallel through a slow network, giving up at random; what came of it.

    On a machine that is busy most answers come too late: then it goes on until there are enough that did not.
    """
    dice = random.Random(seed)  # noqa: S311
    outcomes = {"right": 0, "wrong": 0, "refused": 0, "cancelled": 0}
    asked_in_all = 0
    async with FaultProxy(server.host, server.port, seed=seed) as proxy:
        # Some answers come later than the deadline: giving up by time is the same danger as being cancelled.
        link = new_link(proxy.url(server.url()), breaker=never_opens(), deadline=0.06, connect_deadline=5)
        proxy.delay("to_client", 0.0, 0.02)
        proxy.delay("to_server", 0.0, 0.02)

        async def ask(number: int) -> None:
            asked = f"{number}-{dice.random()}".encode()
            try:
                answer = await link.call("ECHO", asked)
            except StoreUnavailable:
                outcomes["refused"] += 1
            else:
                outcomes["right" if answer == asked else "wrong"] += 1

        async def worker(numbers: range) -> None:
            nonlocal asked_in_all
            for number in numbers:
                if number >= commands and min(outcomes["right"], outcomes["cancelled"]) >= enough:
                    return
                asked_in_all += 1
                task = asyncio.ensure_future(ask(number))
                if dice.random() < 0.3:
                    await asyncio.wait([task], timeout=dice.uniform(0, 0.04))
                    task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    outcomes["cancelled"] += 1

        await asyncio.gather(*(worker(range(start, 20 * commands, 24)) for start in range(24)))
        await proxy.heal()
        # None of the connections that are left is spoilt, and none is lost.
        for _ in range(3):
            answers = await asyncio.gather(
                *(link.call("ECHO", f"{number}") for number in range(16)), return_exceptions=True
            )
            assert all(
                answer == f"{number}".encode() or isinstance(answer, StoreUnavailable)
                for number, answer in enumerate(answers)
            )
    assert sum(outcomes.values()) == asked_in_all
    return outcomes


async def test_every_answer_belongs_to_its_caller(redis_server: RedisServer, new_link: NewLink) -> None:
    outcomes = await crossed(redis_server, new_link, commands=600, enough=51, seed=1)

    assert outcomes["wrong"] == 0
    assert min(outcomes["right"], outcomes["cancelled"]) > 50


@pytest.mark.long
async def test_every_answer_of_very_many_belongs_to_its_caller(server: RedisServer, new_link: NewLink) -> None:
    outcomes = await crossed(server, new_link, commands=10_000, enough=1001, seed=2)

    assert outcomes["wrong"] == 0
    assert min(outcomes["right"], outcomes["cancelled"]) > 1000


async def test_callers_who_give_up_at_any_moment_lose_no_connection(
    redis_server: RedisServer, new_link: NewLink
) -> None:
    link = new_link(redis_server.url(), connections=2, deadline=30)
    for steps in list(range(12)) * 20:
        tasks = [asyncio.ensure_future(link.call("ECHO", f"{number}")) for number in range(5)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for number, answer in enumerate(answers):
            assert answer == f"{number}".encode() or isinstance(answer, asyncio.CancelledError)
            assert number % 2 == 0 or answer == f"{number}".encode()


@pytest.mark.long
async def test_a_server_killed_and_frozen_again_and_again(server: RedisServer, new_link: NewLink) -> None:
    link = new_link(server.url())
    wrong: list[object] = []
    over = False

    async def ask(worker: int) -> None:
        number = 0
        while not over:
            number += 1
            asked = f"{worker}/{number}".encode()
            async with asyncio.timeout(PATIENCE):
                with suppress(StoreUnavailable):
                    answer = await link.call("ECHO", asked)
                    if answer != asked:
                        wrong.append(answer)
            await asyncio.sleep(0.002)

    asking = [asyncio.ensure_future(ask(worker)) for worker in range(8)]
    for _ in range(8):
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.restart)
        await healed(link.ping)
        await asyncio.to_thread(server.pause)
        await asyncio.sleep(1)
        await asyncio.to_thread(server.resume)
        await healed(link.ping)
    over = True
    await asyncio.gather(*asking)

    assert wrong == []


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for this machine that nobody has signed but itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime(2020, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@asynccontextmanager
async def behind_tls(server: RedisServer, certificate: Path) -> AsyncIterator[int]:
    """The port of something that takes TLS off and passes the rest on to the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner = await asyncio.open_connection(server.host, server.port)
        await asyncio.gather(pump(reader, inner), pump(inner_reader, writer))
        for end in (inner, writer):
            with suppress(OSError):
                await end.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


async def test_tls_is_spoken_with_servers_that_are_trusted_alone(
    redis_server: RedisServer, new_link: NewLink, certificate: Path
) -> None:
    async with behind_tls(redis_server, certificate) as port:
        trusting = new_link(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}", deadline=30, connect_deadline=30)
        await asyncio.gather(*(trusting.ping() for _ in range(20)))
        await trusting.close()

        for url in (
            f"rediss://127.0.0.1:{port}",  # signed by nobody we know
            f"rediss://localhost:{port}?ssl_ca_certs={certificate}",  # another name
            f"rediss://127.0.0.1:{redis_server.port}",  # no TLS there
            f"redis://127.0.0.1:{port}",  # no TLS here
        ):
            link = new_link(url, deadline=2, connect_deadline=1)
            await refused(link.ping)
            await link.close()
