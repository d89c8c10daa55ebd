"""The library in memory, on SQLite, and on PostgreSQL with Redis, HTTP, and blocking calls give the same answers.

`make test-faces` makes 100,000 calls, half of them in each test (FACES_CALLS=… for another number in each,
FACES_SEED=… for other calls).
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.integration.http.kit import database_settings, memory_settings, sqlite_settings
from tests.support.environments import FACES_CALLS, FACES_SEED
from tests.support.faces import CLIENT_IP, Blocking, Face, InLibrary, OverHttp
from tests.support.one_behaviour import OneBehaviour
from tests.support.plugin import NewDatabase
from ubr import sync as ubr_sync
from ubr.bootstrap import connect
from ubr.http import create_app
from ubr.settings import Settings
from ubr.testing import MovableClock

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.system)])
async def test_every_face_answers_alike(
    seed: int, tmp_path: Path, new_database: NewDatabase, clean_redis_url: str
) -> None:
    libraries = {
        "memory": memory_settings(),
        "SQLite": sqlite_settings(tmp_path),
        "PostgreSQL with Redis": database_settings(new_database(), redis_url=clean_redis_url),
    }
    async with AsyncExitStack() as stack:
        faces = [await _library(stack, name, settings) for name, settings in libraries.items()]
        faces.extend([await _http(stack), await _blocking(stack)])
        one = OneBehaviour(faces, random.Random(FACES_SEED + seed))  # noqa: S311 - not a secret
        await one.start()
        try:
            while one.done < (FACES_CALLS or 150):
                await one.step()
        except AssertionError as error:
            error.add_note("\n".join([f"The seed is {FACES_SEED + seed}.", *one.history[-12:]]))
            raise
    assert 0 < one.refused < one.done, "some calls succeed, and some do not"


async def _library(stack: AsyncExitStack, name: str, settings: Settings) -> Face:
    clock = MovableClock()
    ubr = await stack.enter_async_context(connect(settings, clock=clock))
    return Face(name, ubr, clock, InLibrary(ubr))


async def _http(stack: AsyncExitStack) -> Face:
    clock = MovableClock()
    ubr = await stack.enter_async_context(connect(memory_settings(), clock=clock))
    transport = httpx.ASGITransport(create_app(ubr), raise_app_exceptions=False, client=(CLIENT_IP, 4711))
    client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://ubr.test"))
    return Face("HTTP", ubr, clock, OverHttp(client))


async def _blocking(stack: AsyncExitStack) -> Face:
    clock = MovableClock()
    ubr = await asyncio.to_thread(ubr_sync.connect, memory_settings(), clock=clock)
    stack.push_async_callback(asyncio.to_thread, ubr.close)
    return Face("blocking calls", ubr.application, clock, Blocking(ubr), lambda work: asyncio.to_thread(ubr.run, work))
