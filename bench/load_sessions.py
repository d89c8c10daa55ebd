"""Fill a database with expired sessions and their refresh tokens, as a long stop of the service leaves them.

Run it as `python -m bench.load_sessions DATABASE_URL [SESSIONS [TOKENS]]` on a PostgreSQL that `ubr migrate` has
prepared: by default 2,000,000 sessions of 20,000 users, with 2 tokens each. The sessions ended within the last 90 days.
"""

# ruff: noqa: INP001, S608, T201 - a script, not a package, that talks to whoever runs it, in SQL of its own making

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final

from sqlalchemy import text

from ubr.adapters.sql import ConnectionLimits, make_engine

SESSIONS: Final = 2_000_000
TOKENS: Final = 2
USERS: Final = 20_000
_PORTION: Final = 100_000
"""Sessions of one transaction."""
_LIMITS: Final = ConnectionLimits(connections=1, statement=3600.0, lock=60.0)

# As ubr makes ids: the first 48 bits are the milliseconds since 1970 (RFC 9562, 5.7), so they are in order of time.
ID: Final = (
    "(lpad(to_hex((extract(epoch FROM {moment}) * 1000)::bigint), 12, '0') || '7'"
    " || substr(md5({seed}), 1, 3) || '8' || substr(md5({seed}), 4, 15))::uuid"
)

_USERS: Final = f"""
INSERT INTO users (id, email, email_key, status, email_verified, created_at, updated_at, security_version, version)
SELECT {ID.format(moment="m", seed="'user' || n")}, 'user' || n || '@example.org', 'user' || n || '@example.org',
    'active', true, m, m, 1, 1
FROM generate_series(1, CAST(:users AS int)) AS n, (VALUES (timestamptz '2020-01-01 12:00+00')) AS moments (m)
ON CONFLICT DO NOTHING
"""

# `n` counts from the oldest to the newest.
_ENDED: Final = (
    "LATERAL (SELECT CAST(:now AS timestamptz) - interval '90 days' * (1 - n::float / CAST(:sessions AS int)))"
    " AS t (ended)"
)

_SESSIONS: Final = f"""
INSERT INTO sessions (id, user_id, created_at, last_seen_at, idle_expires_at, expires_at, ip, user_agent)
SELECT {ID.format(moment="ended - interval '90 days'", seed="'session' || n")},
    {ID.format(moment="timestamptz '2020-01-01 12:00+00'", seed="'user' || (n % CAST(:users AS int) + 1)")},
    ended - interval '90 days', ended - interval '80 days', ended - interval '66 days', ended,
    '2001:db8::1', 'a browser'
FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n,
    {_ENDED}
"""

_TOKENS: Final = f"""
INSERT INTO refresh_tokens (digest, session_id, issued_at, spent_at)
SELECT sha256(('token' || n || '/' || generation)::bytea),
    {ID.format(moment="ended - interval '90 days'", seed="'session' || n")}, ended - interval '90 days',
    CASE WHEN generation < CAST(:tokens AS int) THEN ended - interval '80 days' END
FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n,
    generate_series(1, CAST(:tokens AS int)) AS generation,
    {_ENDED}
"""


async def load(url: str, sessions: int = SESSIONS, tokens: int = TOKENS, *, schema: str | None = None) -> None:
    """Insert that many expired sessions, each with that many tokens. A database gets them once."""
    engine = make_engine(url, _LIMITS, schema=schema)
    began = time.perf_counter()
    try:
        async with engine.begin() as connection:
            now = (await connection.execute(text("SELECT clock_timestamp() - interval '1 minute'"))).scalar_one()
            await connection.execute(text(_USERS), {"users": USERS})
        given = {"sessions": sessions, "now": now}
        for first in range(1, sessions + 1, _PORTION):
            portion = given | {"first": first, "last": min(first + _PORTION - 1, sessions)}
            async with engine.begin() as connection:
                await connection.execute(text(_SESSIONS), portion | {"users": USERS})
                await connection.execute(text(_TOKENS), portion | {"tokens": tokens})
            print(
                f"\r{portion['last']:,} of {sessions:,} sessions, {time.perf_counter() - began:.0f} s",
                end="",
                flush=True,
            )
        print()
    finally:
        await engine.dispose()


if __name__ == "__main__":
    asyncio.run(load(sys.argv[1], *map(int, sys.argv[2:4])))
