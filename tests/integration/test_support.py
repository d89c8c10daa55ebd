"""The servers and the faulty network that other tests stand on do what they say."""

import asyncio
import gc
import os
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.support import commands
from tests.support.aws import Agent, DatabaseEndpoint, trust_socket
from tests.support.event_loop import Loop
from tests.support.mail import certificate
from tests.support.plugin import NewDatabase, PrivatePostgres, PrivateRedis
from tests.support.proxy import DIRECTIONS, Direction, FaultProxy
from tests.support.servers import PostgresServer, RedisServer, ServerError, find_postgres, find_redis, free_port
from ubr.adapters.aws.credentials import CredentialSource
from ubr.adapters.aws.passwords import database_password
from ubr.adapters.security.system import utc_now

pytestmark = pytest.mark.system

# AWS


async def test_an_endpoint_admits_an_issued_password_and_leads_to_the_standby(
    private_postgres: PrivatePostgres, tmp_path: Path
) -> None:
    primary = await asyncio.to_thread(private_postgres, durable=True)
    await asyncio.to_thread(trust_socket, primary)
    for statement in ("CREATE ROLE service LOGIN", "CREATE TABLE marks AS SELECT 1 AS number"):
        await asyncio.to_thread(primary.query, statement)
    await asyncio.to_thread(primary.query, "GRANT ALL ON marks TO service")
    standby = await asyncio.to_thread(primary.standby)
    owner = "the password of the owner"
    async with Agent() as agent, DatabaseEndpoint(tmp_path / "tls", agent, primary, "ubr", lambda: owner) as endpoint:
        trusted = ssl.create_default_context(cafile=str(endpoint.certificate))
        source = CredentialSource(agent.environment, utc_now)

        async def connected(user: str, password: str, **more: Any) -> Any:
            place: dict[str, Any] = {"host": "localhost", "port": endpoint.port, "database": "postgres", "ssl": trusted}
            return await asyncpg.connect(user=user, password=password, **{**place, **more})

        issued = await database_password("localhost", endpoint.port, "service", source)
        for user, password in (("service", owner), ("service", issued[:-1]), ("another", issued), ("ubr", issued)):
            with pytest.raises(asyncpg.InvalidPasswordError):
                await connected(user, password)
        assert len(endpoint.denied) == 4
        await (await connected("ubr", owner)).close()
        before = await connected("service", issued)
        await before.execute("INSERT INTO marks VALUES (2)")

        endpoint.vanish()
        await asyncio.to_thread(primary.kill)
        for attempt in (before.fetchval("SELECT 1", timeout=0.2), connected("service", issued, timeout=0.2)):
            with pytest.raises(TimeoutError):
                await attempt
        await asyncio.to_thread(standby.promote)
        endpoint.lead_to(standby)
        after = await connected("service", issued)
        assert await after.fetchval("SELECT sum(number) FROM marks") == 3
        await after.execute("INSERT INTO marks VALUES (3)")
        await after.close()
        before.terminate()
    await asyncio.to_thread(standby.stop)


# PostgreSQL


def test_the_shared_postgres_is_of_the_wanted_major(
    postgres_server: PostgresServer, request: pytest.FixtureRequest
) -> None:
    number = postgres_server.query("SHOW server_version_num")

    assert int(str(number)) // 10_000 == postgres_server.origin.major
    assert request.config.getoption("postgres_major") in (None, postgres_server.origin.major)


async def test_each_new_database_is_its_own(new_database: NewDatabase, postgres_server: PostgresServer) -> None:
    first, second = new_database(), new_database(migrated=False)
    names = [url.rpartition("/")[2] for url in (first, second)]

    postgres_server.query("CREATE TABLE only_here (id int)", database=names[0])

    assert first.startswith("postgresql+asyncpg://")
    assert postgres_server.query("SELECT to_regclass('only_here')::text", database=names[1]) is None
    assert set(names) <= set(postgres_server.databases())


@pytest.mark.long
def test_a_database_is_copied_and_dropped(private_postgres: PrivatePostgres) -> None:
    server = private_postgres()
    server.create_database("a")
    server.query("CREATE TABLE filled AS SELECT 7 AS number", database="a")

    server.create_database('b "copy"', template="a")

    assert server.query("SELECT number FROM filled", database='b "copy"') == 7
    server.drop_database('b "copy"')
    assert server.databases() == ["a", "postgres", "template0", "template1"]


