"""What a storm of logins does to people who read.

Run it as `python -m bench.storm [SECONDS]`: `ubr serve` on PostgreSQL with a worker for each core and steady
authenticated reads; beside them nobody, 100 who log in without a pause, or 400, which is more than may wait. The rounds
take turns; the figures at the end are medians.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from tests.support.reaper import children
from tests.support.servers import PostgresServer, RedisServer
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess, on_postgres, serving
from tests.support.wire import Wire

STORMS: Final = (0, 100, 400)
PEOPLE: Final = 40
READERS: Final = 8
PAUSE: Final = 0.02
ROUNDS: Final = 3
PASSWORD: Final = "a long enough password"
OK: Final = 200
BUSY: Final = 503


@dataclass
class Seen:
    reads: list[float] = field(default_factory=list)
    refused_reads: int = 0
    logins: Counter[int] = field(default_factory=Counter)
    without_retry_after: int = 0


async def read(wire: Wire, access: str, until: float, seen: Seen) -> None:
    """One reader, at a steady pace."""
    while (began := time.perf_counter()) < until:
        answer = await wire.ask("GET", "/api/users/me", access)
        seen.reads.append(time.perf_counter() - began)
        seen.refused_reads += answer.status != OK
        await asyncio.sleep(max(0.0, PAUSE - (time.perf_counter() - began)))


def account(number: int) -> dict[str, str]:
    return {"email": f"user{number % PEOPLE}@example.org", "password": PASSWORD}


async def log_in(wire: Wire, number: int, until: float, seen: Seen) -> None:
    """One who logs in again and again, and a tenth of a second later where it is busy."""
    while time.perf_counter() < until:
        answer = await wire.ask("POST", "/api/auth/login", body=account(number))
        seen.logins[answer.status] += 1
        if answer.status == BUSY and not answer.headers.get("retry-after", "").isdigit():
            seen.without_retry_after += 1
        if answer.status == BUSY:
            await asyncio.sleep(0.1)


async def round_of(service: UbrProcess, access: str, seconds: float, storm: int) -> Seen:
    seen, until = Seen(), time.perf_counter() + seconds
    wires = [Wire(service.url) for _ in range(READERS + storm)]
    await asyncio.gather(
        *(read(wire, access, until, seen) for wire in wires[:READERS]),
        *(log_in(wire, number, until, seen) for number, wire in enumerate(wires[READERS:])),
    )
    for wire in wires:
        wire.close()
    return seen


def memory(service: UbrProcess) -> int:
    """MiB of all workers together; 0 where the system does not tell."""
    if not Path("/proc/self/statm").exists():
        return 0
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in children(service.process.pid))
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def p(times: list[float], part: float) -> float:
    return 1000 * sorted(times)[int(len(times) * part)]


async def main(seconds: float) -> None:
    cores = os.cpu_count() or 1
    with PostgresServer.start(private=True, durable=True) as postgres, RedisServer.start(private=True) as redis:
        environment = on_postgres(await asyncio.to_thread(postgres.create_database, "ubr"), redis.url(), workers=cores)
        with tempfile.TemporaryDirectory() as folder, serving(Path(folder), environment) as service:
            async with Wire(service.url) as wire:
                for number in range(PEOPLE):
                    await wire.ask("POST", "/api/auth/register", body=account(number))
                admin = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
                access = (await wire.ask("POST", "/api/auth/login", body=admin)).json()["access_token"]
            await round_of(service, access, 2, 0)
            p99: dict[int, list[float]] = {storm: [] for storm in STORMS}
            for _ in range(ROUNDS):
                for storm in STORMS:
                    seen = await round_of(service, access, seconds, storm)
                    p50, high = p(seen.reads, 0.5), p(seen.reads, 0.99)
                    p99[storm].append(high)
                    logins = {status: round(count / seconds) for status, count in seen.logins.items()}
                    print(
                        f"{storm:3} log in: reads {len(seen.reads) / seconds:4.0f}/s, p50 {p50:5.1f} ms, "
                        f"p99 {high:5.1f} ms, not 200: {seen.refused_reads}; logins per second {logins}, "
                        f"503 without Retry-After: {seen.without_retry_after}; workers {memory(service)} MiB"
                    )
            rest = median(p99[0])
            for storm in STORMS[1:]:
                loud = median(p99[storm])
                print(f"{cores} cores, {storm} log in: read p99 {rest:.1f} to {loud:.1f} ms, {loud / rest:.1f} times")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 8))
