"""What a large installation answers, beside an empty one: `python -m bench.at_size [USERS [SESSIONS [ENTRIES]]]`.

It starts a durable PostgreSQL and two services: one on an empty database, the other with 1,000,000 users, 5,000,000
live sessions and 3,000,000 log entries by default, all of them in the tree of the log. Each request goes to both in
turn, over HTTP and one at a time. It prints the median and the p99 of each in milliseconds, and then the seconds and
the memory of the check and the export of the log. It needs some 10 GB of disk, and an hour for the default.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from bench.large import ROLE, load, sequenced
from tests.support import commands
from tests.support.commands import clean_environment
from tests.support.servers import PostgresServer
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess, on_postgres, serving

USERS: Final = 1_000_000
SESSIONS: Final = 5_000_000
ENTRIES: Final = 3_000_000
ROUNDS: Final = 100
ACTS: Final = 20
PASSWORD: Final = "correct horse battery staple"

Ask = Callable[[], Awaitable[httpx.Response]]


class Client:
    """An administrator of one of the services."""

    def __init__(self, service: UbrProcess) -> None:
        self.http = httpx.AsyncClient(base_url=service.url, timeout=600)
        self.number = 0
        self.users: list[str] = []

    async def start(self) -> None:
        await self.log_in()
        role = await self.http.post("/api/roles", json={"name": ROLE, "permissions": ["users:read"]})
        role.raise_for_status()

    async def log_in(self) -> None:
        body = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        answer = await self.http.post("/api/auth/login", json=body)
        answer.raise_for_status()
        self.http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"

    def get(self, path: str) -> Ask:
        return lambda: self.http.get(path)

    async def register(self) -> httpx.Response:
        self.number += 1
        body = {"email": f"new{self.number}@example.org", "password": PASSWORD}
        answer = await self.http.post("/api/auth/register", json=body)
        self.users.append(answer.json()["id"])
        return answer

    async def log_in_as(self) -> httpx.Response:
        body = {"email": f"new{self.number}@example.org", "password": PASSWORD}
        return await self.http.post("/api/auth/login", json=body, headers={"authorization": ""})

    async def refresh(self) -> httpx.Response:
        tokens = (await self.log_in_as()).json()
        return await self.http.post("/api/auth/refresh", json={"refresh_token": tokens["refresh_token"]})

    async def revoke(self) -> httpx.Response:
        tokens = (await self.log_in_as()).json()
        headers = {"authorization": f"Bearer {tokens['access_token']}"}
        return await self.http.delete(f"/api/auth/sessions/{tokens['session_id']}", headers=headers)


async def measure(asks: tuple[Ask, Ask], rounds: int) -> tuple[list[float], list[float]]:
    """The sorted milliseconds of the answers of each service, which are asked in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for ask, took in zip(asks, times, strict=True):
            began = time.perf_counter()
            answer = await ask()
            passed = (time.perf_counter() - began) * 1000
            if answer.is_error:
                raise SystemExit(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}")
            if number:  # the first warms up
                took.append(passed)
    return sorted(times[0]), sorted(times[1])


def reads(user: str) -> Iterator[str]:
    yield "/api/users/me"
    yield "/api/users?limit=50"
    yield "/api/users?limit=50&sort=-email"
    yield "/api/users?limit=50&q=user99"
    yield "/api/users?limit=50&q=stranger"
    yield "/api/users?limit=50&q=user99&role=editor&status=active"
    yield "/api/users?limit=50&role=editor&sort=-created_at"
    yield "/api/users?limit=50&status=disabled&sort=email"
    yield f"/api/users/{user}"
    yield f"/api/users/{user}/roles"
    yield f"/api/users/{user}/sessions"
    yield "/api/roles"
    yield "/api/logs?limit=50"
    yield "/api/logs?limit=50&action=session.login_failed"
    yield f"/api/logs?limit=50&actor_id={user}"
    yield "/api/logs?limit=50&level=error&action=session.revoked"
    yield "/health/ready"


def row(name: str, times: tuple[list[float], list[float]]) -> str:
    figures = (f"{each[len(each) // 2]:9.2f} {each[min(len(each) - 1, len(each) * 99 // 100)]:9.2f}" for each in times)
    return f"{name:58} {' '.join(figures)}"


def check_log(folder: Path, environment: dict[str, str], *command: str) -> None:
    """Run a command on the log, and print its seconds and its memory."""
    began = time.perf_counter()
    with Path(folder, "out").open("wb") as out:
        pid = os.posix_spawn(
            commands.UBR,
            [commands.UBR, *command],
            clean_environment(**environment),
            file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1)],
        )
        _, status, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    passed, cpu = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    print(
        f"ubr {' '.join(command)}: exit code {code}, {passed:.0f} s ({cpu:.0f} s of CPU), {usage.ru_maxrss >> 10} MiB, "
        f"{Path(folder, 'out').stat().st_size >> 20} MiB of output",
        flush=True,
    )


async def main(users: int = USERS, sessions: int = SESSIONS, entries: int = ENTRIES) -> None:
    settings = {"shared_buffers": "512MB", "max_wal_size": "4GB"}
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer.start(private=True, durable=True, settings=settings))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = await asyncio.to_thread(postgres.create_database, "full")
        full = on_postgres(url, workers=1)
        empty = on_postgres(await asyncio.to_thread(postgres.create_database, "empty"), workers=1)
        clients = [Client(stack.enter_context(serving(folder, environment))) for environment in (empty, full)]
        for client in clients:
            await client.start()
        await load(url, users_=users, sessions_=sessions, entries=entries)
        await sequenced(url)
        for client in clients:
            await client.log_in()
            await client.register()
        print(f"{'ms':58} {'empty':>9} {'p99':>9} {'full':>9} {'p99':>9}")
        for paths in zip(*(reads(client.users[0]) for client in clients), strict=True):
            one, other = (client.get(path) for client, path in zip(clients, paths, strict=True))
            print(row(paths[0].replace(clients[0].users[0], "…"), await measure((one, other), ROUNDS)), flush=True)
        for name, act in (
            ("registration", Client.register),
            ("login", Client.log_in_as),
            ("login and refresh", Client.refresh),
            ("login and end of the session", Client.revoke),
        ):
            one, other = (partial(act, client) for client in clients)
            print(row(name, await measure((one, other), ACTS)), flush=True)
        for command in ("verify", "export"):
            check_log(folder, full, "audit", command)
        for client in clients:
            await client.http.aclose()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:4])))
