"""The time limits and the share of each client's connections, on real sockets; long responses to a slow reader."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import socket
import sqlite3
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.integration.http.kit import in_process, memory_settings
from tests.support.servers import free_port
from ubr.application.kernel.origin import Origin
from ubr.domain.errors import RateLimited
from ubr.entrypoints.http.app import HttpOptions
from ubr.entrypoints.http.connections import HEAD_SECONDS, UNREAD_SECONDS, Connections, Peer
from ubr.entrypoints.http.files import assets_revision

LIMIT = 3
REQUEST = b"GET / HTTP/1.1\r\nHost: ubr.test\r\n\r\n"
LONG = b"a" * 8_000_000


@dataclass
class Ends:
    """The two ends of a connection."""

    client: socket.socket
    server: socket.socket

    @property
    def peer(self) -> Peer:
        host, port = self.client.getsockname()
        return host, port

    def send(self, data: bytes) -> None:
        """From the client, until the server has it."""
        self.client.sendall(data)
        assert self.server.recv(len(data), socket.MSG_WAITALL) == data

    def wait_until_acknowledged(self) -> None:
        """The kernel of the client acknowledges received bytes some milliseconds later."""
        while struct.unpack("i", fcntl.ioctl(self.server, termios.TIOCOUTQ, bytes(4)))[0]:
            pass

    @property
    def is_open(self) -> bool:
        try:
            return self.client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False


@dataclass
class Wire:
    """A listening socket, its connections, and a clock that a test moves."""

    trusted: Any = ()
    now: float = 1000.0
    stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.connections = Connections(LIMIT, self.trusted, lambda: self.now)

    def connect(self, source: str = "127.0.0.1") -> Ends:
        client = socket.create_connection(self.listener.getsockname(), source_address=(source, 0))
        server, _ = self.listener.accept()
        return Ends(self.stack.enter_context(client), self.stack.enter_context(server))

    def exchange(self, ends: Ends) -> AbstractContextManager[RateLimited | None]:
        """A request that runs."""
        return self.connections.exchange(ends.peer, Origin(ip=ends.peer[0]))

    def ask(self, ends: Ends) -> None:
        """A request and its response, which the client reads."""
        ends.send(REQUEST)
        with self.exchange(ends):
            ends.server.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert ends.client.recv(100).startswith(b"HTTP/1.1 204")
        ends.wait_until_acknowledged()

    def look(self, *, after: float = 0) -> int:
        self.now += after
        return self.connections.look(self.listener.getsockname()[1])


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    with made.stack:
        yield made


def lowest_free() -> int:
    """The number that the next open file gets."""
    number = os.dup(0)
    os.close(number)
    return number


def beginning(wire: Wire, ends: Ends) -> None:
    ends.send(REQUEST[:10])


def beginning_another(wire: Wire, ends: Ends) -> None:
    wire.ask(ends)
    wire.look()
    ends.send(REQUEST[:10])


def silent(wire: Wire, ends: Ends) -> None:
    pass


@pytest.mark.parametrize("act", [silent, beginning, beginning_another])
def test_a_connection_without_a_whole_request_ends_after_the_limit(wire: Wire, act: Callable[..., None]) -> None:
    ends = wire.connect()
    act(wire, ends)
    assert wire.look() == 0
    assert wire.look(after=HEAD_SECONDS) == 0
    assert ends.is_open
    assert wire.look(after=1) == 0
    assert wire.look() == 1
    assert not ends.is_open


def test_a_request_that_arrived_before_a_pause_of_the_process_stays(wire: Wire) -> None:
    ends = wire.connect()
    wire.ask(ends)
    wire.look()
    ends.send(REQUEST)
    wire.look()
    assert wire.look(after=HEAD_SECONDS + 1) == 0
    with wire.exchange(ends):
        assert wire.look() == 0
    assert wire.look() == 0
    assert ends.is_open


def test_a_process_that_may_open_no_more_files_keeps_its_connections(wire: Wire) -> None:
    ends, slow = wire.connect(), wire.connect()
    wire.ask(ends)
    wire.look()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Directories can still be listed when the limit is reached one file later.
    for room in (0, 1):
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free() + room, before[1]))
        try:
            assert wire.look(after=HEAD_SECONDS + 1) == 0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert [wire.look(), wire.look()] == [0, 1]
    wire.look(after=HEAD_SECONDS + 1)
    assert (ends.is_open, slow.is_open) == (True, False)


class FailingOnce(Connections):
    """The first look fails."""

    looks: ClassVar[int] = 0

    def look(self, port: int) -> int:
        FailingOnce.looks += 1
        if FailingOnce.looks == 1:
            raise OSError
        return 0


def test_a_look_that_fails_is_not_the_last_one() -> None:
    async def watch() -> None:
        with pytest.raises(OSError):  # noqa: PT011 - it has no text
            FailingOnce(LIMIT).watch(asyncio.get_running_loop(), 1)
        async with asyncio.timeout(30):
            while FailingOnce.looks < 3:  # noqa: ASYNC110 - the loop counts them
                await asyncio.sleep(0.01)

    asyncio.run(watch())


def test_bytes_of_a_head_one_by_one_do_not_extend_the_limit(wire: Wire) -> None:
    ends = wire.connect()
    wire.look()
    for number in range(int(HEAD_SECONDS)):
        ends.send(REQUEST[number : number + 1])
        assert wire.look(after=1) == 0
    assert wire.look(after=1) == 0
    assert wire.look() == 1


def test_an_unused_connection_stays(wire: Wire) -> None:
    ends = wire.connect()
    for _ in range(3):
        wire.ask(ends)
        wire.look()
        assert wire.look(after=HEAD_SECONDS + UNREAD_SECONDS) == 0
    assert ends.is_open


def test_a_connection_with_a_running_request_stays(wire: Wire) -> None:
    ends = wire.connect()
    ends.send(REQUEST)
    with wire.exchange(ends):
        wire.look()
        assert wire.look(after=HEAD_SECONDS + UNREAD_SECONDS) == 0
    assert ends.is_open


def test_a_connection_whose_client_does_not_read_the_last_response_ends_after_the_limit(wire: Wire) -> None:
    ends = wire.connect()
    ends.send(REQUEST)
    with wire.exchange(ends):
        ends.server.setblocking(False)
        ends.server.send(LONG)
    wire.look()
    assert wire.look(after=UNREAD_SECONDS) == 0
    assert wire.look(after=1) == 0
    assert wire.look() == 1
    with pytest.raises(BrokenPipeError):
        ends.server.send(b"a")


def test_an_aborted_connection_ends_at_once(wire: Wire) -> None:
    ends, other = wire.connect(), wire.connect()
    with wire.exchange(ends), wire.exchange(other):
        wire.connections.abort(ends.peer)
        assert wire.look() == 1
    assert (ends.is_open, other.is_open) == (False, True)


def test_a_client_keeps_the_connections_that_it_used_last(wire: Wire) -> None:
    own = [wire.connect() for _ in range(LIMIT)]
    for ends in own:
        wire.ask(ends)
        wire.look(after=1)
    wire.ask(own[0])
    wire.look(after=1)
    newest = wire.connect()
    wire.ask(newest)
    assert wire.look(after=1) == 1
    assert [ends.is_open for ends in [*own, newest]] == [True, False, True, True]


def test_a_client_with_too_many_connections_loses_those_without_a_request(wire: Wire) -> None:
    busy = [wire.connect() for _ in range(LIMIT)]
    idle = [wire.connect() for _ in range(LIMIT)]
    other = [wire.connect("127.0.0.2") for _ in range(LIMIT)]
    with ExitStack() as running:
        for ends in busy:
            running.enter_context(wire.exchange(ends))
        assert wire.look() == 0, "their requests may have arrived and not started"
        assert wire.look(after=1) == LIMIT
    assert all(ends.is_open for ends in [*busy, *other])
    assert not any(ends.is_open for ends in idle)


@pytest.mark.parametrize("trusted", [(ip_network("127.0.0.0/8"),), 1], ids=["network", "hops"])
def test_a_trusted_proxy_may_have_more_connections(trusted: Any) -> None:
    wire = Wire(trusted)
    with wire.stack:
        own = [wire.connect() for _ in range(LIMIT * 2)]
        for _ in range(2):
            assert wire.look(after=1) == 0
        assert all(ends.is_open for ends in own)


def test_other_sockets_of_the_process_are_left_alone(wire: Wire) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            wire.connections.abort(client.getsockname())
            wire.look()
            assert Ends(client, server).is_open


# --- requests --------------------------------------------------------------------------------------------------------


def get(path: str, client: str = "127.0.0.9") -> Any:
    """A request as a server passes it on."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"ubr.test")],
        "client": (client, 4711),
    }


