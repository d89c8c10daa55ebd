"""Connections to PostgreSQL by asyncpg. Loaded only where there is a PostgreSQL."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Mapping

    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

NEW: Final = "ubr"
"""The schema of new installations, where none is named."""


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
    dsn: str,
    opening: str,
    *,
    connect_timeout: float,
    command_timeout: float,
    statement_cache_size: int,
    trust_system: bool,
) -> TransactionalConnection:
    """A connection whose transactions begin with these statements."""
    connection: TransactionalConnection = await asyncpg.connect(
        dsn,
        timeout=connect_timeout,
        command_timeout=command_timeout,
        statement_cache_size=statement_cache_size,
        connection_class=TransactionalConnection,
        ssl=ssl.create_default_context() if trust_system else None,
        # PgBouncer lets this one through, and keeps it apart for each client.
        server_settings={"application_name": "ubr"},
    )
    connection.opening = opening
    return connection


def opening(settings: Mapping[str, str], schema: str | None) -> str:
    """The statements that every transaction begins with.

    Without a schema tables are sought in the one that `NEW` names, and then wherever the role looks anyway, which is
    where they are in installations of before.
    """
    statements = [f" SET LOCAL {name} TO {_literal(value)};" for name, value in settings.items()]
    path = f"{_literal(quoted(schema))}" if schema else _PATH
    return "".join([*statements, f" SELECT set_config('search_path', {path}, true);"])


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


_PATH: Final = f"concat_ws(', ', {_literal(quoted(NEW))}, nullif(current_setting('search_path'), ''))"