@pytest.mark.long
async def test_a_committed_row_survives_kill(private_postgres: PrivatePostgres) -> None:
    server = private_postgres(durable=True)
    assert server.query("SHOW fsync") == "on"
    connection = await asyncpg.connect(server.dsn())
    await connection.execute("CREATE TABLE kept (id int)")
    await connection.execute("INSERT INTO kept VALUES (1)")
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("INSERT INTO kept VALUES (2)")

    server.kill()

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await transaction.commit()
    connection.terminate()
    assert not server.running
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        server.query("SELECT 1")
    url = server.url("postgres")
    server.restart()
    assert server.url("postgres") == url
    assert server.query("SELECT array_agg(id) FROM kept") == [1]
    assert "not properly shut down" in server.log()


@pytest.mark.long
async def test_a_paused_postgres_keeps_connections_and_does_not_answer(private_postgres: PrivatePostgres) -> None:
    server = private_postgres()
    connection = await asyncpg.connect(server.dsn())
    try:
        server.pause()
        answer = asyncio.ensure_future(connection.fetchval("SELECT 5"))
        done, _ = await asyncio.wait([answer], timeout=0.2)
        assert not done

        server.resume()

        assert await asyncio.wait_for(answer, 10) == 5
    finally:
        await connection.close()


@pytest.mark.long
def test_a_restart_takes_new_settings_and_keeps_data(private_postgres: PrivatePostgres) -> None:
    server = private_postgres(settings={"work_mem": "5MB"})
    server.query("CREATE TABLE kept (id int)")

    server.restart({"default_transaction_read_only": "on"})

    assert server.query("SHOW work_mem") == "5MB"
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        server.query("INSERT INTO kept VALUES (1)")


@pytest.mark.long
def test_stopping_leaves_nothing_behind(private_postgres: PrivatePostgres, private_redis: PrivateRedis) -> None:
    paused, redis = private_postgres(), private_redis()
    folders = [server.data_directory.parent for server in (paused, redis)]
    paused.pause()

    paused.stop()
    redis.stop()
    redis.stop()

    assert not any(folder.exists() for folder in folders)


# Redis


async def test_each_worker_has_an_empty_redis(clean_redis_url: str, redis_prefix: str) -> None:
    async with Redis.from_url(clean_redis_url) as client:
        assert await client.dbsize() == 0
        await client.set(f"{redis_prefix}a", "1")


async def test_the_next_test_finds_it_empty_again(clean_redis_url: str) -> None:
    async with Redis.from_url(clean_redis_url) as client:
        assert await client.dbsize() == 0


@pytest.mark.parametrize("kept", ["no", "yes"])
async def test_a_killed_redis_keeps_what_it_was_told_to(private_redis: PrivateRedis, kept: str) -> None:
    server = private_redis(settings={"appendonly": kept, "appendfsync": "always", "requirepass": "a:b/c"})
    async with Redis.from_url(server.url(3)) as client:
        await client.set("key", "value")

    server.kill()
    with pytest.raises(RedisError):
        server.flush()
    server.restart()

    async with Redis.from_url(server.url(3)) as client:
        assert await client.get("key") == (b"value" if kept == "yes" else None)
        await client.set("key", "value")
        server.flush()
        assert await client.get("key") is None


async def test_a_paused_redis_answers_when_resumed(private_redis: PrivateRedis) -> None:
    server = private_redis()
    async with Redis.from_url(server.url()) as client:
        await client.set("key", "value")
        server.pause()
        answer = asyncio.ensure_future(client.get("key"))
        done, _ = await asyncio.wait([answer], timeout=0.2)
        assert not done

        server.resume()

        assert await asyncio.wait_for(answer, 10) == b"value"


# The ladder


def test_a_server_that_is_not_ours_is_left_alone(postgres_server: PostgresServer, redis_server: RedisServer) -> None:
    for action in (postgres_server.kill, postgres_server.pause, redis_server.restart, redis_server.flush):
        with pytest.raises(ServerError, match="not ours"):
            action()
    postgres_server.stop()
    redis_server.stop()

    assert postgres_server.query("SELECT 1") == 1
    redis_server.url()


