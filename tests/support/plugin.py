"""The pytest side of the servers: started on first use, shared by all workers, stopped with the run.

With xdist, the workers ask the controller over a socket, so one process owns the servers and ends them; a run without
workers asks itself. Each worker has its own database, copied from one that was migrated once, and its own numbered
Redis database.
"""

import fcntl
import inspect
import os
import secrets
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import pytest

from tests.support.reaper import reaper
from tests.support.servers import (
    DATABASES,
    Kind,
    Origin,
    PgBouncer,
    PostgresServer,
    RedisServer,
    ServerError,
    find_postgres,
    find_redis,
    run,
)

Product = Literal["postgres", "redis"]
Migrate = Callable[[str], object]


class Desk(Protocol):
    """The interface for requesting servers."""

    run_id: str
    folder: Path

    def ask(self, product: Product) -> tuple[str, Origin]:
        """The address of the shared server, which the first call starts."""

    def note(self, origin: Origin) -> None:
        """Name a server in the report that a test started for itself."""


class Controller:
    """The desk itself, in the process that owns the shared servers."""

    def __init__(self, major: int | None) -> None:
        self.run_id = f"ubr_test_{secrets.token_hex(4)}"
        self.folder = Path(tempfile.mkdtemp(prefix="ubr-run-"))
        self.major = major
        self.postgres: PostgresServer | None = None
        self.redis: RedisServer | None = None
        self.failures: dict[Product, str] = {}
        self.private: Counter[Origin] = Counter()
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None

    def ask(self, product: Product) -> tuple[str, Origin]:
        with self._lock:
            if product in self.failures:  # not again for every test
                raise ServerError(self.failures[product])
            reaper.watch(self.folder)
            try:
                if product == "postgres":
                    self.postgres = self.postgres or PostgresServer.start(self.major)
                    return self.postgres.dsn(), self.postgres.origin
                self.redis = self.redis or RedisServer.start()
                return self.redis.url(), self.redis.origin
            except Exception as error:
                self.failures[product] = f"{error}" if isinstance(error, ServerError) else f"{error!r}"
                raise

    def note(self, origin: Origin) -> None:
        with self._lock:
            self.private[origin] += 1

    @property
    def socket(self) -> str:
        """The address for workers."""
        path = str(self.folder / "desk")
        if self._listener is None:
            self._listener = Listener(path, "AF_UNIX")  # in a folder that only this user may enter
            self._thread = threading.Thread(target=self._serve, args=(self._listener,), daemon=True)
            self._thread.start()
        return path

    def _serve(self, listener: Listener) -> None:
        while True:
            # xdist reports a worker that dies while asking.
            with suppress(EOFError, OSError), listener.accept() as connection:
                wish = connection.recv()
                if wish is None:
                    return
                if isinstance(wish, Origin):
                    self.note(wish)
                    connection.send(None)
                    continue
                try:
                    connection.send(self.ask(wish))
                except Exception as error:  # noqa: BLE001 - the worker raises it
                    connection.send(f"{error}")

    def close(self) -> None:
        if self._listener is not None and self._thread is not None:
            with Client(self.socket, "AF_UNIX") as connection:
                connection.send(None)
            self._thread.join()
            self._listener.close()
        with ExitStack() as stack:
            stack.callback(reaper.forget, self.folder) if self.postgres or self.redis or self.failures else None
            stack.callback(shutil.rmtree, self.folder)
            for server in (self.postgres, self.redis):
                if server is not None:
                    stack.callback(server.stop)
            if self.postgres is not None and self.postgres.origin.rung == 1:
                for name in self.postgres.databases():
                    if name.startswith(self.run_id):
                        stack.callback(self.postgres.drop_database, name)

    def header(self) -> list[str]:
        """The expected rungs of the ladder, as far as known before the start of a server."""
        lines = []
        for name, variable, find in (
            ("postgres", "UBR_TEST_POSTGRES_URL", partial(find_postgres, self.major)),
            ("redis", "UBR_TEST_REDIS_URL", partial(find_redis, None)),
        ):
            try:
                what = f"rung 1: {variable}" if os.environ.get(variable) else str(find().origin)
            except ServerError:
                what = "none up to rung 3"
            lines.append(f"{name}: {what}")
        return lines

    def summary(self) -> list[str]:
        """The servers used."""
        lines = [f"shared: {server.origin}" for server in (self.postgres, self.redis) if server is not None]
        lines += [f"private ({count}): {origin}" for origin, count in self.private.items()]
        lines += [f"no {product}: {why}" for product, why in self.failures.items()]
        return lines


