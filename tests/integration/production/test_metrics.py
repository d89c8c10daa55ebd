"""Metrics of two real workers: every scrape shows all that was counted, also after a worker was killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from tests.support import emf
from tests.support.commands import PATIENCE
from tests.support.exposition import Family, parse
from tests.support.plugin import NewDatabase
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess, on_postgres, serving

pytestmark = [pytest.mark.anyio, pytest.mark.system(seconds=15)]

TOKEN = "a-token-for-metrics"
SCRAPES = 8
KEYS = "/.well-known/jwks.json"
LOGIN = "/api/auth/login"


def client_of(service: UbrProcess) -> httpx.AsyncClient:
    """A client that opens a connection for each request, so that any worker may get it."""
    limits = httpx.Limits(max_connections=10, max_keepalive_connections=0)
    headers = {"authorization": f"Bearer {TOKEN}"}
    return httpx.AsyncClient(base_url=service.url, limits=limits, headers=headers, timeout=60)


async def scrape(client: httpx.AsyncClient) -> dict[str, Family]:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    return parse(answer.text)


async def ask(client: httpx.AsyncClient, times: int) -> None:
    answers = await asyncio.gather(*(client.get(KEYS) for _ in range(times)))
    assert {answer.status_code for answer in answers} == {200}


async def log_in(client: httpx.AsyncClient, times: int) -> None:
    for _ in range(times):
        answer = await client.post(LOGIN, json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        assert answer.status_code == 200


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def assert_counted(client: httpx.AsyncClient, *, requests: int, logins: int) -> None:
    async def counted() -> bool:
        # A worker counts a request when it has sent the response, which the client may have by then.
        found = await scrape(client)
        return (
            found["ubr_http_requests_total"].sum(route=KEYS) >= requests
            and found["ubr_http_requests_total"].sum(route=LOGIN) >= logins
            and found["ubr_http_requests_running"].value() == 1
        )

    await until(counted)
    for _ in range(SCRAPES):
        found = await scrape(client)
        requested = found["ubr_http_requests_total"]
        assert requested.sum(route=KEYS) == requested.value(method="GET", route=KEYS, status="200") == requests
        assert found["ubr_http_request_duration_seconds"].value("_count", method="GET", route=KEYS) == requests
        assert requested.sum(route=LOGIN) == requested.value(method="POST", route=LOGIN, status="200") == logins
        assert found["ubr_password_hash_duration_seconds"].value("_count") == logins
        assert found["ubr_database_readable"].value() == 1


async def test_the_sums_are_exact_also_after_a_worker_was_killed(tmp_path: Path, new_database: NewDatabase) -> None:
    environment = {**on_postgres(new_database(), workers=2), "UBR_METRICS_TOKEN": TOKEN}
    with serving(tmp_path, environment) as service:
        async with client_of(service) as client:
            requests, logins = 300, 6
            await ask(client, requests)
            await log_in(client, logins)
            await assert_counted(client, requests=requests, logins=logins)

            for killed in service.workers():
                os.kill(killed, signal.SIGKILL)

                async def replaced(killed: int = killed) -> bool:
                    return killed not in service.workers() and len(service.workers()) == 2

                await until(replaced)
                await until(lambda: asyncio.to_thread(lambda: service.status() == 200))
                await assert_counted(client, requests=requests, logins=logins)
                await ask(client, 100)
                await log_in(client, 4)
                requests, logins = requests + 100, logins + 4
                await assert_counted(client, requests=requests, logins=logins)


async def test_a_frozen_worker_shows_by_the_age_of_its_cache(tmp_path: Path, new_database: NewDatabase) -> None:
    environment = {**on_postgres(new_database(), workers=2), "UBR_METRICS_TOKEN": TOKEN}
    with serving(tmp_path, environment) as service:
        async with client_of(service) as client:
            [frozen, _] = service.workers()

            async def shown() -> bool:
                # A connection may come to the frozen worker, which does not answer.
                try:
                    found = await asyncio.wait_for(scrape(client), 1)
                except TimeoutError:
                    return False
                return found["ubr_session_cache_age_seconds"].value() > 2

            async def told() -> bool:
                """One look. The service is ready with one worker: the other one may have started later than the last
                look, and has to run before it is frozen.
                """
                os.kill(frozen, signal.SIGSTOP)
                try:
                    await asyncio.sleep(2.5)
                    return await shown() or await shown() or await shown()
                finally:
                    os.kill(frozen, signal.SIGCONT)

            await until(told)

            async def healed() -> bool:
                return (await scrape(client))["ubr_session_cache_age_seconds"].value() < 2

            await until(healed)


async def test_lines_for_cloudwatch_go_to_standard_output(tmp_path: Path, new_database: NewDatabase) -> None:
    environment = {**on_postgres(new_database(), workers=2), "UBR_METRICS_TOKEN": TOKEN, "UBR_METRICS_EMF": "on"}
    with serving(tmp_path, environment) as service:
        async with client_of(service) as client:
            await ask(client, 60)
            await log_in(client, 2)
            await assert_counted(client, requests=60, logins=2)
    # Every line is JSON, those of the supervisor too.
    lines = [json.loads(line) for line in service.said]
    embedded = [emf.parse(json.dumps(line)) for line in lines if "_aws" in line]
    assert len(embedded) == 2, "one at the start, and one at the end"
    assert sum(line["ubr_password_hash_duration_seconds"]["Count"] for line in embedded[1:]) == 2
    assert sum(line["ubr_http_requests_total"] for line in embedded) > 60 + 2 + SCRAPES
    assert sum(line["ubr_worker_starts_total"] for line in embedded) == 2
