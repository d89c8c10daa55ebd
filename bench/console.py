"""How long the service works for each page of the console: run it as `python -m bench.console DATABASE_URL [USERS]`.

On a PostgreSQL that `ubr migrate` has prepared it loads 1,000,000 users by default, a role that a tenth of them hold,
and as many log entries of the last week; a database gets them once. Then it opens each page a hundred times, one after
the other, in process and over a real session cookie, and prints the median, p99 and the longest time in milliseconds.
The loaded entries are not part of the tree, so only a proof of an entry of the bench itself is measured. The service
writes log lines to standard error: append `2>/dev/null`.
"""

# ruff: noqa: INP001, S608, T201 - a script, not a package, that talks to whoever runs it, in SQL of its own making

from __future__ import annotations

import sys
import time
from typing import Final

import httpx
import uvloop
from sqlalchemy import text

from bench.load_sessions import ID
from ubr import SYSTEM, Application, AssignRoleCommand, CreateUserCommand, ListLogsCommand, Settings, connect
from ubr.adapters.sql import ConnectionLimits, make_engine
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.domain.errors import EmailTaken, RoleNameTaken
from ubr.entrypoints.http.app import create_app
from ubr.settings import LoginRateLimit
from ubr.testing import TINY_HASHING

USERS: Final = 1_000_000
ROUNDS: Final = 100
EMAIL: Final = "admin@example.org"
PASSWORD: Final = "correct horse battery staple"
_LIMITS: Final = ConnectionLimits(connections=1, statement=3600.0, lock=60.0)
_BEGAN: Final = "timestamptz '2020-01-01 12:00+00' + n * interval '1 second'"
_USER: Final = ID.format(moment=f"({_BEGAN})", seed="'console' || n")

_LOAD: Final = (
    f"""
INSERT INTO users (id, email, email_key, full_name, full_name_key, status, email_verified, created_at, updated_at,
    security_version, version)
SELECT {_USER}, 'user' || n || '@example.org', 'user' || n || '@example.org', 'Name ' || n, 'name ' || n,
    CASE WHEN n % 50 = 0 THEN 'disabled' ELSE 'active' END, true, {_BEGAN}, {_BEGAN}, 1, 1
FROM generate_series(1, CAST(:users AS int)) AS n
""",
    f"""
INSERT INTO user_roles (user_id, role_id, granted_at)
SELECT {_USER}, (SELECT id FROM roles WHERE name = 'editor'), {_BEGAN}
FROM generate_series(1, CAST(:users AS int)) AS n WHERE n % 10 = 0
""",
    "ALTER TABLE logs DISABLE TRIGGER USER",
    f"""
INSERT INTO logs (id, format, level, action, message, timestamp, actor_id, target_type, target_id, request_id_given,
    data, salt)
SELECT {ID.format(moment="t", seed="'entry' || n")}, 1, CASE WHEN n % 4 = 0 THEN 'warning' ELSE 'info' END,
    CASE n % 4 WHEN 0 THEN 'session.login_failed' WHEN 1 THEN 'session.revoked' ELSE 'session.opened' END,
    'A text', t, {_USER}, 'user', CAST({_USER} AS text), false, '{{"reason":"wrong_password"}}', '\\x00'::bytea
FROM generate_series(1, CAST(:users AS int)) AS n,
    LATERAL (SELECT clock_timestamp() - interval '7 days' * (n::float / CAST(:users AS int))) AS times (t)
""",
    "ALTER TABLE logs ENABLE TRIGGER USER",
    "ANALYZE",
)


async def load(url: str, users: int) -> None:
    engine = make_engine(url, _LIMITS)
    try:
        async with engine.begin() as connection:
            for statement in _LOAD:
                began = time.perf_counter()
                await connection.execute(text(statement), {"users": users} if ":users" in statement else {})
                print(f"{statement.strip().splitlines()[0][:40]}: {time.perf_counter() - began:.0f} s", flush=True)
    finally:
        await engine.dispose()


async def prepare(ubr: Application, url: str, users: int) -> None:
    """The role, the administrator, and the load, once."""
    try:
        await ubr.create_role(CreateRoleCommand(name="editor", permissions=["users:read"]), actor=SYSTEM)
    except RoleNameTaken:
        return
    await load(url, users)


async def pages(ubr: Application) -> list[str]:
    entry = (await ubr.list_logs(ListLogsCommand(action="role.created", limit=1), actor=SYSTEM)).items[0]
    user = (await ubr.list_logs(ListLogsCommand(action="session.opened", limit=3), actor=SYSTEM)).items[-1].actor_id
    return [
        "/console",
        "/console/users",
        "/console/users?sort=-email",
        "/console/users?q=user99",
        "/console/users?q=stranger",
        "/console/users?q=user99&role=editor&status=active",
        "/console/users?role=editor&sort=-created_at",
        "/console/users?status=disabled&sort=email",
        f"/console/users/{user}",
        f"/console/users/{user}/login",
        f"/console/users/{user}/acts/disable",
        f"/console/users/{user}/acts/delete",
        "/console/roles",
        "/console/log",
        "/console/log?action=session.login_failed",
        f"/console/log?target_id={user}&level=warning",
        "/console/log?level=error&action=session.revoked",
        f"/console/log/{entry.id}",
        "/console/log/checkpoint",
        "/console/machines",
        "/console/mails",
        "/console/keys",
        "/console/health",
    ]


async def measure(client: httpx.AsyncClient, path: str) -> list[float]:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = await client.get(path)
        times.append((time.perf_counter() - began) * 1000)
        if answer.status_code != httpx.codes.OK:
            raise SystemExit(f"{path}: {answer.status_code}")
    return sorted(times)


async def main(url: str, users: int = USERS) -> None:
    # A fixed secret, so that a loaded database can be measured again.
    settings = Settings.memory(
        database_url=url,
        secret_keys=(b"a secret that is long enough to measure with",),
        login_rate_limit=LoginRateLimit(None, None),
        **TINY_HASHING,
    )
    async with connect(settings) as ubr:
        await prepare(ubr, url, users)
        try:
            user = await ubr.create_user(CreateUserCommand(email=EMAIL, password=PASSWORD), actor=SYSTEM)
            await ubr.assign_role(AssignRoleCommand(user_id=user.id, role="admin"), actor=SYSTEM)
        except EmailTaken:
            pass
        headers = {"accept": "text/html", "sec-fetch-site": "same-origin", "origin": "https://ubr.test"}
        transport = httpx.ASGITransport(create_app(ubr))
        async with httpx.AsyncClient(transport=transport, base_url="https://ubr.test", headers=headers) as client:
            await client.post("/login", data={"email": EMAIL, "password": PASSWORD})
            print(f"{'page':60} {'median':>8} {'p99':>8} {'max':>8}")
            for path in await pages(ubr):
                await client.get(path)
                times = await measure(client, path)
                print(f"{path:60} {times[ROUNDS // 2]:8.1f} {times[-2]:8.1f} {times[-1]:8.1f}", flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], *map(int, sys.argv[2:3])))
