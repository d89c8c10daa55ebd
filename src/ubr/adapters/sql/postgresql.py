"""Connections to PostgreSQL by asyncpg. Loaded only where there is a PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Mapping

    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection


class TransactionalConnection(_Connection):
    """Says at the beginning of each transaction what holds within it, instead of once for the session.

    Behind PgBouncer two transactions may be of two sessions, and a session that was told something is somebody else's
    next. All of it is sent with the BEGIN, so it takes no time of its own.
    """

    opening: str = ""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - as asyncpg
        if not args and query.startswith("BEGIN"):
            # Whatever the installation says: who had to wait for a lock must see what was committed meanwhile.
            if "ISOLATION LEVEL" not in query:
                query = query.replace("BEGIN", "BEGIN ISOLATION LEVEL READ COMMITTED", 1)
            query += self.opening
        said: str = await super().execute(query, *args, timeout=timeout)
        return said


async def connect(
    dsn: str, settings: Mapping[str, str], *, connect_timeout: float, command_timeout: float, statement_cache_size: int
) -> TransactionalConnection:
    """A connection whose transactions have these settings."""
    connection: TransactionalConnection = await asyncpg.connect(
        dsn,
        timeout=connect_timeout,
        command_timeout=command_timeout,
        statement_cache_size=statement_cache_size,
        connection_class=TransactionalConnection,
        # PgBouncer lets this one through, and keeps it apart for each client.
        server_settings={"application_name": "ubr"},
    )
    connection.opening = "".join(f" SET LOCAL {name} TO {_literal(value)};" for name, value in settings.items())
    return connection


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
