"""Connections to PostgreSQL by asyncpg. Loaded only if the database is PostgreSQL."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from ubr.adapters.sql.quoting import literal, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

NEW: Final = "ubr"
"""The default schema of new installations."""

_PROBES: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A connection that is silent for 30 seconds is probed every 10 seconds, and ends with the third probe that has no
answer: a minute after the server vanished.
"""


class TransactionalConnection(_Connection):
    """A connection that may share its sessions with other clients, unless it is `dedicated`.

    Behind PgBouncer, two transactions may run in different sessions, and another client may get a session next. So the
    settings are sent at the start of each transaction, in one message with the BEGIN, which costs no round trip.
    """

    opening: str = ""
    dedicated: bool = False
    """True if all transactions run in one session, which has the settings. A query then needs no transaction."""

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
    settings: Mapping[str, str],
    schema: str | None,
    *,
    connect_timeout: float,
    command_timeout: float,
    statement_cache_size: int,
    trust_system: bool,
    password: str | None = None,
) -> TransactionalConnection:
    """A connection whose transactions have these settings, and find tables as `_search_path` says.

    `password` replaces that of the URL.
    """
    connection: TransactionalConnection = await asyncpg.connect(
        dsn,
        timeout=connect_timeout,
        command_timeout=command_timeout,
        statement_cache_size=statement_cache_size,
        connection_class=TransactionalConnection,
        ssl=ssl.create_default_context() if trust_system else None,
        password=password,
        # PgBouncer supports this one, and keeps it separate for each client.
        server_settings={"application_name": "ubr"},
    )
    _probe(connection)
    try:
        connection.dedicated = statement_cache_size > 0 and await has_own_session(connection)
        if connection.dedicated:
            await connection.execute(_setting(settings, schema, local=False))
        else:
            connection.opening = _setting(settings, schema, local=True)
    except BaseException:
        connection.terminate()
        raise
    return connection


def _probe(connection: TransactionalConnection) -> None:
    """Let the kernel end a connection whose server has vanished without a word.

    Statements of the service have a time limit of their own. Those of a migration have none to speak of.
    """
    driver: Any = connection
    found = driver._transport.get_extra_info("socket")  # noqa: SLF001 - there is no other way to it
    if found is None or found.family == socket.AF_UNIX:
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES.items():
        if hasattr(socket, name):  # macOS has another name for the first
            found.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def has_own_session(connection: TransactionalConnection) -> bool:
    """True if the server process that runs a query is the one that accepted the connection.

    A pooler of transactions makes up the number that it announces (BackendKeyData), since it has no process to name.
    """
    return bool(await connection.fetchval("SELECT pg_backend_pid()") == connection.get_server_pid())


def _setting(settings: Mapping[str, str], schema: str | None, *, local: bool) -> str:
    """The statements that set these, for a transaction or for the session."""
    scope = "LOCAL" if local else "SESSION"
    statements = [f" SET {scope} {name} TO {literal(value)};" for name, value in settings.items()]
    is_local = "true" if local else "false"
    return "".join([*statements, f" SELECT set_config('search_path', {_search_path(schema)}, {is_local});"])


def _search_path(schema: str | None) -> str:
    """Without a schema, tables are found in the schema `NEW`, and then in the search path of the role, where earlier
    versions of ubr created them.
    """
    if schema:
        return literal(quoted(schema))
    return f"concat_ws(', ', {literal(quoted(NEW))}, nullif(current_setting('search_path'), ''))"
