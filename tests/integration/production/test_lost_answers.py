"""Answers that are lost on their way to the client: what is tried again with its key is done once.

On the real service: two workers on one PostgreSQL, a connection of its own for each request, a restart in between.
"""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.support.plugin import NewDatabase
from tests.support.proxy import FaultProxy
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, on_postgres, serving

pytestmark = pytest.mark.system

TRIES = 12
BODY = {"email": "new@example.org", "password": "a long enough password", "full_name": "New"}


@pytest.mark.long
async def test_an_answer_that_was_lost_is_given_again(tmp_path: Path, new_database: NewDatabase) -> None:
    environment = on_postgres(new_database(), workers=2)
    alone = httpx.Limits(max_keepalive_connections=0)
    said = set()
    for lost in (True, False):
        with serving(tmp_path, environment) as service:
            async with (
                FaultProxy("127.0.0.1", service.port) as proxy,
                httpx.AsyncClient(base_url=proxy.url(service.url), timeout=20, limits=alone) as client,
            ):
                if lost:
                    proxy.cut_on(b"a long enough password", answered=True)
                    with pytest.raises(httpx.TransportError):
                        await register(client)
                    assert proxy.cuts == 1
                for _ in range(TRIES):
                    answer = await register(client)
                    said.add((answer.status_code, answer.content, answer.headers["etag"], answer.headers["location"]))
                assert await registrations(client) == 1
    [(status, *_)] = said
    assert status == 201


async def register(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/api/auth/register", headers={"Idempotency-Key": "a-key"}, json=BODY)


async def registrations(client: httpx.AsyncClient) -> int:
    tokens = await client.post("/api/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
    headers = {"Authorization": f"Bearer {tokens.json()['access_token']}"}
    page = await client.get("/api/logs?action=user.registered", headers=headers)
    return len(page.json()["items"])