def test_a_url_is_the_first_rung(
    monkeypatch: pytest.MonkeyPatch, private_postgres: PrivatePostgres, private_redis: PrivateRedis
) -> None:
    postgres, redis = private_postgres(), private_redis()
    monkeypatch.setenv("UBR_TEST_POSTGRES_URL", postgres.dsn() + "?ssl=disable")
    monkeypatch.setenv("UBR_TEST_REDIS_URL", redis.url(5))

    given, given_redis = PostgresServer.start(), RedisServer.start()

    assert (given.origin.rung, given.origin.major) == (1, postgres.origin.major)
    assert given.url("x").endswith(f":{postgres.port}/x?ssl=disable")
    assert given.dsn("x").endswith("/x?sslmode=disable")
    assert (given_redis.origin.rung, given_redis.origin.version) == (1, redis.origin.version)
    assert given_redis.url() == redis.url(5)
    with pytest.raises(ServerError, match="PostgreSQL 3 is wanted"):
        PostgresServer.start(3)


@pytest.mark.parametrize(("given", "find"), [("postgres", find_postgres), ("redis", find_redis)])
def test_without_a_rung_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str, find: object
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tests.support.servers._debian_directories", list)
    monkeypatch.setattr("tests.support.servers._installed", lambda module: None)
    assert callable(find)

    with pytest.raises(ServerError, match=rf"No \w+ here: .*install .*, or let UBR_TEST_{given.upper()}_URL"):
        find(install=True)


def test_a_major_that_is_nowhere_is_named() -> None:
    with pytest.raises(ServerError, match="No PostgreSQL 3 here: install postgresql-3 "):
        find_postgres(3)


@pytest.mark.long
def test_servers_end_with_a_process_that_is_killed() -> None:
    script = """
import sys, time
from tests.support.servers import PostgresServer, RedisServer
servers = PostgresServer.start(private=True), RedisServer.start(private=True)
servers[0].pause()
print(*[server.data_directory.parent for server in servers], flush=True)
time.sleep(600)
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        folders = [Path(word) for word in process.stdout.readline().split()]
        existed = [folder.exists() for folder in folders]
        process.kill()

    deadline = time.monotonic() + commands.PATIENCE
    while any(folder.exists() for folder in folders) and time.monotonic() < deadline:
        time.sleep(0.01)

    assert existed == [True, True]
    assert not any(folder.exists() for folder in folders)


# The proxy


@asynccontextmanager
async def echo(seed: int = 0) -> AsyncIterator[FaultProxy]:
    """A proxy in front of a server that sends back what it gets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, FaultProxy(*server.sockets[0].getsockname(), seed=seed) as proxy:
        yield proxy


@asynccontextmanager
async def connected(proxy: FaultProxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def sent(proxy: FaultProxy, data: bytes) -> bytes:
    """What comes back of this until the connection ends."""
    received = b""
    async with connected(proxy) as (reader, writer):
        with suppress(OSError):  # A cut may come at any of these lines.
            writer.write(data)
            writer.write_eof()
            while part := await asyncio.wait_for(reader.read(65536), 10):
                received += part
    return received


async def test_without_a_fault_everything_passes() -> None:
    async with echo() as proxy:
        data = os.urandom(3_000_000)

        assert await sent(proxy, data) == data
        assert proxy.passed == {"to_server": len(data), "to_client": len(data)}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("count", [0, 1, 9, 10])
async def test_a_cut_lets_exactly_so_many_bytes_pass(direction: Direction, count: int) -> None:
    async with echo() as proxy:
        proxy.cut_after(count, direction)

        received = await sent(proxy, b"0123456789")

        assert proxy.passed[direction] == count
        assert proxy.cuts == 1
        if direction == "to_client":
            assert received == b"0123456789"[:count]
        assert await sent(proxy, b"once") == b"once"


async def test_a_cut_can_happen_every_time() -> None:
    async with echo() as proxy:
        proxy.cut_after(2, "to_client", times=None)

        assert [await sent(proxy, b"abc") for _ in range(3)] == [b"ab"] * 3

        await proxy.heal()
        assert await sent(proxy, b"abc") == b"abc"


async def test_a_pattern_in_two_pieces_is_cut_as_well() -> None:
    async with echo() as proxy, connected(proxy) as (reader, writer):
        proxy.cut_on(b"COMMIT")
        writer.write(b"abcCOM")
        assert await reader.readexactly(6) == b"abcCOM"

        writer.write(b"MIT;")

        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await asyncio.wait_for(reader.readexactly(1), 10)
        assert proxy.passed["to_server"] == 6


async def test_delays_follow_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = asyncio.sleep
    drawn: list[float] = []

    async def noted(seconds: float) -> None:
        drawn.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", noted)

    async def delays(seed: int) -> list[float]:
        drawn.clear()
        async with echo(seed) as proxy:
            proxy.delay("to_server", 0.01, 0.05)
            begun = time.perf_counter()
            for _ in range(3):
                assert await sent(proxy, b"x") == b"x"
            assert time.perf_counter() - begun >= sum(drawn)
        return [seconds for seconds in drawn if seconds]  # the others are turns of the event loop

    first, again, other = await delays(4), await delays(4), await delays(5)

    assert len(first) == 3
    assert all(0.01 <= seconds <= 0.05 for seconds in first)
    assert first == again != other


async def test_a_stall_holds_back_until_healed() -> None:
    async with echo() as proxy, connected(proxy) as (reader, writer):
        proxy.stall("to_client")
        writer.write(b"held")
        answer = asyncio.ensure_future(reader.readexactly(4))
        done, _ = await asyncio.wait([answer], timeout=0.1)
        assert not done

        await proxy.heal()

        assert await asyncio.wait_for(answer, 10) == b"held"


async def test_refusing_spares_connections_there_are() -> None:
    async with echo() as proxy, connected(proxy) as (reader, writer):
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"

        await proxy.refuse()

        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"b")
        assert await reader.readexactly(1) == b"b"
        await proxy.heal()
        assert await sent(proxy, b"c") == b"c"
        proxy.cut()
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_a_server_that_is_down_ends_the_connection() -> None:
    async with FaultProxy("127.0.0.1", free_port()) as proxy:
        assert await sent(proxy, b"x") == b""