async def nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


@dataclass
class Taken:
    """The messages of a response. Without room for more, sending waits."""

    room: int = 10_000
    messages: list[Any] = field(default_factory=list)

    async def __call__(self, message: Any) -> None:
        if len(self.messages) == self.room:
            await asyncio.Event().wait()
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])


async def test_a_long_response_is_sent_in_parts() -> None:
    async with in_process(memory_settings(), HttpOptions()) as service:
        assert service.edge is not None
        taken = Taken()
        await service.edge(get(f"/api/docs/{assets_revision()}/swagger-ui-bundle.js"), nothing, taken)
    bodies = [message["body"] for message in taken.messages[1:]]
    length = next(value for name, value in taken.messages[0]["headers"] if name == b"content-length")
    assert sum(map(len, bodies)) == int(length) > 1_000_000
    assert max(map(len, bodies)) <= 16 * 1024
    assert [message["more_body"] for message in taken.messages[1:]] == [True] * (len(bodies) - 1) + [False]


async def test_a_response_that_the_client_does_not_read_ends_its_connection(wire: Wire) -> None:
    ends = wire.connect()
    options = HttpOptions(unread_seconds=0.1, connections=wire.connections)
    async with in_process(memory_settings(), options) as service:
        assert service.edge is not None
        taken = Taken(room=3)
        scope = get(f"/api/docs/{assets_revision()}/swagger-ui-bundle.js") | {"client": ends.peer}
        await service.edge(scope, nothing, taken)
    assert (taken.status, len(taken.messages)) == (200, 3)
    assert wire.look() == 1
    assert not ends.is_open


