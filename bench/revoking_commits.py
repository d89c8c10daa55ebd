"""How many revoking transactions PostgreSQL commits in a second, one after the other as the feed's numbers make them.

Run it as `python -m bench.revoking_commits [SECONDS]`: a durable PostgreSQL on this disk; the same transactions with
the feed, with rows that get no number, and without any. Rounds are interleaved; the figures are medians.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import Final
from uuid import UUID, uuid4

import asyncpg

from tests.support.servers import PostgresServer
from ubr import SYSTEM, Application, LogInCommand, RegisterUserCommand, RevokeSessionCommand, Settings, connect
from ubr.testing import TINY_HASHING

ROUNDS: Final = 5
SESSIONS: Final = 64
PASSWORD: Final = "a long enough password"

TOUCH: Final = "UPDATE sessions SET last_seen_at = now() WHERE id = $1"
ANNOUNCE: Final = "INSERT INTO feed (batch, ordinal, kind, thing, at) VALUES ($1, 0, 'session', $2, now())"


async def opened(ubr: Application) -> list[UUID]:
    email = "user@example.org"
    await ubr.register_user(RegisterUserCommand(email=email, password=PASSWORD))
    tokens = [await ubr.log_in(LogInCommand(email=email, password=PASSWORD)) for _ in range(SESSIONS)]
    return [(await ubr.authenticate(each.access_token)).session_id for each in tokens]


async def rate(doings: Sequence[Callable[[], Awaitable[object]]], seconds: float) -> float:
    """How often all of them together are done in a second."""
    done = 0
    until = time.perf_counter() + seconds

    async def repeat(do: Callable[[], Awaitable[object]]) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await do()
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*map(repeat, doings))
    return done / (time.perf_counter() - began)


def transaction(connection: asyncpg.Connection, session_id: UUID, *, announced: bool) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        async with connection.transaction():
            await connection.execute(TOUCH, session_id)
            if announced:
                await connection.execute(ANNOUNCE, uuid4(), str(session_id))

    return run


async def database_alone(dsn: str, sessions: list[UUID], seconds: float) -> None:
    connections = [await asyncpg.connect(dsn) for _ in range(32)]
    kinds = {
        "with the feed": (True, "ENABLE"),
        "rows without numbers": (True, "DISABLE"),
        "no rows": (False, "DISABLE"),
    }
    for count in (1, 8, 32):
        rates: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(ROUNDS):
            for kind, (announced, trigger) in kinds.items():
                await connections[0].execute(f"ALTER TABLE feed {trigger} TRIGGER number_feed")
                doings = [
                    transaction(connection, sessions[at], announced=announced)
                    for at, connection in enumerate(connections[:count])
                ]
                rates[kind].append(await rate(doings, seconds))
        await connections[0].execute("ALTER TABLE feed ENABLE TRIGGER number_feed")
        figures = {kind: median(found) for kind, found in rates.items()}
        ratio = figures["with the feed"] / figures["no rows"]
        shown = ", ".join(f"{kind} {figure:6.0f}/s" for kind, figure in figures.items())
        print(f"{count:2} connections: {shown}; with / no rows {ratio:.2f}")
    for connection in connections:
        await connection.close()


async def use_cases(ubr: Application, sessions: list[UUID], seconds: float) -> None:
    """Whole use cases, of which one that finds the session ended does all that the first did."""
    for count in (1, 8):
        turn = itertools.poll_feed(sessions)

        async def revoke() -> None:
            await ubr.revoke_session(RevokeSessionCommand(session_id=next(turn)), actor=SYSTEM)  # noqa: B023

        print(f"{count:2} at once: {await rate([revoke] * count, 3 * seconds):6.0f} use cases/s in one process")


async def main(seconds: float) -> None:
    with PostgresServer.start(private=True, durable=True) as server:
        url = await asyncio.to_thread(server.create_database, "ubr")
        settings = Settings.memory(database_url=url, migrate="auto", sessions_per_user=SESSIONS, **TINY_HASHING)
        async with connect(settings) as ubr:
            sessions = await opened(ubr)
            print(server.origin)
            await database_alone(url.replace("+asyncpg", ""), sessions, seconds)
            await use_cases(ubr, sessions, seconds)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 2))
