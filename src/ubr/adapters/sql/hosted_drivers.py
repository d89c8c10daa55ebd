"""A connection of the host, in the host's transaction: each unit is a savepoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from secrets import token_hex
from typing import Any, Final, Protocol

from sqlalchemy import Executable
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ubr.adapters.sql.drivers import Driver, PostgresqlDriver, SqliteDriver, compiled_for_asyncpg
from ubr.adapters.sql.engine import Mode
from ubr.adapters.sql.quoting import literal, quoted
from ubr.adapters.sql.statements import Parameters, Row, Statement
from ubr.application.ports.hosting import WrongConnection

_READS: Final = frozenset({Mode.READ, Mode.PEEK})

CLOSED: Final = "The connection is closed"
_NO_TRANSACTION: Final = (
    "The connection is in no transaction, or in autocommit mode: begin a transaction before the first call"
)
FAILED: Final = "The transaction has failed: roll it back, and begin another one"


class HostedDriver(Driver, Protocol):
    @property
    def inside(self) -> bool:
        """True from the moment before the savepoint is set until it is gone."""


class HostedPostgresqlDriver(PostgresqlDriver):
    """`given` is a connection of asyncpg, or of SQLAlchemy over it. `schema` is the one that has the tables of ubr."""

    def __init__(self, engine: AsyncEngine, mode: Mode, given: Any, schema: str) -> None:
        super().__init__(engine, mode)
        self._given = given
        self._schema = schema
        self._savepoint = f"ubr_{token_hex(8)}"
        self._search_path = ""
        """The host's."""
        self._leaves_json = False
        """True if the driver returns JSON as a text."""
        self.inside = False

    @property
    def idle(self) -> bool:
        return self.usable and not self.inside

    async def take(self) -> None:
        connection = await self._of_asyncpg()
        if _is_closed(connection):
            raise WrongConnection(CLOSED)
        if getattr(connection, "_loop", None) is not asyncio.get_running_loop():
            raise WrongConnection("The connection belongs to another event loop")
        if not connection.is_in_transaction() and isinstance(self._given, AsyncConnection):
            _ = await self._given.exec_driver_sql("SELECT 1")  # SQLAlchemy begins with the first statement
        if not connection.is_in_transaction():
            raise WrongConnection(_NO_TRANSACTION)
        self._connection = connection

    async def _of_asyncpg(self) -> Any:
        if not isinstance(self._given, AsyncConnection):
            return self._given
        return (await self._given.get_raw_connection()).driver_connection

    async def begin(self) -> None:
        try:
            [row] = await self._connection.fetch(_STATE, _LIST)
        except Exception as error:
            if getattr(error, "sqlstate", None) == _IN_FAILED_TRANSACTION:
                raise WrongConnection(FAILED) from None
            raise
        isolation, self._search_path, role, read_only, decoded, encoded = row
        if isolation != "read committed":
            raise WrongConnection(f"The transaction is {isolation}; ubr locks rows, which requires read committed")
        if read_only == "on" and self._mode not in _READS:
            raise WrongConnection("The transaction is read-only")
        if role == "replica":
            raise WrongConnection("The session_replication_role is replica: the triggers of ubr would not run")
        self._leaves_json = decoded == _LIST
        if encoded != "array" or decoded not in (_LIST, [1]):
            raise WrongConnection("The connection has a codec of its own for jsonb: use one without it")
        self.inside = True
        await self._connection.execute(f"SAVEPOINT {self._savepoint};{_searching(_path_to(self._schema))}")

    async def fetch(self, statement: Statement | Executable, parameters: Parameters | None) -> Sequence[Row]:
        rows = await super().fetch(statement, parameters)
        columns = compiled_for_asyncpg(statement).json_columns if self._leaves_json else ()
        return [_decoded(row, columns) for row in rows] if columns else rows

    async def commit(self) -> None:
        await self._connection.execute(f"{_searching(self._search_path)} RELEASE SAVEPOINT {self._savepoint}")
        self.inside = False

    async def roll_back(self) -> None:
        # This restores the search path, too.
        await self._connection.execute(f"ROLLBACK TO SAVEPOINT {self._savepoint}; RELEASE SAVEPOINT {self._savepoint}")
        self.inside = False

    async def give_back(self) -> None:
        """The connection is the host's."""


_IN_FAILED_TRANSACTION: Final = "25P02"
_STATE: Final = (
    "SELECT current_setting('transaction_isolation'), current_setting('search_path'),"
    " current_setting('session_replication_role'), current_setting('transaction_read_only'),"
    " '[1]'::jsonb, jsonb_typeof($1::jsonb)"
)
_LIST: Final = "[1]"


def _is_closed(connection: Any) -> bool:
    try:
        return bool(connection.is_closed())
    except Exception as error:
        if type(error).__name__ == "InterfaceError":  # it went back to a pool of asyncpg
            return True
        raise


def _decoded(row: Row, columns: Sequence[int]) -> Row:
    return [json.loads(value) if index in columns and value is not None else value for index, value in enumerate(row)]


def _path_to(schema: str) -> str:
    """Named last, the schema of temporary tables is not searched first."""
    return f"{quoted(schema)}, pg_temp"


def _searching(path: str) -> str:
    return f" SELECT set_config('search_path', {literal(path)}, true);"


class HostedSqliteDriver(SqliteDriver):
    def __init__(self, mode: Mode, given: AsyncConnection) -> None:
        # Its base would open a connection.
        self._connection = given
        self._mode = mode
        self._savepoint = f"ubr_{token_hex(8)}"
        self.inside = False

    @property
    def idle(self) -> bool:
        return self.usable and not self.inside

    async def take(self) -> None:
        [[enforced]] = await self._connection.exec_driver_sql("PRAGMA foreign_keys")
        if not enforced:
            raise WrongConnection("The connection has PRAGMA foreign_keys off: set it ON when the connection is made")
        raw = self._raw()
        if not raw.in_transaction:
            if raw.isolation_level is None:
                raise WrongConnection(_NO_TRANSACTION)
            # The driver of Python begins with the first write. A savepoint outside a transaction would be one. A later
            # call may write, and SQLite refuses that to a transaction that began to read before another one wrote.
            _ = await self._connection.exec_driver_sql("BEGIN IMMEDIATE")

    async def begin(self) -> None:
        self.inside = True
        _ = await self._connection.exec_driver_sql(f"SAVEPOINT {self._savepoint}")

    async def commit(self) -> None:
        _ = await self._connection.exec_driver_sql(f"RELEASE SAVEPOINT {self._savepoint}")
        self.inside = False

    async def roll_back(self) -> None:
        _ = await self._connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {self._savepoint}")
        await self.commit()

    async def cut(self) -> None:
        with suppress(Exception):
            await self._connection.invalidate()

    async def give_back(self) -> None:
        """The connection is the host's."""
