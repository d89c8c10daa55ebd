"""An application belongs to one event loop, and a connection that may be inside a transaction is nobody's any more."""

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from sqlalchemy import event
from sqlalchemy.pool import QueuePool

from tests.contracts.kit import MovableClock, new_user, put, seen
from tests.support.people import NO_LIMITS
from tests.support.plugin import NewDatabase
from tests.support.races import rounds
from ubr import (
    SYSTEM,
    Application,
    GetUserCommand,
    ListLogsCommand,
    ListMailCommand,
    RegisterUserCommand,
    Settings,
    connect,
)
from ubr.adapters.redis import RedisClient
from ubr.adapters.sql import ConnectionLimits, SqlUnitOfWork, make_engine
from ubr.adapters.sql.drivers import PostgresqlDriver, SqliteDriver
from ubr.adapters.sql.migrations import upgrade
from ubr.application.audit.recorder import Recorder
from ubr.application.kernel.home_loop import HomeLoop, WrongEventLoop
from ubr.application.ports.protection import Quota
from ubr.application.ports.unit_of_work import Transaction
from ubr.domain.accounts.user import User
from ubr.domain.errors import StoreUnavailable, UbrError
from ubr.domain.ids import UserId
from ubr.testing import TINY_HASHING

pytestmark = [pytest.mark.anyio, pytest.mark.system]

PASSWORD = "a long enough password"
KINDS = ["sqlite", "postgresql"]


@pytest.fixture
async def database_of(tmp_path: Path, new_database: NewDatabase) -> Callable[[str], Awaitable[str]]:
    async def url(kind: str) -> str:
        if kind == "postgresql":
            return new_database()
        file = f"sqlite:///{tmp_path / 'ubr.db'}"
        await upgrade(file)
        return file

    return url


def elsewhere(doing: Callable[[], Awaitable[object]]) -> BaseException | None:
    """What comes of a call that a thread makes in an event loop of its own."""
    raised: list[BaseException] = []

    async def call() -> None:
        async with asyncio.timeout(10):
            await doing()

    def run() -> None:
        try:
            asyncio.run(call())
        except BaseException as error:  # noqa: BLE001 - it is what is asked for
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


# An error that nobody foresaw, at every await


class Foreign(Exception):
    """An error that no driver raises."""


