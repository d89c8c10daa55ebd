"""The bytes that refreshing takes in the database.

Run it as `python -m bench.refresh_size [SESSIONS [REFRESHES]]`: a PostgreSQL with that many sessions, each refreshed
that often, every ten minutes, with the janitor's step after each hour. It does so twice: as versions before revision
0015 did, with all tokens kept and an entry for each refresh, and as ubr does by default. The figures contain indexes
and are taken after VACUUM FULL, so they are what the rows need.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Final

from tests.contracts.kit import new_session, new_user
from tests.support.servers import PostgresServer
from ubr import SYSTEM, Settings
from ubr.adapters.sql.migrations import upgrade
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.bootstrap import open_environment
from ubr.domain.ids import TokenDigest
from ubr.domain.sessions.session import RefreshToken, Session, SessionLimits

SESSIONS: Final = 40
REFRESHES: Final = 144
APART: Final = timedelta(minutes=10)
LIMITS: Final = SessionLimits(idle=timedelta(days=14), lifetime=timedelta(days=90), per_user=50)
TABLES: Final = ("refresh_tokens", "logs")
BATCH: Final = 10_000


async def refresh(unit_of_work: UnitOfWork, sessions: int, refreshes: int, *, earlier: bool) -> None:
    """Open the sessions, in the past, and refresh them all in turn. `earlier`: as earlier versions did."""
    user = new_user()
    chains: list[tuple[Session, RefreshToken]] = []
    async with unit_of_work.begin(SYSTEM) as tx:
        began = tx.now - APART * (refreshes + 1)
        await tx.users.add(user)
        for _ in range(sessions):
            session = new_session(user, created=began, idle=LIMITS.idle, lifetime=LIMITS.lifetime)
            await tx.sessions.add(session)
            token = RefreshToken(
                digest=TokenDigest(os.urandom(32)),
                session_id=session.id,
                issued_at=began,
                names_session=not earlier,
            )
            await tx.refresh_tokens.add(token)
            chains.append((session, token))
        await tx.commit()
    for number in range(1, refreshes + 1):
        now = began + APART * number
        async with unit_of_work.begin(SYSTEM) as tx:
            for at, (session, token) in enumerate(chains):
                following = replace(token, digest=TokenDigest(os.urandom(32)), issued_at=now)
                await tx.refresh_tokens.spend(token.digest, successor=os.urandom(79), now=now)
                await tx.refresh_tokens.add(following)
                session.refresh(limits=LIMITS, now=now, log_all=earlier)
                await tx.sessions.save(session)
                chains[at] = session, following
            await tx.commit()
        if number % 6 == 0 or number == refreshes:
            async with unit_of_work.begin(SYSTEM) as tx:
                await tx.refresh_tokens.forget_successors(now + APART, BATCH)
                await tx.commit()


async def main(sessions: int, refreshes: int) -> None:
    print(f"{sessions:,} sessions, {refreshes:,} refreshes each")
    with PostgresServer.start(private=True) as postgres:
        for earlier in (True, False):
            name = "earlier" if earlier else "now"
            url = await asyncio.to_thread(postgres.create_database, name)
            await upgrade(url)
            environ = {"UBR_DATABASE_URL": url, "UBR_SECRET_KEY": "a secret that is long enough for a bench"}
            async with open_environment(Settings.from_env(environ)) as environment:
                await refresh(environment.janitor.unit_of_work, sessions, refreshes, earlier=earlier)
            for table in TABLES:
                await asyncio.to_thread(postgres.query, f"VACUUM FULL {table}", database=name)
                found = await asyncio.to_thread(
                    postgres.query,
                    f"SELECT pg_total_relation_size('{table}') || ' ' || count(*) FROM {table}",  # noqa: S608
                    database=name,
                )
                size, rows = map(int, str(found).split())
                print(
                    f"{name}: {table}: {rows:,} rows, {size / sessions:,.0f} bytes a session, "
                    f"{size / sessions / refreshes:,.0f} bytes a refresh"
                )


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:3]]
    asyncio.run(main(*(given + [SESSIONS, REFRESHES][len(given) :])))
