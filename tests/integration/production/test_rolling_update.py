"""Instances behind a load balancer, restarted one after the other."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import anyio.to_thread
import httpx
import pytest

from tests.support.servers import Haproxy
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess, on_postgres

# HAProxy is a package of Debian, which only the long run may install.
pytestmark = [pytest.mark.anyio, pytest.mark.system, pytest.mark.long]

CLIENTS = 8
ASKED = '"route":"/api/users/me"'
"""The requests of the clients in the log of an instance."""


async def test_no_request_fails_while_the_instances_are_restarted_in_turn(database_url: str, tmp_path: Path) -> None:
    environment = {
        **on_postgres(database_url, workers=1),
        "UBR_SHUTDOWN_DELAY": "3s",
        "UBR_LOG_LEVEL": "info",
        "UBR_ISSUER": "https://users.example.org",  # else each port is an issuer of its own
    }
    said: Counter[int | str] = Counter()
    over = asyncio.Event()

    async def use(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            login = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
            tokens = (await client.post("/api/auth/login", json=login)).json()
            while not over.is_set():
                headers = {"authorization": f"Bearer {tokens['access_token']}"}
                body = {"refresh_token": tokens["refresh_token"]}
                try:
                    said[(await client.get("/api/users/me", headers=headers)).status_code] += 1
                    refreshed = await client.post("/api/auth/refresh", json=body)
                    said[refreshed.status_code] += 1
                    if refreshed.status_code != 200:
                        said[f"{refreshed.status_code} {refreshed.headers} {refreshed.text}"] += 1
                        return
                    tokens = refreshed.json()
                except httpx.HTTPError as error:
                    said[repr(error)] += 1

    with ExitStack() as stack:

        def start(port: int | None = None) -> UbrProcess:
            service = UbrProcess(tmp_path, environment, port=port)
            stack.callback(service.kill)
            return service.wait_until_ready()

        def restart(service: UbrProcess) -> UbrProcess:
            assert service.stop() == 0
            return start(service.port)

        instances = [await anyio.to_thread.run_sync(start) for _ in range(2)]
        balancer = stack.enter_context(Haproxy.start([instance.port for instance in instances]))
        using = [asyncio.create_task(use(f"http://127.0.0.1:{balancer.port}")) for _ in range(CLIENTS)]
        for at in (0, 1) * 5:
            instances[at] = await anyio.to_thread.run_sync(restart, instances[at])
            # The other one goes once the balancer uses this one again. A client that failed ends the wait.
            while instances[at].log.count(ASKED) < CLIENTS and not any(task.done() for task in using):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        over.set()
        await asyncio.gather(*using)
    assert set(said) == {200}, said
