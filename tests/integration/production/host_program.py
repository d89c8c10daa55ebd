"""A program that writes a row of its own and lets ubr act, in one transaction, again and again, until it is killed.

Arguments: the URL of the database, and a word that no other run has. It prints a line before each transaction.
"""

from __future__ import annotations

import asyncio
import sys

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ubr import (
    SYSTEM,
    Application,
    AssignRoleCommand,
    CreateUserCommand,
    RevokeUserSessionsCommand,
    Settings,
    connect,
)
from ubr.testing import TINY_HASHING


def engine_of(url: str) -> AsyncEngine:
    """The engine of a host. SQLite enforces foreign keys only where it is told to."""
    if url.startswith("postgresql"):
        return create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    event.listen(engine.sync_engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys=ON"))
    return engine


def settings_of(url: str) -> Settings:
    return Settings.memory(database_url=url, migrate="check", secret_keys=(bytes(32),), **TINY_HASHING)


async def act(engine: AsyncEngine, ubr: Application, name: str) -> None:
    async with engine.begin() as connection:
        users = ubr.within(connection)
        adding = text("INSERT INTO teams VALUES (:name)"), {"name": name}
        if hash(name) % 2:
            await connection.execute(*adding)
        made = await users.create_user(CreateUserCommand(email=f"{name}@example.org"), actor=SYSTEM)
        await users.assign_role(AssignRoleCommand(user_id=made.id, role="admin"), actor=SYSTEM)
        await users.revoke_user_sessions(RevokeUserSessionsCommand(user_id=made.id), actor=SYSTEM)
        if not hash(name) % 2:
            await connection.execute(*adding)
    # It does not wait for the others: they would wait for the bound each time, because of the killed ones before it.


async def work(engine: AsyncEngine, ubr: Application, prefix: str) -> None:
    number = 0
    while True:
        number += 1
        print(f"{prefix}-{number}", flush=True)  # noqa: T201 - the test reads it
        await act(engine, ubr, f"{prefix}-{number}")


async def main(url: str, word: str) -> None:
    engine = engine_of(url)
    # SQLite has one writer; more would only wait.
    workers = 3 if url.startswith("postgresql") else 1
    async with connect(settings_of(url)) as ubr:
        await asyncio.gather(*(work(engine, ubr, f"{word}-{worker}") for worker in range(workers)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
