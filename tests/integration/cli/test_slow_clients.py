"""`ubr serve` beside clients that do not read, and clients that do not finish a request."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.cli.kit import Serve
from tests.support.service import UbrProcess
from ubr.entrypoints.http.files import assets_revision

pytestmark = pytest.mark.system

LIMIT = 8
ASSET = f"GET /api/docs/{assets_revision()}/swagger-ui-bundle.js HTTP/1.1\r\nHost: ubr\r\n\r\n".encode()
BEGINNING = b"GET / HTTP/1.1\r\n"
SHORT = b"GET /health/live HTTP/1.1\r\nHost: ubr\r\n\r\n"


@pytest.fixture
def few(serve: Serve) -> UbrProcess:
    """A service with few connections."""
    limits = {"UBR_MAX_CONNECTIONS": "32", "UBR_MAX_CONNECTIONS_PER_CLIENT": str(LIMIT)}
    return serve(**limits).wait_until_ready()


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """Connections that stay open until the end of the test."""
    with ExitStack() as stack:
        yield stack


def connect(service: UbrProcess, held: ExitStack, sent: bytes, source: str = "127.0.0.1") -> socket.socket:
    connection = held.enter_context(socket.socket())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.bind((source, 0))
    connection.connect(("127.0.0.1", service.port))
    connection.sendall(sent)
    return connection


def ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except ConnectionResetError:
        return True


def answered(connection: socket.socket) -> bool:
    """Whether the next response is a 200. Reads all of it."""
    data = b""
    while not data.endswith(b"}"):
        received = connection.recv(4096)
        if not received:
            return False
        data += received
    return data.startswith(b"HTTP/1.1 200 ")


def descriptors(process: int) -> int:
    """The number of its open file descriptors."""
    return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())


def answer_to_another(service: UbrProcess) -> bytes:
    """The first line of a response to a client with another IP address."""
    with socket.create_connection(("127.0.0.1", service.port), 60, source_address=("127.0.0.2", 0)) as connection:
        connection.sendall(b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: ubr\r\nConnection: close\r\n\r\n")
        with connection.makefile("rb") as answer:
            return answer.readline()


@pytest.mark.system(seconds=11)
def test_half_open_connections_beyond_the_limit_end_and_others_are_answered(few: UbrProcess, held: ExitStack) -> None:
    connections = [connect(few, held, BEGINNING) for _ in range(5 * LIMIT)]
    assert answer_to_another(few) == b"HTTP/1.1 200 OK\r\n"
    # The last ones end by the time limit for a head, long before the limit for unused connections.
    assert all(ended(connection) for connection in connections)


@pytest.mark.system(seconds=11)
def test_an_unused_connection_stays_longer_than_one_with_half_a_request(few: UbrProcess, held: ExitStack) -> None:
    unused = connect(few, held, SHORT, "127.0.0.2")
    assert answered(unused)
    assert ended(connect(few, held, BEGINNING))
    unused.sendall(SHORT)
    assert answered(unused)


def test_clients_that_do_not_read_leave_connections_to_others(few: UbrProcess, held: ExitStack) -> None:
    connections = [connect(few, held, ASSET) for _ in range(5 * LIMIT)]
    assert answer_to_another(few) == b"HTTP/1.1 200 OK\r\n"
    first = [connection.recv(12, socket.MSG_WAITALL) for connection in connections]
    # Some of the refused may have been closed as unused before the client read the refusal.
    assert first.count(b"HTTP/1.1 200") == LIMIT
    assert first.count(b"HTTP/1.1 429") > 0


def test_a_client_that_reads_slowly_gets_the_whole_response(few: UbrProcess, held: ExitStack) -> None:
    connection = connect(few, held, ASSET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    with connection.makefile("rb") as answer:
        head = {}
        answer.readline()
        while line := answer.readline().strip():
            name, _, value = line.partition(b": ")
            head[name.lower()] = value
        body = answer.read()
    assert len(body) == int(head[b"content-length"]) > 1_000_000


def test_a_client_that_sends_nothing_takes_no_descriptor(few: UbrProcess, held: ExitStack) -> None:
    (worker,) = few.workers()
    before = descriptors(worker)
    for _ in range(5 * LIMIT):
        connect(few, held, b"")
    assert answer_to_another(few) == b"HTTP/1.1 200 OK\r\n"
    assert descriptors(worker) < before + LIMIT


@pytest.mark.parametrize(("soft", "hard", "allowed"), [(200, 256, 128), (256, 4096, 1024), (2048, 4096, 1024)])
def test_connections_leave_descriptors_for_databases(soft: int, hard: int, allowed: int) -> None:
    program = (
        "import resource; from ubr.entrypoints.cli.listener import allowed_connections; "
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard})); "
        "print(allowed_connections(1024), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()  # noqa: S603 - our own
    assert int(told[0]) == allowed
    assert int(told[1]) >= allowed + 128