class Injector:
    """Raises `Foreign` instead of the await with a certain number, in whichever task it comes."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.struck = False

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(self.run(coroutine), loop=loop, **options)

    async def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return await _Step(self, coroutine)

    def strikes(self) -> bool:
        self._left -= 1
        self.struck = self.struck or self._left == 0
        return self._left == 0


class _Step:
    def __init__(self, injector: Injector, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._injector = injector
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        answer: Any = None
        error: BaseException | None = None
        while True:
            try:
                waits_for = self._coroutine.send(answer) if error is None else self._coroutine.throw(error)
            except StopIteration as done:
                return done.value
            answer, error = None, None
            if self._injector.strikes():
                if waits_for is not None:
                    waits_for._asyncio_future_blocking = False  # noqa: SLF001 - as a task does with a future of another loop
                error = Foreign()
                continue
            try:
                answer = yield waits_for
            except BaseException as thrown:  # noqa: BLE001 - it is passed on
                error = thrown


class Bench:
    def __init__(self, url: str) -> None:
        self.engine = make_engine(url, ConnectionLimits(connections=2), durable=False)
        self.uow = SqlUnitOfWork(self.engine, Recorder(uuid4, os.urandom), MovableClock())
        self._made: list[Any] = []
        event.listen(self.engine.sync_engine, "connect", self._note)

    def _note(self, connection: Any, _: object) -> None:
        self._made.append(connection.driver_connection)

    def assert_at_rest(self) -> None:
        """No connection that is open is inside a transaction."""
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)
        assert pool.checkedout() == 0
        for driver in self._made:
            if self.engine.dialect.name == "sqlite":
                assert driver._connection is None or not driver.in_transaction  # noqa: SLF001 - closed
            else:
                assert driver.is_closed() or not driver.is_in_transaction()

    @property
    def opened(self) -> int:
        """The number of connections so far."""
        return len(self._made)

    async def execute(self, statement: str) -> None:
        """Behind the back of the units, on the newest connection."""
        await self._made[-1].execute(statement)

    async def assert_writes(self) -> None:
        """What a unit commits is seen by others."""
        await put(self.uow, user := new_user())
        async with bench(self.engine.url.render_as_string(hide_password=False)) as another:
            assert await seen(another.uow, partial(_user, user.id)) is not None


@asynccontextmanager
async def bench(url: str) -> AsyncIterator[Bench]:
    it = Bench(url)
    try:
        yield it
    finally:
        await it.engine.dispose()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_error_at_any_await_leaves_no_connection_inside_a_transaction(
    kind: str, database_of: Callable[[str], Awaitable[str]]
) -> None:
    url = await database_of(kind)
    loop = asyncio.get_running_loop()
    # Nobody fetches the answers that are waited for no more.
    complaining = loop.get_exception_handler()
    loop.set_exception_handler(lambda *_: None)
    try:
        await _at_every_await(url)
        gc.collect()
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(complaining)


async def _user(user_id: UserId, tx: Transaction) -> User | None:
    return await tx.users.get(user_id)


async def _at_every_await(url: str) -> None:
    loop = asyncio.get_running_loop()
    async with bench(url) as checking:
        for at in range(1, 200):
            async with bench(url) as it:
                await put(it.uow, new_user())  # a connection lies in the pool
                acknowledged: list[User] = []
                user = new_user()
                injector = Injector(at)
                loop.set_task_factory(cast("Any", injector))
                try:
                    await asyncio.create_task(put(it.uow, user))
                    acknowledged.append(user)
                except Exception:
                    if not injector.struck:
                        raise
                finally:
                    loop.set_task_factory(None)
                it.assert_at_rest()
                for _ in range(4):
                    await put(it.uow, later := new_user())
                    acknowledged.append(later)
                it.assert_at_rest()
                for each in acknowledged:
                    assert await seen(checking.uow, partial(_user, each.id)) is not None, at
            if not injector.struck:
                assert at > 5
                return
    pytest.fail("a unit has more awaits than this tried")


async def nothing(_: object) -> None:
    pass


@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_that_is_not_idle_is_not_used_again(
    kind: str, database_of: Callable[[str], Awaitable[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(await database_of(kind)) as it:
        with monkeypatch.context() as patched:
            for driver in (SqliteDriver, PostgresqlDriver):
                patched.setattr(driver, "roll_back", nothing)
            async with it.uow.begin(None) as tx:
                await tx.users.get(new_user().id)
        it.assert_at_rest()
        await it.assert_writes()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_that_lies_in_the_pool_inside_a_transaction_is_not_used(
    kind: str, database_of: Callable[[str], Awaitable[str]]
) -> None:
    async with bench(await database_of(kind)) as it:
        await it.assert_writes()
        await it.execute("BEGIN" if kind == "sqlite" else "START TRANSACTION")
        await it.assert_writes()
        it.assert_at_rest()
        assert it.opened == 2, "another one has taken its place"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_commit_that_leaves_the_transaction_open_is_an_error(
    kind: str, database_of: Callable[[str], Awaitable[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(await database_of(kind)) as it:
        with monkeypatch.context() as patched:
            for driver in (SqliteDriver, PostgresqlDriver):
                patched.setattr(driver, "commit", nothing)
            with pytest.raises(StoreUnavailable):
                await put(it.uow, new_user())
        it.assert_at_rest()
        await it.assert_writes()


# Calls from elsewhere


@asynccontextmanager
async def opened(kind: str, url: str | None, redis_url: str | None = None) -> AsyncIterator[Application]:
    given: dict[str, Any] = {} if url is None else {"database_url": url, "migrate": "check"}
    if redis_url is not None:
        given["redis_url"] = redis_url
    assert (kind == "memory") == (url is None)
    async with connect(Settings.memory(**given, login_rate_limit=NO_LIMITS, **TINY_HASHING)) as ubr:
        yield ubr


async def register(ubr: Application) -> Any:
    made = await ubr.register_user(RegisterUserCommand(email=f"{uuid4().hex}@example.org", password=PASSWORD))
    assert made is not None
    return made.id


@pytest.mark.parametrize("kind", ["memory", *KINDS])
async def test_a_call_from_another_event_loop_is_refused_before_anything_is_touched(
    kind: str, database_of: Callable[[str], Awaitable[str]], clean_redis_url: str
) -> None:
    url = None if kind == "memory" else await database_of(kind)
    async with opened(kind, url, clean_redis_url if kind == "postgresql" else None) as ubr:
        first = await register(ubr)
        quota = Quota(limit=5, per=timedelta(minutes=1))
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: register(ubr),
            lambda: ubr.get_user(GetUserCommand(user_id=first), actor=SYSTEM),
            lambda: ubr.list_logs(ListLogsCommand(), actor=SYSTEM),
            lambda: ubr.list_mail(ListMailCommand(), actor=SYSTEM),
            ubr.get_public_keys,
            lambda: ubr.rotate_signing_key(actor=SYSTEM),
            lambda: ubr.register_user.rate_limiter.rate_limit_store.take("x", quota),
        ]
        for call in calls:
            refused = await asyncio.to_thread(elsewhere, call)
            assert isinstance(refused, WrongEventLoop), (calls.index(call), refused)
            assert not isinstance(refused, UbrError)
            assert "another event loop" in str(refused)
        made = await asyncio.gather(*(register(ubr) for _ in range(20)))
        for user_id in [first, *made]:
            assert (await ubr.get_user(GetUserCommand(user_id=user_id), actor=SYSTEM)).id == user_id


@pytest.mark.parametrize("kind", KINDS)
@rounds(200, 10_000)
async def test_no_acknowledged_write_is_lost_beside_calls_from_other_loops(
    kind: str, rounds: int, database_of: Callable[[str], Awaitable[str]]
) -> None:
    url = await database_of(kind)
    async with bench(url) as it:
        await put(it.uow, new_user())
        refused: list[BaseException | None] = []
        stopping = threading.Event()

        def intrude() -> None:
            while not stopping.is_set():
                refused.append(elsewhere(lambda: put(it.uow, new_user())))
                stopping.wait(0.01)

        threads = [threading.Thread(target=intrude) for _ in range(2)]
        for thread in threads:
            thread.start()
        written: list[User] = []

        async def write(count: int) -> None:
            for _ in range(count):
                await put(it.uow, user := new_user())
                written.append(user)

        try:
            await asyncio.gather(*(write(rounds // 2) for _ in range(2)))
        finally:
            stopping.set()
            for thread in threads:
                await asyncio.to_thread(thread.join)
        assert refused
        assert all(isinstance(error, WrongEventLoop) for error in refused), refused
        it.assert_at_rest()
    async with bench(url) as checking, checking.uow.read() as tx:
        for user in written:
            assert await tx.users.get(user.id) is not None


async def test_a_redis_client_is_refused_in_another_event_loop(clean_redis_url: str) -> None:
    client = RedisClient(clean_redis_url)
    await client.ping()
    assert isinstance(await asyncio.to_thread(elsewhere, client.ping), WrongEventLoop)

    async def keep() -> None:
        async with client.kept_connection():
            pass

    assert isinstance(await asyncio.to_thread(elsewhere, keep), WrongEventLoop)
    await client.ping()
    await client.close()


def test_a_home_is_the_first_loop_that_asks_and_no_code_without_one() -> None:
    home = HomeLoop()
    with pytest.raises(WrongEventLoop):
        home.check()

    async def ask() -> None:
        home.check()
        home.check()

    asyncio.run(ask())
    with pytest.raises(WrongEventLoop):
        asyncio.run(ask())
