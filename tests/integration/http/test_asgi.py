"""The service from its start to its end, as a server drives it."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import httpx

from tests.integration.http.kit import database_settings, memory_settings
from tests.support.lines import capture_logs
from tests.support.servers import free_port
from tests.support.values import replace
from ubr.entrypoints.http.asgi import Service


class Server:
    """Speaks the lifespan protocol to a service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._asked: asyncio.Queue[Any] = asyncio.Queue()
        self._told: asyncio.Queue[Any] = asyncio.Queue()

    async def start(self) -> Any:
        scope: Any = {"type": "lifespan"}
        self._task = asyncio.create_task(self._service(scope, self._asked.get, self._told.put))
        await self._asked.put({"type": "lifespan.startup"})
        return await self._told.get()

    async def stop(self) -> Any:
        await self._asked.put({"type": "lifespan.shutdown"})
        told = await self._told.get()
        await self._task
        return told


async def test_it_serves_from_start_to_stop() -> None:
    service = Service(memory_settings())
    server = Server(service)
    assert await server.start() == {"type": "lifespan.startup.complete"}
    transport = httpx.ASGITransport(service)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://ubr.test") as client:
        assert (await client.get("/health/ready")).status_code == 200
    assert await server.stop() == {"type": "lifespan.shutdown.complete"}


async def test_what_it_has_made_at_the_start_is_not_looked_at_by_the_garbage_collector() -> None:
    server = Server(Service(memory_settings()))
    before = gc.get_freeze_count()
    await server.start()
    started = gc.get_freeze_count()
    await server.stop()
    assert started > before


async def test_without_its_database_it_does_not_start() -> None:
    server = Server(Service(database_settings(f"postgresql+asyncpg://nobody@127.0.0.1:{free_port()}/nothing")))
    with capture_logs() as lines:
        told = await server.start()
    assert told == {"type": "lifespan.startup.failed", "message": "No server listens at the address of the database"}
    assert [line["event"] for line in lines] == ["startup failed"]


async def test_the_server_learns_of_every_error_at_the_start(tmp_path: Path) -> None:
    """Else it goes on without an application, and answers nobody."""
    settings = replace(database_settings(f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}"), migrate="check")
    server = Server(Service(settings))
    with capture_logs() as lines:
        told = await server.start()
    assert told == {"type": "lifespan.startup.failed", "message": "OperationalError"}
    assert [line["event"] for line in lines] == ["startup failed"]
