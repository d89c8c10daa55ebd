"""The session cache at size: run it as `python -m bench.session_cache [SESSIONS]`, by default with 100,000.

Prints the memory of a cached session, the pause of the garbage collector beside all of them, and how many requests the
cache answers in a second of processor time: of sessions that it knows, of those that it does not know, and in turn of a
quarter more sessions than it has room for. It starts a PostgreSQL of its own.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import uvloop
from sqlalchemy import text

from bench.load_sessions import load
from tests.support.servers import PostgresServer
from ubr import Settings
from ubr.adapters.sql import ConnectionLimits, make_engine
from ubr.application.access.session_cache import SessionCache
from ubr.bootstrap import migrate, open_environment
from ubr.domain.ids import SessionId
from ubr.domain.roles.role import USER_ROLE_ID

AT_ONCE = 64
"""Requests that wait for the cache at the same time."""


def resident() -> float:
    """KiB of memory of this process."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def pause() -> float:
    """Milliseconds of processor time of a complete collection of garbage."""
    began = time.process_time()
    gc.collect()
    return (time.process_time() - began) * 1e3


async def prepared(url: str, sessions: int) -> list[SessionId]:
    """The ids of that many sessions, of users with one role."""
    await load(url, sessions, 1)
    engine = make_engine(url, ConnectionLimits(connections=1))
    async with engine.begin() as connection:
        await connection.execute(
            text("INSERT INTO user_roles (user_id, role_id, granted_at) SELECT id, :role, created_at FROM users"),
            {"role": USER_ROLE_ID},
        )
        ids = (await connection.execute(text("SELECT id FROM sessions ORDER BY md5(id::text)"))).scalars()
        found = [SessionId(id) for id in ids]
    await engine.dispose()
    return found


async def rate(session_cache: SessionCache, ids: Sequence[SessionId]) -> float:
    """Answers in a second of processor time of this process."""
    waiting = iter(ids)

    async def client() -> None:
        for session_id in waiting:
            await session_cache.principal(session_id)
            await asyncio.sleep(0)  # as a request does, which waits for its client

    began = time.process_time()
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return len(ids) / (time.process_time() - began)


async def measure(url: str, sessions: int) -> None:
    settings = Settings.memory(
        database_url=url,
        migrate="auto",
        secret_keys=(b"a secret that is long enough to measure with",),
        session_cache_size=sessions,
    )
    await migrate(settings)
    async with open_environment(settings) as environment:
        ids = await prepared(url, sessions)
        session_cache = environment.session_cache
        gc.collect()
        gc.freeze()
        before = resident()
        print(f"unknown sessions: {rate_text(await rate(session_cache, ids))}")
        gc.collect()
        print(f"memory of a cached session: {(resident() - before) / session_cache.size:.2f} KiB")
        print(f"pause of the garbage collector: {median([pause() for _ in range(9)]):.1f} ms")
        print(f"known sessions: {rate_text(await rate(session_cache, ids))}")
    async with open_environment(replace(settings, session_cache_size=sessions * 4 // 5)) as environment:
        await rate(environment.session_cache, ids)
        print(f"a quarter more than there is room for: {rate_text(await rate(environment.session_cache, ids))}")


def rate_text(answers: float) -> str:
    return f"{answers:,.0f} a second"


def main() -> None:
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    server = PostgresServer.start(private=True)
    try:
        uvloop.run(measure(server.create_database(f"bench_{os.getpid()}"), sessions))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
