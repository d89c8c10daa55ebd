"""How long the service works for each page of the console: run it as `python -m bench.console DATABASE_URL [USERS]`.

The URL is that of an empty database, on PostgreSQL or as `sqlite:///path/to/file.db`. It is migrated, and filled with
1,000,000 users by default, a role that a tenth of them hold, and as many log entries of the last week, all of them in
the tree of the log. A database is filled once: give the same number of users when you measure it again.

Then each page is opened a hundred times, one after the other, in process and over a real session cookie. Printed are
the median, the p99 and the longest time in milliseconds, then the median and the p99 of the processor time of this
process, which other work on the machine changes less; with SQLite this includes the work of the database. The service
writes log lines to standard error: append `2>/dev/null`.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import re
import sys
import time
from typing import Final

import httpx
import uvloop

from bench.large import ROLE, load, sequenced, user_id
from ubr import (
    SYSTEM,
    Application,
    AssignRoleCommand,
    CreateUserCommand,
    ListLogsCommand,
    ListRolesCommand,
    Settings,
    connect,
)
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.domain.errors import RoleNameTaken
from ubr.entrypoints.http.app import create_app
from ubr.settings import LoginRateLimit
from ubr.testing import TINY_HASHING

USERS: Final = 1_000_000
ROUNDS: Final = 100
EMAIL: Final = "admin@example.org"
PASSWORD: Final = "correct horse battery staple"
ID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def prepare(settings: Settings, users: int) -> None:
    """The role, the administrator, and the load, once."""
    async with connect(settings) as ubr:
        try:
            await ubr.create_role(CreateRoleCommand(name=ROLE, permissions=["users:read"]), actor=SYSTEM)
        except RoleNameTaken:
            return
        user = await ubr.create_user(CreateUserCommand(email=EMAIL, password=PASSWORD), actor=SYSTEM)
        await ubr.assign_role(AssignRoleCommand(user_id=user.id, role="admin"), actor=SYSTEM)
    await load(settings.database_url, users_=users, entries=users)
    async with connect(settings, background=True):
        await sequenced(settings.database_url)


async def pages(ubr: Application, users: int) -> list[str]:
    user = user_id(users // 2 + 1)
    entry = (await ubr.list_logs(ListLogsCommand(actor_id=user, limit=1), actor=SYSTEM)).items[0]
    role = next(role for role in (await ubr.list_roles(ListRolesCommand(), actor=SYSTEM)).items if role.name == ROLE)
    return [
        "/console",
        "/console/users",
        "/console/users?sort=-email",
        "/console/users?q=user99",
        "/console/users?q=stranger",
        "/console/users?q=user99&role=editor&status=active",
        "/console/users?role=editor&sort=-created_at",
        "/console/users?status=disabled&sort=email",
        "/console/users/new",
        f"/console/users/{user}",
        f"/console/users/{user}/login",
        f"/console/users/{user}/acts/assign",
        f"/console/users/{user}/acts/disable",
        f"/console/users/{user}/acts/delete",
        "/console/roles",
        "/console/roles/new",
        f"/console/roles/{role.id}",
        f"/console/roles/{role.id}/delete",
        "/console/log",
        "/console/log?action=session.login_failed",
        f"/console/log?target_id={user}&level=warning",
        "/console/log?level=error&action=session.revoked",
        f"/console/log/{entry.id}",
        "/console/log/checkpoint",
        "/console/machines",
        "/console/machines/new",
        "/console/mails",
        "/console/keys",
        "/console/keys/rotate",
        "/console/health",
    ]


async def measure(client: httpx.AsyncClient, path: str) -> tuple[list[float], list[float]]:
    """The milliseconds of the answers, and those of their processor time, both sorted."""
    times, work = [], []
    for _ in range(ROUNDS):
        began, worked = time.perf_counter(), time.process_time()
        answer = await client.get(path)
        times.append((time.perf_counter() - began) * 1000)
        work.append((time.process_time() - worked) * 1000)
        if answer.status_code != httpx.codes.OK:
            raise SystemExit(f"{path}: {answer.status_code}")
    return sorted(times), sorted(work)


async def main(url: str, users: int = USERS) -> None:
    # A fixed secret, so that a loaded database can be measured again.
    settings = Settings.memory(
        database_url=url,
        migrate="auto",
        secret_keys=(b"a secret that is long enough to measure with",),
        login_rate_limit=LoginRateLimit(None, None),
        **TINY_HASHING,
    )
    await prepare(settings, users)
    async with connect(settings) as ubr:
        headers = {"accept": "text/html", "sec-fetch-site": "same-origin", "origin": "https://ubr.test"}
        transport = httpx.ASGITransport(create_app(ubr))
        async with httpx.AsyncClient(transport=transport, base_url="https://ubr.test", headers=headers) as client:
            await client.post("/login", data={"email": EMAIL, "password": PASSWORD})
            print(f"{'ms':50} {'median':>8} {'p99':>8} {'max':>8} {'work':>8} {'p99':>8}")
            for path in await pages(ubr, users):
                await client.get(path)
                times, work = await measure(client, path)
                figures = (times[ROUNDS // 2], times[-2], times[-1], work[ROUNDS // 2], work[-2])
                print(f"{ID.sub('…', path):50} {' '.join(f'{figure:8.1f}' for figure in figures)}", flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], *map(int, sys.argv[2:3])))
