"""Backups of 200,000 users: sizes, times and memory, on PostgreSQL and on SQLite.

Run it as `python -m bench.backups [USERS [KIND]]`: for each kind of database, or only for `sqlite` or `postgresql`, it
makes an installation with that many users. Each has a password, a session with two tokens, and two signed entries of
the audit log. Then it runs `ubr backup` with `create`, `verify` and `restore`, and prints a line for each kind.
PostgreSQL writes to its disk as in production.

Times are elapsed ones, those of `ubr` with `pg_dump` and `pg_restore`. The memory is the highest of the process `ubr`.
"""

# ruff: noqa: INP001, S603, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import insert

from tests.support.commands import clean_environment
from tests.support.servers import PostgresServer
from ubr import CreateUserCommand, Settings
from ubr.adapters.security.system import Uuid7, utc_now
from ubr.adapters.sql import ConnectionLimits, make_engine
from ubr.adapters.sql.migrations import upgrade
from ubr.adapters.sql.tables import logs, refresh_tokens, sessions, users
from ubr.application.app import Application
from ubr.application.audit.sequencer import Sequencer
from ubr.bootstrap import open_environment
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.actor import SYSTEM
from ubr.domain.ids import UserId

USERS: Final = 200_000
ENTRIES: Final = 2
TOKENS: Final = 2
_PORTION: Final = 2_000
_LIMITS: Final = ConnectionLimits(connections=1, statement=3600.0, lock=60.0)
_HASH: Final = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IG9mIDE2$RdescudvJCsgt3ub+b1dWRWJTmaaJObG7Z9PEgUkkyc"
"""Of no password, as everyone's: hashing 200,000 would take an hour."""
_new_id = Uuid7()
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that succeeded: what it printed, its seconds, and the MiB of memory that it had at most."""

    out: str
    seconds: float
    memory: float


def ran(environment: dict[str, str], *arguments: str) -> Ran:
    began = time.perf_counter()
    program = Path(sys.executable).with_name("ubr")
    process = subprocess.Popen([program, *arguments], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"ubr {' '.join(arguments)} failed")
    return Ran(out, time.perf_counter() - began, usage.ru_maxrss / 1024)


def rows_of(ubr: Application, first: int, last: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The rows for the users with these numbers, each with its table."""
    now = utc_now()
    plain = PasswordHash(_HASH)
    for number in range(first, last):
        user, session = _new_id(), _new_id()
        hashed = ubr.initialize.hasher.rebind(plain, UserId(user))
        assert hashed is not None  # noqa: S101 - it was plain
        email = f"user{number}@example.org"
        yield (
            users,
            {
                "id": user,
                "email": email,
                "email_key": email,
                "full_name": f"The user {number}",
                "full_name_key": f"the user {number}",
                "password_hash": hashed.encoded,
                "status": "active",
                "email_verified": True,
                "created_at": now,
                "updated_at": now,
                "security_version": 1,
                "version": 1,
            },
        )
        yield (
            sessions,
            {
                "id": session,
                "user_id": user,
                "created_at": now,
                "last_seen_at": now,
                "idle_expires_at": now + timedelta(days=14),
                "expires_at": now + timedelta(days=90),
                "ip": "2001:db8::1",
                "user_agent": "a browser with a name of some length, as they have",
            },
        )
        for generation in range(TOKENS):
            digest = hashlib.sha256(f"{number}/{generation}".encode()).digest()
            spent = now if generation + 1 < TOKENS else None
            yield refresh_tokens, {"digest": digest, "session_id": session, "issued_at": now, "spent_at": spent}
        for action, kind, target in (("user.registered", "user", user), ("session.opened", "session", session)):
            yield (
                logs,
                {
                    "id": _new_id(),
                    "format": 1,
                    "level": "info",
                    "action": action,
                    "message": "A user did something",
                    "timestamp": now,
                    "actor_id": user,
                    "target_type": kind,
                    "target_id": str(target),
                    "ip": "2001:db8::1",
                    "request_id": str(_new_id()),
                    "request_id_given": False,
                    "data": "{}",
                    "salt": secrets.token_bytes(16),
                },
            )