@pytest.mark.parametrize("answered", [False, True])
async def test_a_commit_is_lost_before_or_after_it_counts(
    new_database: NewDatabase, postgres_server: PostgresServer, answered: bool
) -> None:
    name = new_database(migrated=False).rpartition("/")[2]
    postgres_server.query("CREATE TABLE kept (id int)", database=name)
    async with FaultProxy(postgres_server.host, postgres_server.port) as proxy:
        connection = await asyncpg.connect(proxy.url(postgres_server.dsn(name)))
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("INSERT INTO kept VALUES (1)")

        proxy.cut_on(b"COMMIT", answered=answered)

        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await transaction.commit()
        connection.terminate()
    assert postgres_server.query("SELECT count(*) FROM kept", database=name) == int(answered)


# The event loop


def test_the_loop_leaves_no_connection_that_waits_for_the_end_of_tls(tmp_path: Path) -> None:
    tls = certificate(tmp_path, "127.0.0.1")

    async def connect(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await writer.start_tls(tls.client)
        assert await reader.read(1) == b"!"
        writer.close()

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def greet() -> ssl.SSLSocket:
            """Greets, and never answers the message that ends TLS."""
            accepted = tls.server.wrap_socket(listener.accept()[0], server_side=True)
            accepted.sendall(b"!")
            return accepted

        server = pool.submit(greet)
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(connect(listener.getsockname()[1]))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gc.collect()
        server.result().close()

    assert [str(each.message) for each in caught if "unclosed transport" in str(each.message)] == []


def test_a_shell_runs_commands_in_forks_that_differ_in_nothing(tmp_path: Path) -> None:
    """The exit status, the error output, the streams and the variables are those of the console script."""
    lines = ['UBR_SECRET_KEY=short ubr config || echo "status $?"', "ubr keys nonsense 2>&1 | cat", "ubr nonsense"]
    warm, script = (commands.shell(*lines, folder=tmp_path, script=script) for script in (False, True))
    assert (warm.returncode, warm.stdout, warm.stderr) == (script.returncode, script.stdout, script.stderr)
    assert warm.returncode == 2
    assert "status 2" in warm.stdout
    assert "nonsense" in warm.stdout
    assert "nonsense" in warm.stderr


def test_a_port_is_reserved_for_one_process_of_tests() -> None:
    """Two services that start on one port would share its connections."""
    port = free_port()
    program = (
        "from tests.support import servers\n"
        f"numbers = iter([{port - 15_000}, {port - 15_000}])\n"
        "draw = servers.secrets.randbelow\n"
        "servers.secrets.randbelow = lambda end: next(numbers, None) or draw(end)\n"
        "print(servers.free_port())"
    )
    found = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) != port
