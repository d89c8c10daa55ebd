"""The rows of a large installation, for PostgreSQL and SQLite: the users, their sessions, and the entries of the log.

The users came from 2020 on, one a second. A tenth of them hold the role `editor`, and a fiftieth are disabled. Their
sessions and the log entries are of the last 7 days. All rows depend on their numbers alone, apart from these days.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import md5, sha256
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import Table, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from ubr.adapters.sql import ConnectionLimits, make_engine
from ubr.adapters.sql.engine import MODE, Mode
from ubr.adapters.sql.tables import log_queue, logs, refresh_tokens, roles, sessions, user_roles, users

ROLE: Final = "editor"
"""It must be there before the rows are loaded."""

_PORTION: Final = 50_000
"""Rows of one transaction."""
_LIMITS: Final = ConnectionLimits(connections=1, acquire=60.0, statement=3600.0, lock=60.0)
_BEGAN: Final = datetime(2020, 1, 1, 12, tzinfo=UTC)
_RECENT: Final = timedelta(days=7)

Row: TypeAlias = Mapping[str, Any]


def id_of(moment: datetime, seed: str) -> UUID:
    """As ubr makes ids: the first 48 bits are the milliseconds since 1970 (RFC 9562, 5.7), so they are in order."""
    rest = md5(seed.encode(), usedforsecurity=False).hexdigest()
    return UUID(f"{int(moment.timestamp() * 1000):012x}7{rest[:3]}8{rest[3:18]}")


def user_id(number: int) -> UUID:
    return id_of(_joined(number), f"user{number}")


def _joined(number: int) -> datetime:
    return _BEGAN + timedelta(seconds=number)


def _user(number: int) -> Row:
    email, moment = f"user{number}@example.org", _joined(number)
    return {
        "id": user_id(number),
        "email": email,
        "email_key": email,
        "full_name": f"Name {number}",
        "full_name_key": f"name {number}",
        "status": "active" if number % 50 else "disabled",
        "email_verified": True,
        "created_at": moment,
        "updated_at": moment,
        "security_version": 1,
        "version": 1,
    }


class _Recent:
    """The rows of the last 7 days, which count from the oldest to the newest. They belong to the users in turn."""

    def __init__(self, now: datetime, users: int, rows: int) -> None:
        self._now, self._users, self._rows = now, users, rows

    def session(self, number: int) -> Row:
        moment = self._moment(number)
        return {
            "id": self._session_id(number),
            "user_id": self._owner(number),
            "created_at": moment,
            "last_seen_at": moment,
            "idle_expires_at": moment + timedelta(days=14),
            "expires_at": moment + timedelta(days=90),
            "ip": "2001:db8::1",
            "user_agent": "a browser",
        }

    def token(self, number: int) -> Row:
        return {
            "digest": sha256(f"token{number}".encode()).digest(),
            "session_id": self._session_id(number),
            "issued_at": self._moment(number),
        }

    def entry(self, number: int) -> Row:
        moment, owner = self._moment(number), self._owner(number)
        action = {0: "session.login_failed", 1: "session.revoked"}.get(number % 4, "session.opened")
        return {
            "id": id_of(moment, f"entry{number}"),
            "format": 1,
            "level": "info" if number % 4 else "warning",
            "action": action,
            "message": "A text",
            "timestamp": moment,
            "actor_id": owner,
            "target_type": "user",
            "target_id": str(owner),
            "request_id_given": False,
            "data": '{"reason":"wrong_password"}',
            "salt": md5(f"salt{number}".encode(), usedforsecurity=False).digest(),
        }

    def _moment(self, number: int) -> datetime:
        moment = self._now - _RECENT * (1 - number / self._rows)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)  # as the log has its times

    def _owner(self, number: int) -> UUID:
        return user_id(number % self._users + 1)

    def _session_id(self, number: int) -> UUID:
        return id_of(self._moment(number), f"session{number}")


async def load(url: str, *, users_: int, sessions_: int = 0, entries: int = 0) -> None:
    """Insert these numbers of rows, each session with a refresh token. A database gets them once."""
    engine = make_engine(url, _LIMITS)
    now = datetime.now(UTC)  # noqa: TID251 - of no application whose clock could be moved
    recent_sessions, recent_entries = _Recent(now, users_, sessions_), _Recent(now, users_, entries)
    try:
        async with engine.connect() as connection:
            role = (await connection.execute(select(roles.c.id).where(roles.c.name == ROLE))).scalar_one()

        def grant(number: int) -> Row:
            return {"user_id": user_id(number * 10), "role_id": role, "granted_at": _joined(number * 10)}

        await _insert(engine, users, users_, _user)
        await _insert(engine, user_roles, users_ // 10, grant)
        await _insert(engine, sessions, sessions_, recent_sessions.session)
        await _insert(engine, refresh_tokens, sessions_, recent_sessions.token)
        await _insert(engine, logs, entries, recent_entries.entry)
        if engine.dialect.name == "postgresql":  # as autovacuum does; nothing collects statistics of SQLite
            async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                await connection.execute(text("VACUUM ANALYZE"))
    finally:
        await engine.dispose()


async def _insert(engine: AsyncEngine, table: Table, rows: int, row: Callable[[int], Row]) -> None:
    if not rows:
        return
    began = time.perf_counter()
    for first in range(1, rows + 1, _PORTION):
        portion = [row(number) for number in range(first, min(first + _PORTION, rows + 1))]
        async with engine.begin() as connection:
            await connection.execute(insert(table), portion)
    print(f"{table.name}: {rows:,} rows in {time.perf_counter() - began:.0f} s", flush=True)


async def sequenced(url: str) -> None:
    """Wait until the service has added all entries to the tree of the log."""
    engine = make_engine(url, _LIMITS).execution_options(**{MODE: Mode.PEEK})
    began = time.perf_counter()
    try:
        while True:
            async with engine.connect() as connection:
                waiting = (await connection.execute(select(func.count()).select_from(log_queue))).scalar_one()
            passed = time.perf_counter() - began
            if not waiting:
                print(f"the tree of the log: {passed:.0f} s", flush=True)
                return
            print(f"{waiting:,} entries wait for the tree, {passed:.0f} s", end="\r", flush=True)
            await asyncio.sleep(5)
    finally:
        await engine.dispose()