async def load(settings: Settings, count: int) -> None:
    """Insert that many users, and sign the entries."""
    async with open_environment(settings, following=False, delivering=False) as environment:
        ubr = environment.application
        await ubr.create_user(
            CreateUserCommand(email="admin@example.org", password=secrets.token_urlsafe(), roles=["admin"]),
            actor=SYSTEM,
        )
        engine = make_engine(settings.database_url, _LIMITS)
        try:
            for first in range(0, count, _PORTION):
                portion = list(rows_of(ubr, first, min(first + _PORTION, count)))
                async with engine.begin() as connection:
                    for table in (users, sessions, refresh_tokens, logs):
                        await connection.execute(insert(table), [row for of, row in portion if of is table])
        finally:
            await engine.dispose()
        sequencer = Sequencer(unit_of_work=ubr.initialize.unit_of_work, signing=ubr.initialize.log_signing)
        while await sequencer(wait=True):
            pass


@dataclass(frozen=True, slots=True)
class Measured:
    """A database to back up, an empty one for its restoration, and a function for its size in bytes."""

    kind: str
    url: str
    target: str
    size: Callable[[], int]


def line_about(database: Measured, folder: Path, count: int) -> str:
    """The line of a table about a backup of this database."""
    environment = clean_environment() | {
        "UBR_DATABASE_URL": database.url,
        "UBR_SECRET_KEY": secrets.token_hex(32),
        "UBR_BACKUP_KEY": secrets.token_hex(32),
        "UBR_BACKUP_DIR": str(folder / f"backups of {database.kind}"),
    }
    settings = Settings.from_env({name: value for name, value in environment.items() if name.startswith("UBR_")})
    asyncio.run(upgrade(database.url))
    asyncio.run(load(settings, count))
    created = ran(environment, "backup", "create")
    verified = ran(environment, "backup", "verify")
    restored = ran(environment, "backup", "restore", created.out.strip(), "--to", database.target)
    stored = sum(path.stat().st_size for path in Path(environment["UBR_BACKUP_DIR"]).rglob("*") if path.is_file())
    print(verified.out, file=sys.stderr)
    memory = max(each.memory for each in (created, verified, restored))
    columns = (
        database.kind,
        f"{count:,}",
        f"{database.size() / _MIB:.0f} MiB",
        f"{stored / _MIB:.0f} MiB",
        f"{created.seconds:.0f} s",
        f"{verified.seconds:.0f} s",
        f"{restored.seconds:.0f} s",
        f"{memory:.0f} MiB",
    )
    return f"| {' | '.join(columns)} |"


def main(count: int, kind: str | None) -> None:
    lines = ["| database | users | its size | the backup | create | verify (RTO) | restore | memory |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with TemporaryDirectory(prefix="ubr-bench-") as made, PostgresServer.start(durable=True) as server:
        folder = Path(made)
        path = folder / "ubr.db"
        sqlite = Measured("SQLite", f"sqlite:///{path}", f"sqlite:///{folder}/restored.db", lambda: path.stat().st_size)
        if kind in {None, "sqlite"}:
            lines.append(line_about(sqlite, folder, count))
        url, target = server.create_database("ubr"), server.create_database("restored")
        name = urlsplit(url).path.lstrip("/")

        def size() -> int:
            return int(str(server.query(f"SELECT pg_database_size('{name}')")))

        postgresql = Measured(f"PostgreSQL {server.origin.major}", url, target, size)
        if kind in {None, "postgresql"}:
            lines.append(line_about(postgresql, folder, count))
    print("\n".join(lines))


if __name__ == "__main__":
    given: list[str | None] = [*sys.argv[1:], None, None]
    main(int(given[0] or USERS), given[1])
