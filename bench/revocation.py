"""How long it takes until an end is answered, which is when it holds everywhere.

Run it as `python -m bench.revocation [REVOCATIONS]`: `ubr serve` with four workers on a durable PostgreSQL, with Redis
and without, at rest and beside people who read.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.support.servers import PostgresServer, RedisServer
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, SECRET_KEY, UbrProcess, on_postgres, serving
from tests.support.wire import Wire
from ubr import LogInCommand, RegisterUserCommand, Settings, connect
from ubr.testing import TINY_HASHING

WORKERS: Final = 4
READERS: Final = 8
ISSUER: Final = "https://users.example.org"
PASSWORD: Final = "a long enough password"
ME: Final = "/api/users/me"


async def sessions(database_url: str, count: int) -> list[tuple[str, str]]:
    """Session ids and access tokens, opened in this process, where hashing costs nothing."""
    settings = Settings.memory(
        database_url=database_url,
        migrate="auto",
        secret_keys=(SECRET_KEY.encode(),),
        issuer=ISSUER,
        sessions_per_user=10_000,
        **TINY_HASHING,
    )
    opened = []
    async with connect(settings) as ubr:
        await ubr.register_user(RegisterUserCommand(email="user@example.org", password=PASSWORD))
        for _ in range(count):
            tokens = await ubr.log_in(LogInCommand(email="user@example.org", password=PASSWORD))
            actor = await ubr.authenticate(tokens.access_token)
            opened.append((str(actor.session_id), tokens.access_token))
    return opened


async def revoked(service: UbrProcess, ending: Sequence[tuple[str, str]]) -> list[float]:
    """The seconds that each took, one after the other, on connections to all workers in turn."""
    wires = [Wire(service.url) for _ in range(16)]
    tokens = await wires[0].ask("POST", "/api/auth/login", body={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
    admin = tokens.json()["access_token"]
    times = []
    for number, (session_id, access) in enumerate(ending):
        for wire in wires:
            assert (await wire.ask("GET", ME, access)).status == 200  # noqa: S101, PLR2004
        began = time.perf_counter()
        answer = await wires[number % 16].ask("DELETE", f"/api/auth/sessions/{session_id}", admin)
        times.append(time.perf_counter() - began)
        assert answer.status == 204  # noqa: S101, PLR2004
        for wire in wires:
            assert (await wire.ask("GET", ME, access)).status == 401  # noqa: S101, PLR2004
    for wire in wires:
        wire.close()
    return times


@asynccontextmanager
async def readers(service: UbrProcess, access: str) -> AsyncIterator[None]:
    """People who read, each a hundred times a second."""

    async def read() -> None:
        async with Wire(service.url) as wire:
            while True:
                await wire.ask("GET", ME, access)
                await asyncio.sleep(0.01)

    reading = [asyncio.create_task(read()) for _ in range(READERS)]
    try:
        yield
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


def show(what: str, times: Sequence[float]) -> None:
    ordered = sorted(1000 * seconds for seconds in times)
    p50, p99 = (ordered[int(len(ordered) * part)] for part in (0.5, 0.99))
    figures = f"p50 {p50:7.1f} ms, p99 {p99:7.1f} ms, longest {ordered[-1]:7.1f} ms"
    print(f"{what:40} {len(ordered):5} revocations: {figures}")


async def main(count: int) -> None:
    with PostgresServer.start(private=True, durable=True) as postgres, RedisServer.start(private=True) as redis:
        url = await asyncio.to_thread(postgres.create_database, "ubr")
        opened = await sessions(url, 2 * count + 21)
        environment = {**on_postgres(url, redis.url(), workers=WORKERS), "UBR_ISSUER": ISSUER}
        with tempfile.TemporaryDirectory() as folder, serving(Path(folder), environment) as service:
            await asyncio.sleep(2)  # until the first leases are trusted
            show("healthy, at rest", await revoked(service, opened[:count]))
            async with readers(service, opened[-1][1]):
                show(f"healthy, beside {READERS} readers", await revoked(service, opened[count : 2 * count]))
            await asyncio.to_thread(redis.kill)
            show("Redis dead", await revoked(service, opened[2 * count : -1]))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
