"""PostgreSQL: a dump by `pg_dump` of a snapshot that is open here, and the database restored by `pg_restore`."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, TextClause, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

from ubr.adapters.sql.backups.inventory import data_flaws, definitions, schema_flaws, take_inventory
from ubr.adapters.sql.backups.programs import Program, environment_of, find_program, running
from ubr.adapters.sql.engine import ConnectionLimits, normal_url
from ubr.adapters.sql.errors import MISSING_PRIVILEGE, SqlUnavailable
from ubr.adapters.sql.migrations.schema import Place, check_server, prepare_place
from ubr.adapters.sql.one_connection import connected
from ubr.adapters.sql.quoting import quoted
from ubr.application.ports.backups import BackupFailed, Inventory, Progress

T = TypeVar("T")

_CHUNK: Final = 256 * 1024
_DAY: Final = 24 * 3600.0
_LIMITS: Final = ConnectionLimits(connections=1, acquire=60.0, connect=10.0, statement=_DAY, lock=60.0, idle=_DAY)
"""Counting the rows of a large table takes its time, and a snapshot is open for as long as its dump takes."""

_SERVER: Final = text("SELECT current_setting('server_version_num')::int / 10000")
_CONTENT: Final = text(
    "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace(:schema))"
    " + (SELECT count(*) FROM pg_proc WHERE pronamespace = to_regnamespace(:schema))"
)
_PRUNE: Final = text("SELECT to_regprocedure(:schema || '.prune_logs(bigint)') IS NOT NULL")
_NOW: Final = text("SELECT extract(epoch FROM clock_timestamp())::bigint")
_LEFT: Final = text(
    "SELECT datname FROM pg_database WHERE datname ~ '^ubr_verify_[0-9]{10,11}_[0-9a-f]{16}$'"
    " AND pg_has_role(datdba, 'MEMBER')"
    " AND split_part(datname, '_', 3)::bigint < extract(epoch FROM clock_timestamp()) - 600"
    " AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pg_stat_activity.datname = pg_database.datname)"
)
"""Rehearsals for which their process had ten minutes to connect, and that have no connection: PostgreSQL would wait
five seconds for the end of one.
"""
_MAJOR: Final = re.compile(r"pg_dump ([0-9]+)")


class PostgresqlSnapshot:
    """An exported snapshot, which lasts as long as its transaction."""

    def __init__(self, exported: str, inventory: Inventory, program: Program, environment: Mapping[str, str]) -> None:
        self._exported = exported
        self._program = program
        self._environment = environment
        self.inventory = inventory
        self.tool = f"pg_dump {program.version}"

    async def content(self, progress: Progress) -> AsyncGenerator[bytes, None]:
        arguments = [
            "--format=custom",
            "--no-password",
            "--no-owner",
            "--no-privileges",
            "--encoding=UTF8",
            f"--schema={quoted(self.inventory.schema or '')}",
            f"--snapshot={self._exported}",
            "--lock-wait-timeout=60s",
        ]
        done = 0
        async with running(self._program, arguments, self._environment, writes=True) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            while block := await process.stdout.read(_CHUNK):
                done += len(block)
                progress("dumping", done, None)
                yield block


class PostgresqlDump:
    """The database that the service uses. `inherited` are the variables that programs get."""

    def __init__(self, url: str, schema: str | None, inherited: Mapping[str, str]) -> None:
        self._url = url
        self._schema = schema
        self._inherited = inherited

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[PostgresqlSnapshot]:
        async with connected(self._url, _LIMITS, schema=self._schema) as connection:
            _ = await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            await connection.run_sync(check_server)
            major = (await connection.execute(_SERVER)).scalar_one()
            program = await find_program("pg_dump", major, self._inherited)
            exported = (await connection.execute(text("SELECT pg_export_snapshot()"))).scalar_one()
            inventory = await connection.run_sync(take_inventory, self._schema)
            yield PostgresqlSnapshot(exported, inventory, program, environment_of(make_url(self._url), self._inherited))


class PostgresqlRestored:
    """A database, or one schema of it, that has no tables yet."""

    def __init__(self, url: str, inherited: Mapping[str, str]) -> None:
        self.url = normal_url(url)
        self._inherited = inherited
        self._schema: str | None = None

    async def require_empty(self, schema: str | None) -> None:
        if schema is None:
            raise BackupFailed("This is a backup of SQLite: restore it into a new file, as in sqlite:///ubr.db")
        self._schema = schema

        def count(connection: Connection) -> int:
            check_server(connection)
            found: int = connection.execute(_CONTENT, {"schema": quoted(schema)}).scalar_one()
            return found

        if await self._ask(count):
            raise BackupFailed(f"The schema {schema} of the database is not empty. Restore into another database")

    async def fill(self, content: Iterable[bytes], dumped: Inventory, tool: str) -> None:
        schema = dumped.schema or ""
        made_by = _MAJOR.match(tool)
        server: int = await self._ask(lambda connection: connection.execute(_SERVER).scalar_one())
        program = await find_program("pg_restore", max(server, int(made_by[1]) if made_by else 0), self._inherited)
        async with connected(self.url, _LIMITS, schema=schema) as connection:
            await connection.run_sync(prepare_place, Place(schema=schema))
            await connection.commit()
        url = make_url(self.url)
        name = (url.database or "").replace("\\", "\\\\").replace("'", "\\'")
        arguments = [
            f"--dbname=dbname='{name}'",  # a bare name could be read as options
            f"--schema={schema}",
            "--no-password",
            "--no-owner",
            "--no-privileges",
            "--single-transaction",
            "--exit-on-error",
        ]
        environment = environment_of(url, self._inherited)
        async with running(program, arguments, environment, writes=False) as process:
            assert process.stdin is not None  # noqa: S101 - it is a pipe
            with suppress(BrokenPipeError, ConnectionResetError):  # its complaint says more
                for block in content:
                    process.stdin.write(block)
                    await process.stdin.drain()
                process.stdin.close()
                await process.stdin.wait_closed()
        await self._complete(schema)

    async def _complete(self, schema: str) -> None:
        """Revoke a privilege, and collect the statistics of the tables. A dump contains neither.

        PostgreSQL lets everyone execute a new function. This one deletes entries of the log with the rights of the
        owner. Without statistics, queries of large tables would exceed the time limits of the service.
        """
        async with connected(self.url, _LIMITS, schema=schema) as connection:
            if (await connection.execute(_PRUNE, {"schema": quoted(schema)})).scalar_one():
                await connection.execute(
                    text(f"REVOKE ALL ON FUNCTION {quoted(schema)}.prune_logs(bigint) FROM PUBLIC")
                )
            await connection.execute(text("ANALYZE"))
            await connection.commit()

    async def inventory(self) -> Inventory:
        return await self._ask(lambda connection: take_inventory(connection, self._schema))

    async def flaws(self) -> list[str]:
        return await self._ask(lambda connection: data_flaws(connection, self._schema))

    async def schema_flaws(self) -> list[str]:
        return await self._ask(schema_flaws)

    async def definitions(self) -> dict[str, str]:
        return await self._ask(lambda connection: definitions(connection, self._schema))

    async def _ask(self, question: Callable[[Connection], T]) -> T:
        async with connected(self.url, _LIMITS, schema=self._schema) as connection:
            return await connection.run_sync(question)


@asynccontextmanager
async def postgresql_scratch(url: str, inherited: Mapping[str, str]) -> AsyncIterator[PostgresqlRestored]:
    """A database with a new name beside the one that the URL names, dropped at the end.

    A connection to it is open for as long as it is used: without one, PostgreSQL lets others drop it.
    """
    await _sweep(url)
    now: int = await _ask_server(url, _NOW)
    name = f"ubr_verify_{now}_{secrets.token_hex(8)}"
    try:
        await _command(url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    except SqlUnavailable as error:
        if error.reason != MISSING_PRIVILEGE:
            raise
        raise BackupFailed(
            "The role must not create databases, which a rehearsal requires. Let --on name a server and a role that may"
        ) from None
    try:
        there: URL = make_url(normal_url(url)).set(database=name)
        address = there.render_as_string(hide_password=False)
        async with connected(address, _LIMITS):
            yield PostgresqlRestored(address, inherited)
    finally:
        await _command(url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _sweep(url: str) -> None:
    """Drop what killed processes left. PostgreSQL refuses to drop a database that another process is connected to."""
    async with connected(url, _LIMITS) as connection:
        _ = await connection.execution_options(isolation_level="AUTOCOMMIT")
        for name in (await connection.execute(_LEFT)).scalars().all():
            with suppress(DBAPIError):  # it is used, or another sweep was faster
                await connection.execute(text(f"DROP DATABASE IF EXISTS {name}"))


async def _ask_server(url: str, question: TextClause) -> Any:
    async with connected(url, _LIMITS) as connection:
        return (await connection.execute(question)).scalar_one()


async def _command(url: str, statement: str) -> None:
    """Execute a statement that must not be in a transaction."""
    async with connected(url, _LIMITS) as connection:
        _ = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text(statement))