@pytest.mark.parametrize("kind", [int, str])
async def test_a_request_is_counted_for_its_connection(wire: Wire, kind: type) -> None:
    """A server may pass the port as text."""
    ends = wire.connect()
    host, port = ends.peer
    async with in_process(memory_settings(), HttpOptions(connections=wire.connections)) as service:
        assert service.edge is not None
        ends.send(REQUEST)
        await service.edge(get("/health/live") | {"client": (host, kind(port))}, nothing, Taken())
    assert [wire.look(after=HEAD_SECONDS + 1) for _ in range(3)] == [0, 0, 0]
    assert ends.is_open


async def test_a_client_with_too_many_running_requests_is_refused_and_others_are_not() -> None:
    connections = Connections(1)
    async with in_process(memory_settings(), HttpOptions(connections=connections)) as service:
        assert service.edge is not None
        with connections.exchange(("127.0.0.9", 1), Origin(ip="127.0.0.9")):
            refused, probe, other = Taken(), Taken(), Taken()
            await service.edge(get("/.well-known/jwks.json"), nothing, refused)
            await service.edge(get("/health/live"), nothing, probe)
            await service.edge(get("/.well-known/jwks.json", "127.0.0.8"), nothing, other)
        after = Taken()
        await service.edge(get("/.well-known/jwks.json"), nothing, after)
    assert [refused.status, probe.status, other.status, after.status] == [429, 200, 200, 200]
    headers = dict(refused.messages[0]["headers"])
    assert (headers[b"connection"], headers[b"retry-after"]) == (b"close", b"1")


def test_a_look_at_the_connections_leaves_the_locks_of_files_alone(tmp_path: Path) -> None:
    """Otherwise another process writes to an SQLite database in the middle of a transaction, and damages it."""
    path = tmp_path / "locked.db"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("CREATE TABLE t (x)")
    database.execute("BEGIN EXCLUSIVE")
    try:
        for _ in range(3):
            Connections(10).look(free_port())
        program = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603
    finally:
        database.close()
    assert "database is locked" in other.stderr
