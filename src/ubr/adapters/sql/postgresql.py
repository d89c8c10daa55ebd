"""Connections to PostgreSQL by asyncpg. Loaded only if the database is PostgreSQL."""

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
"""The default schema of new installations."""


class TransactionalConnection(_Connection):
    """Sends its settings at the start of each transaction, and not once per session.

    Behind PgBouncer, two transactions may run in different sessions, and another client may get a session next. The
    settings are sent in one message with the BEGIN, so they cost no round trip.
    """

    opening: str = ""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - as asyncpg
        if not args and query.startswith("BEGIN"):
            # Overrides the configuration: a statement that waited for a lock must see the commits of the meantime.
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
        # PgBouncer supports this one, and keeps it separate for each client.
        server_settings={"application_name": "ubr"},
    )
    connection.opening = opening
    return connection


def opening(settings: Mapping[str, str], schema: str | None) -> str:
    """The statements that every transaction begins with.

    Without a schema, tables are found in the schema `NEW`, and then in the search path of the role, where earlier
    versions of ubr created them.
    """
    statements = [f" SET LOCAL {name} TO {_literal(value)};" for name, value in settings.items()]
    path = f"{_literal(quoted(schema))}" if schema else _PATH
    return "".join([*statements, f" SELECT set_config('search_path', {path}, true);"])


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


_PATH: Final = f"concat_ws(', ', {_literal(quoted(NEW))}, nullif(current_setting('search_path'), ''))"
