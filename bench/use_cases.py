"""What each use case costs on PostgreSQL: run it as `python -m bench.use_cases [DATABASE_URL]`.

Prints the processor time of this process for one call, the round trips and the units of work, each in process and with
a tiny password hash. Without a URL it starts a PostgreSQL of its own. Times are medians of ten rounds.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from statistics import median
from typing import Any, Final
from uuid import uuid4

import uvloop
from sqlalchemy import event

from tests.support.servers import PostgresServer
from ubr import (
    SYSTEM,
    Application,
    ChangePasswordCommand,
    GetUserCommand,
    ListLogsCommand,
    ListRolesCommand,
    ListSessionsCommand,
    ListUserRolesCommand,
    ListUsersCommand,
    LogInCommand,
    RefreshSessionCommand,
    RegisterUserCommand,
    Settings,
    connect,
)
from ubr.settings import Limit, LoginRateLimit, RateLimit
from ubr.testing import TINY_HASHING

PASSWORD: Final = "correct horse battery staple"
USERS: Final = 60
ROUNDS: Final = 10
CALLS: Final = 30
MANY: Final = Limit(1_000_000, timedelta(minutes=1))

Act = Callable[[], Awaitable[object]]


class Counter:
    """Counts the messages to PostgreSQL, and the units of work."""

    def __init__(self) -> None:
        self.trips = self.units = 0

    def sent(self, query: Any) -> None:
        self.trips += 1
        self.units += query.query.startswith("BEGIN")


async def acts(ubr: Application) -> dict[str, Act]:
    for number in range(USERS):
        await ubr.register_user(RegisterUserCommand(email=f"user{number}@example.org", password=PASSWORD))
    tokens = await ubr.log_in(LogInCommand(email="user0@example.org", password=PASSWORD))
    actor = await ubr.authenticate(tokens.access_token)
    newest = [tokens.refresh_token]
    passwords = [PASSWORD, PASSWORD + " again"]

    async def log_out() -> None:
        opened = await ubr.log_in(LogInCommand(email="user3@example.org", password=PASSWORD))
        await ubr.log_out(actor=await ubr.authenticate.even_if_ended(opened.access_token))

    async def refresh() -> None:
        newest.append((await ubr.refresh_session(RefreshSessionCommand(refresh_token=newest.pop()))).refresh_token)

    async def change_password() -> None:
        passwords.reverse()
        new, old = passwords
        await ubr.change_password(ChangePasswordCommand(current_password=old, new_password=new), actor=actor)

    return {
        "login": lambda: ubr.log_in(LogInCommand(email="user1@example.org", password=PASSWORD)),
        "refresh": refresh,
        "registration": lambda: ubr.register_user(
            RegisterUserCommand(email=f"{uuid4().hex}@example.org", password=PASSWORD)
        ),
        "login and log-out": log_out,
        "change of password": change_password,
        "own user": lambda: ubr.get_user(GetUserCommand(user_id=actor.user_id), actor=actor),
        "another user": lambda: ubr.get_user(GetUserCommand(user_id=actor.user_id), actor=SYSTEM),
        "first page of users": lambda: ubr.list_users(ListUsersCommand(), actor=SYSTEM),
        "users by a prefix": lambda: ubr.list_users(ListUsersCommand(q="user1"), actor=SYSTEM),
        "roles": lambda: ubr.list_roles(ListRolesCommand(), actor=SYSTEM),
        "a user's roles": lambda: ubr.list_user_roles(ListUserRolesCommand(user_id=actor.user_id), actor=SYSTEM),
        "a user's sessions": lambda: ubr.list_sessions(ListSessionsCommand(user_id=actor.user_id), actor=SYSTEM),
        "logs": lambda: ubr.list_logs(ListLogsCommand(), actor=SYSTEM),
    }


async def cost(act: Act, calls: int) -> float:
    """Milliseconds of processor time for one call."""
    began = time.process_time()
    for _ in range(calls):
        await act()
    return (time.process_time() - began) / calls * 1e3


def measured_settings(url: str) -> Settings:
    """No limits of logins, and a tiny password hash."""
    return Settings.memory(
        database_url=url,
        migrate="auto",
        secret_keys=(b"a secret that is long enough to measure with",),
        login_rate_limit=LoginRateLimit(MANY, MANY),
        session_rate_limit=RateLimit(MANY),
        refresh_rate_limit=RateLimit(MANY),
        own_change_rate_limit=RateLimit(MANY),
        **TINY_HASHING,
    )


async def measure(url: str) -> None:
    counter = Counter()
    async with connect(measured_settings(url)) as ubr:
        units: Any = ubr.list_users.unit_of_work
        engine = units.inner._engine  # noqa: SLF001

        @event.listens_for(engine.sync_engine, "checkout")
        def taken(connection: Any, *_: object) -> None:
            connection.driver_connection.add_query_logger(counter.sent)

        every = await acts(ubr)
        print(f"{'use case':22} {'ms of CPU':>10} {'round trips':>12} {'units':>6}")
        for name, act in every.items():
            await cost(act, 5)
            counter.trips = counter.units = 0
            await cost(act, CALLS)
            trips, units = counter.trips / CALLS, counter.units / CALLS
            gc.collect()
            took = median([await cost(act, CALLS) for _ in range(ROUNDS)])
            print(f"{name:22} {took:10.2f} {trips:12.1f} {units:6.1f}")


def main() -> None:
    if len(sys.argv) > 1:
        uvloop.run(measure(sys.argv[1]))
        return
    server = PostgresServer.start(private=True)
    try:
        uvloop.run(measure(server.create_database(f"bench_{os.getpid()}")))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
