"""A request with a known token asks neither PostgreSQL nor Redis, and is refused all the same once its session ended.

What is counted are the calls that a request itself makes at the drivers, and whatever it writes to any socket; the
worker's own reading of the feed goes on beside it and is not.
"""

from __future__ import annotations

import asyncio
from asyncio.selector_events import _SelectorSocketTransport  # type: ignore[attr-defined]  # where bytes go out
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from redis.asyncio.connection import AbstractConnection
from sqlalchemy import event
from sqlalchemy.pool import Pool

from tests.support.plugin import NewDatabase
from ubr import (
    SYSTEM,
    Application,
    AssignRoleCommand,
    CreateRoleCommand,
    LogInCommand,
    RegisterUserCommand,
    Settings,
    UnassignRoleCommand,
    connect,
)
from ubr.application.revocation.follow_revocations import FollowRevocationsCommand
from ubr.bootstrap import open_environment
from ubr.entrypoints.http.app import create_app
from ubr.testing import TINY_HASHING

pytestmark = pytest.mark.system

PASSWORD = "a long enough password"
EMAIL = "user@example.org"
ME = "/api/users/me"

_counted: ContextVar[Counter[str] | None] = ContextVar("_counted", default=None)


def note(what: str) -> None:
    if (counted := _counted.get()) is not None:
        counted[what] += 1


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count what this task, and any that it starts, does at the drivers."""
    counter: Counter[str] = Counter()
    token = _counted.set(counter)
    try:
        yield counter
    finally:
        _counted.reset(token)


@pytest.fixture(autouse=True)
def instruments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def count(owner: Any, name: str, what: str) -> None:
        call: Callable[..., Any] = getattr(owner, name)

        @wraps(call)
        def noted(*args: Any, **kwargs: Any) -> Any:
            note(what)
            return call(*args, **kwargs)

        monkeypatch.setattr(owner, name, noted)

    for name in ("execute", "executemany", "fetch", "fetchrow", "fetchval", "prepare", "cursor"):
        count(asyncpg.Connection, name, "sql")
    count(AbstractConnection, "send_packed_command", "redis")
    count(_SelectorSocketTransport, "write", "sockets")

    def checked_out(*_: object) -> None:
        note("sql")

    event.listen(Pool, "checkout", checked_out)
    yield
    event.remove(Pool, "checkout", checked_out)


@pytest.fixture
async def instances(new_database: NewDatabase, clean_redis_url: str) -> AsyncIterator[list[Application]]:
    """Two instances of the service, on one database and one Redis."""
    settings = Settings.memory(
        database_url=new_database(), redis_url=clean_redis_url, migrate="check", pool_size=5, **TINY_HASHING
    )
    async with AsyncExitStack() as stack:
        yield [(await stack.enter_async_context(open_environment(settings))).application for _ in range(2)]


def client_of(ubr: Application, access_token: str) -> httpx.AsyncClient:
    app: Any = create_app(ubr)
    headers = {"Authorization": f"Bearer {access_token}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ubr.example", headers=headers)


async def cold(client: httpx.AsyncClient) -> None:
    """Ask for the first time: the store has to be asked, or the instruments are deaf."""
    with counting() as counted:
        assert (await client.get(ME)).status_code == 200
    assert counted["sql"] > 0
    assert counted["sockets"] > 0


async def hot(client: httpx.AsyncClient) -> None:
    """Ask again and again: nobody else is asked any more."""
    with counting() as counted:
        for _ in range(100):
            assert (await client.get(ME)).status_code == 200
            await asyncio.sleep(0.005)  # the feed is read meanwhile
    assert counted == {}


async def test_a_hot_request_asks_nobody_and_is_refused_once_its_session_has_ended(
    instances: list[Application],
) -> None:
    here, elsewhere = instances
    await here.register_user(RegisterUserCommand(email=EMAIL, password=PASSWORD))
    tokens = await elsewhere.log_in(LogInCommand(email=EMAIL, password=PASSWORD))
    async with client_of(here, tokens.access_token) as client:
        await cold(client)
        await hot(client)

        with counting() as ended:
            await elsewhere.log_out(actor=await elsewhere.authenticate(tokens.access_token))

        assert (await client.get(ME)).status_code == 401
    assert ended["sql"] > 0
    assert ended["redis"] > 0


async def test_a_role_is_gone_from_a_hot_request_once_it_was_taken(instances: list[Application]) -> None:
    here, elsewhere = instances
    user = await here.register_user(RegisterUserCommand(email=EMAIL, password=PASSWORD), actor=SYSTEM)
    await here.create_role(CreateRoleCommand(name="auditor", permissions=["logs:read"]), actor=SYSTEM)
    tokens = await elsewhere.log_in(LogInCommand(email=EMAIL, password=PASSWORD))
    async with client_of(here, tokens.access_token) as client:
        await cold(client)
        for _ in range(3):
            await hot(client)
            await elsewhere.assign_role(AssignRoleCommand(user_id=user.id, role="auditor"), actor=SYSTEM)
            assert (await client.get("/api/logs")).status_code == 200
            await elsewhere.unassign_role(UnassignRoleCommand(user_id=user.id, role="auditor"), actor=SYSTEM)
            assert (await client.get("/api/logs")).status_code == 403
            assert (await client.get(ME)).json()["roles"] == ["user"]


async def test_requests_that_hold_every_connection_make_no_view_stale(new_database: NewDatabase) -> None:
    settings = Settings.memory(database_url=new_database(), migrate="check", pool_size=1, **TINY_HASHING)
    async with connect(settings) as ubr, ubr.get_user.unit_of_work.read():
        session_cache = ubr.authenticate.authorize.session_cache
        await session_cache.renew()
        await session_cache.poll_feed()
        await ubr.authenticate.keys.ensure_recent()
        command = FollowRevocationsCommand(verifier=uuid4())
        told = await ubr.follow_revocations(command, actor=SYSTEM)
        command = FollowRevocationsCommand(verifier=command.verifier, since=told.number, epoch=told.epoch)
        await ubr.follow_revocations(command, actor=SYSTEM)
