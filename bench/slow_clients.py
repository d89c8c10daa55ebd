"""What clients that never read, and clients that never finish a request, do to the memory of a service and to others.

Run it as `python -m bench.slow_clients [CLIENTS [SECONDS]]`: `ubr serve` on SQLite; 1,000 connections that ask for the
largest asset and read nothing; 1,000 that are half open, of which every second sends nothing and the others the first
line of a request. All come from that many client IPs, of 127.0.1.0/24. Another client opens a new connection for each
of its requests, fifty times a second, first alone and then beside them.

It prints the memory of the process and of the kernel's sockets, and the times of the other client. It exits with 1
unless the process grew by less than 256 MiB and, with one client IP, the p99 beside them was below 100 ms.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.support.service import UbrProcess, serving
from ubr.entrypoints.http.files import assets_revision

EACH: Final = 1000
PERIOD: Final = 0.02
MAX_GROWTH: Final = 256 * 1024
MAX_P99: Final = 100.0
OTHER: Final = "127.0.2.1"
_FILES: Final = 4096


def lines(file: str) -> list[str]:
    return Path(file).read_text().splitlines()


def memory(process: int) -> int:
    """KiB of physical memory."""
    return next(int(line.split()[1]) for line in lines(f"/proc/{process}/status") if line.startswith("VmRSS"))


def socket_memory() -> int:
    """KiB that the kernel holds for the sockets of this machine."""
    words = next(line for line in lines("/proc/net/sockstat") if line.startswith("TCP:")).split()
    return int(words[words.index("mem") + 1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def connections(port: int) -> int:
    """The number of accepted connections on this port."""
    rows = [line.split() for line in lines("/proc/net/tcp")]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def opened(port: int, clients: int, count: int, request: bytes | None) -> list[socket.socket]:
    """Connections that send the request, or nothing, and never read."""
    made = []
    for number in range(count):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        connection.bind((f"127.0.1.{1 + number % clients}", 0))
        with suppress(BlockingIOError):
            connection.connect(("127.0.0.1", port))
        made.append(connection)
    if request:
        for connection in made:
            connection.setblocking(True)
            with suppress(OSError):
                connection.sendall(request)
    return made


async def ask(port: int, times: list[float]) -> None:
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(OTHER, 0))
    writer.write(b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: ubr\r\nConnection: close\r\n\r\n")
    if not (await reader.read()).startswith(b"HTTP/1.1 200 "):
        raise AssertionError
    writer.close()
    times.append((time.perf_counter() - began) * 1000)


async def asked(port: int, seconds: float) -> list[float]:
    """Milliseconds of the requests of the other client, which are sent at a steady pace."""
    times: list[float] = []
    async with asyncio.TaskGroup() as group:
        for _ in range(int(seconds / PERIOD)):
            group.create_task(ask(port, times))
            await asyncio.sleep(PERIOD)
    return sorted(times)


def told(name: str, service: UbrProcess, times: Sequence[float]) -> float:
    p99 = times[int(len(times) * 0.99)]
    print(
        f"{name}: {memory(service.workers()[0]) // 1024} MiB, sockets {socket_memory() // 1024} MiB, "
        f"{connections(service.port)} connections; the other client: {len(times)} requests, "
        f"p50 {times[len(times) // 2]:.1f} ms, p99 {p99:.1f} ms, longest {times[-1]:.1f} ms"
    )
    return p99


def main(clients: int, seconds: float) -> int:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, max(_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}, on {os.cpu_count()} cores")
    with TemporaryDirectory() as folder, serving(Path(folder)) as service:
        asset = f"/api/docs/{assets_revision()}/swagger-ui-bundle.js"
        service.status(asset)  # The first request compresses it.
        told("alone", service, asyncio.run(asked(service.port, seconds)))
        before = memory(service.workers()[0])
        held = opened(service.port, clients, EACH, f"GET {asset} HTTP/1.1\r\nHost: ubr\r\n\r\n".encode())
        held += opened(service.port, clients, EACH // 2, None)
        held += opened(service.port, clients, EACH // 2, b"GET / HTTP/1.1\r\n")
        p99 = told(f"beside {len(held)} connections", service, asyncio.run(asked(service.port, seconds)))
        growth = memory(service.workers()[0]) - before
        for connection in held:
            connection.close()
    print(f"the process grew by {growth // 1024} MiB; load after: {os.getloadavg()[0]:.1f}")
    return int(growth >= MAX_GROWTH or (clients == 1 and p99 >= MAX_P99))


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(main(int(given[0]) if given else 1, float(given[1]) if len(given) > 1 else 30.0))