class Worker:
    """The desk as seen by an xdist worker."""

    def __init__(self, told: dict[str, str]) -> None:
        self.run_id = told["run_id"]
        self.folder = Path(told["folder"])
        self._socket = told["socket"]

    def ask(self, product: Product) -> tuple[str, Origin]:
        answer = self._send(product)
        if isinstance(answer, str):
            raise ServerError(answer)
        return cast("tuple[str, Origin]", answer)

    def note(self, origin: Origin) -> None:
        self._send(origin)

    def _send(self, wish: object) -> object:
        with Client(self._socket, "AF_UNIX") as connection:
            connection.send(wish)
            answer: object = connection.recv()
            return answer


_desk = pytest.StashKey[Desk]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ubr")
    group.addoption("--postgres-major", type=int, default=None, help="the major version of PostgreSQL to test with")
    group.addoption("--pictures", type=Path, help="a folder for pictures of pages")
    group.addoption("--pgbouncer", choices=["session", "transaction"], help="put a PgBouncer in front of PostgreSQL")


def pytest_configure(config: pytest.Config) -> None:
    told = getattr(config, "workerinput", None)
    config.stash[_desk] = Worker(told["ubr_desk"]) if told else Controller(config.getoption("postgres_major"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    desk = node.config.stash[_desk]
    node.workerinput["ubr_desk"] = {"run_id": desk.run_id, "folder": str(desk.folder), "socket": desk.socket}


def pytest_unconfigure(config: pytest.Config) -> None:
    desk = config.stash.get(_desk, None)
    if isinstance(desk, Controller):
        desk.close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    desk = config.stash[_desk]
    return desk.header() if isinstance(desk, Controller) else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    desk = config.stash[_desk]
    lines = desk.summary() if isinstance(desk, Controller) else []
    if lines:
        terminalreporter.section("servers")
        for line in lines:
            terminalreporter.line(line)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use a private server as system tests, keep those together that share a fixture of their module,
    and run the longest tests first.

    Runs before -m is evaluated. A long test that starts late keeps one worker busy while the others are idle. With
    `--dist loadgroup` one worker runs the tests of a group, so that a service or a browser of a module starts once.
    """
    for item in items:
        if {"private_postgres", "private_redis"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("system")
        if _shares_a_fixture(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    items.sort(key=_seconds, reverse=True)


def _shares_a_fixture(item: pytest.Item) -> bool:
    """True if it uses a fixture that is made once for its module."""
    fixtures = getattr(item, "_fixtureinfo", None)
    return fixtures is not None and any(
        fixture.scope == "module" for found in fixtures.name2fixturedefs.values() for fixture in found
    )


def _seconds(item: pytest.Item) -> float:
    """The duration of a test, from its mark; 0 without one."""
    return max((float(mark.kwargs.get("seconds", 0)) for mark in item.iter_markers("system")), default=0.0)


@pytest.fixture(scope="session")
def desk(request: pytest.FixtureRequest) -> Desk:
    return request.config.stash[_desk]


@pytest.fixture(scope="session")
def worker(request: pytest.FixtureRequest) -> int:
    """The number of this xdist worker; 0 also without xdist."""
    told = getattr(request.config, "workerinput", None)
    return int(told["workerid"].removeprefix("gw")) if told else 0


@pytest.fixture(scope="session")
def postgres_server(desk: Desk) -> PostgresServer:
    """The shared PostgreSQL. Tests may create databases; to kill or freeze a server, use `private_postgres`."""
    return PostgresServer(*desk.ask("postgres"))


@pytest.fixture(scope="session")
def redis_server(desk: Desk) -> RedisServer:
    """The shared Redis; to kill, freeze or empty a server, use `private_redis`."""
    return RedisServer(*desk.ask("redis"))


@pytest.fixture(scope="session")
def migrate() -> Migrate | None:
    """The function that migrates an empty database, given by its URL; a conftest.py provides the real one."""
    return None


@pytest.fixture(scope="session")
def migrated_template(desk: Desk, postgres_server: PostgresServer, migrate: Migrate | None) -> str:
    """The name of the template database, migrated once in a run."""
    name = f"{desk.run_id}_template"
    done = desk.folder / "template-done"
    with (desk.folder / "template-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released automatically if this worker dies
        if not done.exists():
            postgres_server.drop_database(name)  # half finished by a worker that failed
            url = postgres_server.create_database(name)
            result = migrate(url) if migrate else None
            if inspect.isawaitable(result):
                run(_finish(result))
            done.touch()
    return name


async def _finish(result: Awaitable[object]) -> None:
    await result


@pytest.fixture(scope="session")
def through_pgbouncer(
    desk: Desk, postgres_server: PostgresServer, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], str]]:
    """Turns the URL of a database into the one that tests use: through a PgBouncer if one was requested."""
    mode = request.config.getoption("pgbouncer")
    if mode is None:
        yield lambda url: url
        return
    with PgBouncer.start(postgres_server, mode) as bouncer:
        desk.note(bouncer.origin)
        options = {"prepared_statement_cache_size": "0"} if mode == "transaction" else {}
        yield lambda url: bouncer.through(url, **options)


@pytest.fixture(scope="session")
def database_url(
    desk: Desk,
    worker: int,
    postgres_server: PostgresServer,
    migrated_template: str,
    through_pgbouncer: Callable[[str], str],
) -> str:
    """A migrated database shared by all tests of this worker; each test finds the data of the previous one."""
    return through_pgbouncer(postgres_server.create_database(f"{desk.run_id}_{worker}", migrated_template))


class NewDatabase(Protocol):
    def __call__(self, *, migrated: bool = True) -> str:
        """Create a database for this test and return its URL."""


@pytest.fixture
def new_database(
    desk: Desk, postgres_server: PostgresServer, request: pytest.FixtureRequest, through_pgbouncer: Callable[[str], str]
) -> Iterator[NewDatabase]:
    with ExitStack() as stack:

        def create(*, migrated: bool = True) -> str:
            template = request.getfixturevalue("migrated_template") if migrated else None
            name = f"{desk.run_id}_{secrets.token_hex(6)}"
            stack.callback(postgres_server.drop_database, name)
            return through_pgbouncer(postgres_server.create_database(name, template))

        yield create


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer, worker: int) -> str:
    """A Redis database for all tests of this worker."""
    database = worker % DATABASES
    redis_server.flush(database)
    return redis_server.url(database)


@pytest.fixture
def clean_redis_url(redis_server: RedisServer, redis_url: str, worker: int) -> str:
    """The same database, emptied for this test."""
    redis_server.flush(worker % DATABASES)
    return redis_url


@pytest.fixture(scope="session")
def redis_prefix(desk: Desk, worker: int) -> str:
    """A prefix for keys and channels of this worker, for cases that a numbered database does not separate."""
    return f"{desk.run_id}:{worker}:"


class PrivatePostgres(Protocol):
    def __call__(
        self, major: int | None = None, *, durable: bool = False, settings: dict[str, str] | None = None
    ) -> PostgresServer:
        """Start a PostgreSQL for this test, of the version of the run unless `major` is given."""


@pytest.fixture
def private_postgres(desk: Desk, request: pytest.FixtureRequest) -> Iterator[PrivatePostgres]:
    with ExitStack() as stack:

        def start(
            major: int | None = None, *, durable: bool = False, settings: dict[str, str] | None = None
        ) -> PostgresServer:
            major = major or request.config.getoption("postgres_major")
            server = PostgresServer.start(major, private=True, durable=durable, settings=settings)
            stack.callback(server.stop)
            desk.note(server.origin)
            return server

        yield start


class PrivateRedis(Protocol):
    def __call__(self, kind: Kind | None = None, *, settings: dict[str, str] | None = None) -> RedisServer:
        """Start a Redis, or a Valkey, for this test."""


@pytest.fixture
def private_redis(desk: Desk) -> Iterator[PrivateRedis]:
    with ExitStack() as stack:

        def start(kind: Kind | None = None, *, settings: dict[str, str] | None = None) -> RedisServer:
            server = RedisServer.start(kind, private=True, settings=settings)
            stack.callback(server.stop)
            desk.note(server.origin)
            return server

        yield start
