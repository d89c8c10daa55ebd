"""What the janitor does to people who read, while it deletes two million expired sessions.

Run it as `python -m bench.janitor [SESSIONS [TOKENS]]`: a durable PostgreSQL with that many expired sessions, each with
that many tokens; one process with the application, its background jobs and steady authenticated reads. The janitor
works in slices that take turns with slices without it, so that whatever else the machine does disturbs both alike. The
figures of the readers are of all slices of a kind together. The slowest statement is from the log of PostgreSQL.

It exits with 1 unless the janitor came to an end, each statement took less than 200 ms, and the p99 of the readers rose
by 5 ms at most.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from bench.load_sessions import SESSIONS, TOKENS, load
from tests.support.servers import PostgresServer
from ubr import SYSTEM, Actor, Application, CreateUserCommand, GetUserCommand, ListUsersCommand, LogInCommand, Settings
from ubr.adapters.sql.migrations import upgrade
from ubr.application.ports.unit_of_work import Repositories, Transaction, UnitOfWork
from ubr.bootstrap import open_environment
from ubr.domain.actor import System

READERS: Final = 2
"""Of each kind."""
PAUSE: Final = 0.1
BUSY: Final = 10.0
QUIET: Final = 2.0
"""Seconds of a slice, with the janitor and without it."""
LOGGED: Final = 20
"""Milliseconds from which on PostgreSQL logs a statement."""
MAX_STATEMENT: Final = 200.0
MAX_RAISE: Final = 5.0
EMAIL: Final = "admin@example.org"
PASSWORD: Final = "the first administrator"
_DURATION: Final = re.compile(r"duration: ([0-9.]+) ms\s+(?:execute [^:]*|statement|parse [^:]*|bind [^:]*): (.*)")

Read = Callable[[], Awaitable[object]]
Times = dict[tuple[str, bool], list[float]]
"""Seconds of each read, by its name, and whether the janitor worked."""


@dataclass(slots=True)
class Gate:
    """Units of work for the janitor, which begin only in its slices."""

    inner: UnitOfWork
    open: asyncio.Event = field(default_factory=asyncio.Event)
    units: int = 0

    def read(self) -> AbstractAsyncContextManager[Transaction]:
        return self.inner.read()

    def peek(self) -> AbstractAsyncContextManager[Repositories]:
        return self.inner.peek()

    def autocommit(self) -> AbstractAsyncContextManager[Repositories]:
        return self.inner.autocommit()

    @asynccontextmanager
    async def begin(self, actor: Actor | System | None) -> AsyncIterator[Transaction]:
        await self.open.wait()
        self.units += 1
        async with self.inner.begin(actor) as tx:
            yield tx


def reads(ubr: Application, actor: Actor) -> dict[str, Read]:
    return {
        "the own user": lambda: ubr.get_user(GetUserCommand(user_id=actor.user_id), actor=actor),
        "a page of users": lambda: ubr.list_users(ListUsersCommand(limit=20), actor=actor),
    }


async def repeat(name: str, read: Read, gate: Gate, times: Times) -> None:
    """One reader, at a steady pace."""
    while True:
        began = time.perf_counter()
        busy = gate.open.is_set()
        await read()
        took = time.perf_counter() - began
        if busy is gate.open.is_set():
            times[name, busy].append(took)
        await asyncio.sleep(max(0.0, PAUSE - took))


async def in_slices(work: asyncio.Task[int], gate: Gate) -> float:
    """Open and close the gate until the work is done. Returns the seconds for which it was open."""
    worked = 0.0
    while not work.done():
        await asyncio.sleep(QUIET)
        began = time.perf_counter()
        gate.open.set()
        await asyncio.wait([work], timeout=BUSY)
        gate.open.clear()
        worked += time.perf_counter() - began
        print(f"\r{gate.units:,} units in {worked:.0f} s", end="", flush=True)
    print()
    return worked


def p(times: list[float], part: float) -> float:
    return 1000 * sorted(times)[int(len(times) * part)]


def slowest(log: str) -> tuple[float, str]:
    """The statement with the longest duration in a log of PostgreSQL."""
    found = [(float(took), words) for took, words in _DURATION.findall(log)]
    return max(found, default=(float(LOGGED), f"(none above {LOGGED} ms)"))


async def main(sessions: int, tokens: int) -> int:
    settings = {"logging_collector": "on", "log_filename": "bench.log", "shared_buffers": "512MB"}
    with PostgresServer.start(private=True, durable=True, settings=settings) as postgres:
        url = await asyncio.to_thread(postgres.create_database, "ubr")
        await upgrade(url)
        await load(url, sessions, tokens)
        environ = {
            "UBR_DATABASE_URL": url,
            "UBR_SECRET_KEY": "a secret that is long enough for a bench",
        }
        times: Times = {}
        async with open_environment(Settings.from_env(environ)) as environment:
            ubr = environment.application
            await ubr.create_user(CreateUserCommand(email=EMAIL, password=PASSWORD, roles=["admin"]), actor=SYSTEM)
            gate = Gate(environment.janitor.unit_of_work)
            janitor = replace(environment.janitor, unit_of_work=gate)
            access = (await ubr.log_in(LogInCommand(email=EMAIL, password=PASSWORD))).access_token
            actor = await ubr.authenticate(access)
            kinds = reads(ubr, actor)
            times |= {(name, busy): [] for name in kinds for busy in (False, True)}
            readers = [
                asyncio.create_task(repeat(name, read, gate, times))
                for name, read in kinds.items()
                for _ in range(READERS)
            ]
            await asyncio.to_thread(postgres.query, f"ALTER SYSTEM SET log_min_duration_statement = {LOGGED}")
            await asyncio.to_thread(postgres.query, "SELECT pg_reload_conf()")
            work = asyncio.create_task(janitor())
            took = await in_slices(work, gate)
            first = gate.units
            again = asyncio.create_task(janitor())
            await in_slices(again, gate)
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            deleted, more = await work, await again
        log = str(await asyncio.to_thread(postgres.query, "SELECT pg_read_file('log/bench.log')"))
        left = await asyncio.to_thread(postgres.query, "SELECT count(*) FROM refresh_tokens", database="ubr")
    print(f"deleted {deleted:,} of {sessions:,} sessions in {took:.0f} s and {first:,} units; {left} tokens are left")
    duration, words = slowest(log)
    print(f"slowest statement: {duration:.0f} ms, {words[:100]}")
    raised = []
    for name in kinds:
        rest, loud = times[name, False], times[name, True]
        raised.append(p(loud, 0.99) - p(rest, 0.99))
        print(
            f"{name}: p50 {p(rest, 0.5):.1f} to {p(loud, 0.5):.1f} ms, p99 {p(rest, 0.99):.1f} to {p(loud, 0.99):.1f} "
            f"ms ({len(rest)} reads without the janitor, {len(loud)} beside it)"
        )
    return 0 if deleted == sessions and not more and duration < MAX_STATEMENT and max(raised) <= MAX_RAISE else 1


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:3]]
    sys.exit(asyncio.run(main(*(given + [SESSIONS, TOKENS][len(given) :]))))
