"""Calls that are given up at random points, with a slow way to PostgreSQL: nothing leaks and nobody is mixed up.

Other projects answered one caller with what belonged to another, or lost connections that still held locks.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.support.plugin import NewDatabase
from tests.support.proxy import FaultProxy
from ubr import (
    Actor,
    Application,
    GetUserCommand,
    ListSessionsCommand,
    RegisterUserCommand,
    Settings,
    UpdateUserCommand,
    UserChanges,
    connect,
)
from ubr.settings import BACKGROUND_CONNECTIONS
from ubr.testing import TINY_HASHING, log_in

pytestmark = pytest.mark.system

PASSWORD = "a long enough password"
PEOPLE = 20
POOL = 8


@pytest.mark.parametrize("aborts", [150, pytest.param(10_000, marks=pytest.mark.long)])
@pytest.mark.system(seconds=5)
async def test_calls_given_up_at_random_points_leave_nothing_behind(new_database: NewDatabase, aborts: int) -> None:
    url = new_database()
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    async with FaultProxy(address.hostname, address.port, seed=3) as proxy:
        settings = Settings.memory(database_url=proxy.url(url), migrate="check", pool_size=POOL, **TINY_HASHING)
        async with connect(settings) as ubr:
            people = [await _person(ubr, number) for number in range(PEOPLE)]
            proxy.delay("to_server", 0, 0.002)
            proxy.delay("to_client", 0, 0.002)
            ends = await _campaign(ubr, people, aborts)
            # Both happened, or the test did not look at what it is about.
            assert ends["given up"] >= aborts
            assert ends["answered"] >= aborts / 10
            await proxy.heal()
            await _pool_is_whole(ubr, people)
            await _nothing_hangs(url)


async def _person(ubr: Application, number: int) -> Actor:
    email = f"user{number}@example.org"
    await ubr.register_user(RegisterUserCommand(email=email, password=PASSWORD, full_name=f"0 of {number}"))
    return await log_in(ubr, email, PASSWORD)


async def _campaign(ubr: Application, people: list[Actor], aborts: int) -> Counter[str]:
    """Every second call, by chance, is given up at a moment that is chance too; the others are awaited."""
    ends: Counter[str] = Counter()

    async def one_person(number: int, actor: Actor) -> None:
        rng = random.Random(number)  # noqa: S311 - no secret
        while ends["given up"] < aborts:
            task = asyncio.create_task(_call(ubr, actor, number, ends.total(), rng.randrange(3)))
            done, _ = await asyncio.wait([task], timeout=rng.uniform(0, 0.05) if rng.random() < 0.5 else None)
            if not done:
                task.cancel()
                await asyncio.wait([task])
            if task.cancelled():
                ends["given up"] += 1
            else:
                task.result()
                ends["answered"] += 1

    await asyncio.gather(*(one_person(number, actor) for number, actor in enumerate(people)))
    return ends


async def _call(ubr: Application, actor: Actor, number: int, call: int, kind: int) -> None:
    """One call, whose answer must be about the one who asked."""
    if kind == 0:
        user = await ubr.get_user(GetUserCommand(user_id=actor.user_id), actor=actor)
        assert user.id == actor.user_id
        assert user.full_name is not None
        assert user.full_name.endswith(f" of {number}")
    elif kind == 1:
        changes = UserChanges(full_name=f"{call} of {number}")
        user = await ubr.update_user(UpdateUserCommand(user_id=actor.user_id, changes=changes), actor=actor)
        assert user.id == actor.user_id
        assert user.full_name == f"{call} of {number}"
    else:
        page = await ubr.list_sessions(ListSessionsCommand(user_id=actor.user_id), actor=actor)
        assert [session.user_id for session in page.items] == [actor.user_id]


async def _pool_is_whole(ubr: Application, people: list[Actor]) -> None:
    """As many writers as there are connections find one each."""
    await asyncio.gather(*(_call(ubr, actor, number, -1, 1) for number, actor in enumerate(people[:POOL])))


async def _nothing_hangs(url: str) -> None:
    """Jobs are at work beside this, for moments each. What hangs is in the same transaction a second later."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    looks = []
    try:
        for pause in (1, 0):
            looks.append(
                await connection.fetch(
                    "SELECT pid, state, xact_start FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
            await asyncio.sleep(pause)
    finally:
        await connection.close()
    first, second = ({(row["pid"], row["xact_start"]) for row in look if row["state"] != "idle"} for look in looks)
    assert not first & second
    assert max(map(len, looks)) <= POOL + BACKGROUND_CONNECTIONS
