"""PostgreSQL killed under the service while it writes: what was acknowledged is there, and the service heals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from tests.support.plugin import PrivatePostgres
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, on_postgres, serving

pytestmark = pytest.mark.system

PASSWORD = "a long enough password"
HEALED_WITHIN = 10.0


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.long)])
@pytest.mark.system(seconds=15)
async def test_nothing_acknowledged_is_lost(tmp_path: Path, private_postgres: PrivatePostgres, kills: int) -> None:
    server = private_postgres(durable=True)
    environment = on_postgres(server.create_database("ubr"), workers=2)
    with serving(tmp_path, environment) as service:
        acknowledged: list[str] = []
        denials: list[int] = []
        stop = asyncio.Event()
        async with httpx.AsyncClient(base_url=service.url, timeout=20) as client:
            writers = [asyncio.create_task(_write(client, name, acknowledged, denials, stop)) for name in range(4)]
            for _ in range(kills):
                await _until_more(acknowledged, writers)
                server.kill()
                await _until_more(denials, writers)
                server.restart()
                healed = await _time_until_ready(client)
                assert healed < HEALED_WITHIN, f"ready {healed:.1f} s after PostgreSQL was back"
            await _until_more(acknowledged, writers)
            stop.set()
            await asyncio.gather(*writers)
            assert set(denials) <= {503}
            stored = await _emails(client)
        assert set(acknowledged) <= stored


async def _write(
    client: httpx.AsyncClient, name: int, acknowledged: list[str], denials: list[int], stop: asyncio.Event
) -> None:
    """Register one user after the other. A refusal has to be the contract's."""
    number = 0
    while not stop.is_set():
        email = f"user{number}.{name}@example.org"
        number += 1
        answer = await client.post("/api/auth/register", json={"email": email, "password": PASSWORD})
        if answer.status_code == 201:
            acknowledged.append(email)
            continue
        denials.append(answer.status_code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1


async def _until_more(
    seen: Sequence[object], writers: Sequence[asyncio.Task[None]], more: int = 8, patience: float = 30
) -> None:
    """Wait until so many more have been seen. Errors: that of a writer."""
    enough, deadline = len(seen) + more, time.monotonic() + patience
    while len(seen) < enough:
        for writer in writers:
            if writer.done():
                writer.result()
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def _time_until_ready(client: httpx.AsyncClient) -> float:
    began = time.monotonic()
    while (await client.get("/health/ready")).status_code != 200:
        assert time.monotonic() < began + 60
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def _emails(client: httpx.AsyncClient) -> set[str]:
    tokens = await client.post("/api/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
    headers = {"Authorization": f"Bearer {tokens.json()['access_token']}"}
    found: set[str] = set()
    path: str | None = "/api/users?limit=200"
    while path is not None:
        page = (await client.get(path, headers=headers)).json()
        found.update(user["email"] for user in page["items"])
        cursor = page["next_cursor"]
        path = None if cursor is None else f"/api/users?limit=200&cursor={cursor}"
    return found
