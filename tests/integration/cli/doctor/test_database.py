"""Mistakes about the database."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import anyio.to_thread
import pytest

from tests.integration.cli.doctor.kit import CANARY, SECRET, Examine, Installed
from tests.integration.cli.kit import Run
from tests.support.plugin import NewDatabase
from tests.support.servers import PostgresServer, free_port, run
from ubr.adapters.security.system import utc_now
from ubr.adapters.sql.migrations import REVISIONS, downgrade
from ubr.entrypoints.cli.doctor.database import check_database
from ubr.entrypoints.findings import Level
from ubr.settings import Settings

pytestmark = pytest.mark.system

Query = Callable[[str], object]


@pytest.fixture
def installed(on_postgres: Installed) -> dict[str, str]:
    return on_postgres()


@pytest.fixture
def query(installed: dict[str, str], postgres_server: PostgresServer) -> Query:
    """Run a statement in the database of the installation, as its owner."""
    return partial(postgres_server.query, database=name_of(installed["UBR_DATABASE_URL"]))


@pytest.fixture
def role(installed: dict[str, str], postgres_server: PostgresServer, query: Query) -> Iterator[str]:
    """A role that owns nothing."""
    role = f"service_{uuid4().hex}"
    postgres_server.query(f"CREATE ROLE {role} LOGIN PASSWORD '{CANARY}'")
    yield role
    query(f"DROP OWNED BY {role}")
    postgres_server.query(f"DROP ROLE {role}")


def name_of(url: str) -> str:
    return urlsplit(url).path[1:]


def at(url: str, *, account: str | None = None, host: str | None = None, port: int | None = None) -> str:
    """The URL of the same database with another account, host or port."""
    parts = urlsplit(url)
    account = account or parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{account}@{host or parts.hostname}:{port or parts.port}"))


# SQLite


def test_no_database(examine: Examine, tmp_path: Path) -> None:
    report = examine()
    assert report.says("error", "database", f"There is no database in {tmp_path / 'var' / 'ubr.db'}")
    assert report.says("not checked", "schema", "the database cannot be used")
    assert report.says("not checked", "administrators", "the database cannot be used")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist(examine: Examine) -> None:
    report = examine(UBR_DATABASE_URL="sqlite:///missing/ubr.db", UBR_SECRET_KEY=SECRET)
    assert report.says("error", "database", "names the file missing/ubr.db, whose folder does not exist")


def test_a_database_that_does_not_last(examine: Examine) -> None:
    assert examine(UBR_DATABASE_URL="memory:").says("error", "database", "ends with the process")


def test_a_file_that_is_not_a_database(examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "ubr.db").write_text("not a database" * 100)
    report = examine(UBR_DATABASE_URL="sqlite:///ubr.db", UBR_SECRET_KEY=SECRET)
    assert report.says("error", "database", "The database file is not an SQLite database (SQLITE_NOTADB)")


def test_a_file_that_ubr_has_not_used(embedded: dict[str, str], examine: Examine, tmp_path: Path) -> None:
    database = tmp_path / "var" / "ubr.db"
    with sqlite3.connect(database) as connection:
        connection.execute(f"VACUUM INTO '{tmp_path / 'copy.db'}'")
    connection.close()
    (tmp_path / "copy.db").rename(database)
    before = database.read_bytes()
    assert examine(**embedded).says("error", "database", "var/ubr.db is not in WAL mode")
    assert database.read_bytes() == before


def test_a_schema_that_is_behind_or_newer(embedded: dict[str, str], examine: Examine, tmp_path: Path) -> None:
    database = tmp_path / "var" / "ubr.db"
    run(downgrade(f"sqlite:///{database}", REVISIONS[-2]))
    report = examine(**embedded)
    assert report.says("error", "schema", "is behind this version of ubr: run `ubr migrate`")
    assert report.says("not checked", "audit log", "the schema is not that of this version")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert examine(**embedded).says("error", "schema", "A newer version of ubr has upgraded the database")


# PostgreSQL: the way to it


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"account": f"ubr:{CANARY}"}, "rejects the password of this role"),
        ({"port": free_port()}, "No server listens at the address of the database"),
        ({"host": "nowhere.invalid"}, "The host name of the database is unknown"),
    ],
    ids=["password", "port", "host"],
)
def test_a_server_out_of_reach(
    changes: dict[str, str | int], words: str, new_database: NewDatabase, examine: Examine
) -> None:
    url = at(new_database(migrated=False), **changes)  # type: ignore[arg-type]
    report = examine(UBR_DATABASE_URL=url, UBR_SECRET_KEY=SECRET)
    assert report.says("error", "database", words)
    for subject in ("clock", "connections", "schema", "rights", "keys", "outbox"):
        assert report.says("not checked", subject, "the database cannot be used")


def test_no_tls_to_another_machine(installed: dict[str, str], examine: Examine) -> None:
    url = at(installed["UBR_DATABASE_URL"], host="0.0.0.0")  # noqa: S104 - reaches this machine under another name
    report = examine(**{**installed, "UBR_DATABASE_URL": url})
    assert report.says("warning", "database", "The connection to 0.0.0.0 is not encrypted")
    assert report.levels()["administrators"] == "ok"


@asynccontextmanager
async def pooler(url: str) -> AsyncIterator[int]:
    """The port of a proxy that makes up the number of the process that it connects to, as poolers do."""
    target = urlsplit(url)
    key = b"K\x00\x00\x00\x0c"  # BackendKeyData: its length, then the number and the secret of the process

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, disguise: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                where = data.find(key) if disguise else -1
                if where >= 0:
                    start = where + len(key)
                    data, disguise = data[:start] + b"\x7f\xff\xff\xff" + data[start + 4 :], False
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        its_reader, its_writer = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(pass_on(reader, its_writer, disguise=False), pass_on(its_reader, writer, disguise=True))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def test_a_pooler_that_the_url_does_not_announce(installed: dict[str, str], examine: Examine) -> None:
    async with pooler(installed["UBR_DATABASE_URL"]) as port:
        url = at(installed["UBR_DATABASE_URL"], port=port)
        look = partial(examine, **{**installed, "UBR_DATABASE_URL": url})
        report = await anyio.to_thread.run_sync(look)
        assert report.says("warning", "database", "Unless it pools sessions, append ?prepared_statement_cache_size=0")
        assert report.says("not checked", "connections", "a pooler shares the connections")
        announced = f"{url}?prepared_statement_cache_size=0"
        look = partial(examine, **{**installed, "UBR_DATABASE_URL": announced})
        assert (await anyio.to_thread.run_sync(look)).levels()["database"] == "ok"


# PostgreSQL: the server


def test_a_database_that_is_read_only(installed: dict[str, str], query: Query, examine: Examine) -> None:
    query(f'ALTER DATABASE "{name_of(installed["UBR_DATABASE_URL"])}" SET default_transaction_read_only = on')
    assert examine(**installed).says("error", "database", "accepts no writes: it is a standby, or read-only")


def test_another_encoding(postgres_server: PostgresServer, examine: Examine) -> None:
    name = f"latin_{uuid4().hex}"
    postgres_server.query(f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    try:
        report = examine(UBR_DATABASE_URL=postgres_server.url(name), UBR_SECRET_KEY=SECRET)
        assert report.says("error", "schema", "The database has the encoding LATIN1")
    finally:
        postgres_server.drop_database(name)


@pytest.mark.parametrize(
    ("seconds", "level", "words"), [(-40, Level.ERROR, "40 s ahead of"), (10, Level.WARNING, "10 s behind")]
)
async def test_clocks_that_differ(seconds: int, level: Level, words: str, new_database: NewDatabase) -> None:
    settings = Settings.memory(database_url=new_database())
    found = await check_database(settings, clock=lambda: utc_now() + timedelta(seconds=seconds))
    [clock] = [finding for finding in found if finding.subject == "clock"]
    assert (clock.level, words in clock.sentence) == (level, True)


def test_too_few_connections(installed: dict[str, str], query: Query, examine: Examine) -> None:
    assert examine(**installed, UBR_WORKERS="200").says("error", "connections", "may open 2800 connections")
    query(f'ALTER DATABASE "{name_of(installed["UBR_DATABASE_URL"])}" CONNECTION LIMIT 20')
    report = examine(**installed)
    assert report.says("warning", "connections", "14 connections, and twice as many during a rolling update")
    assert report.says("warning", "connections", "allows this role 20")


# PostgreSQL: its tables, and the rights on them


def test_a_database_without_tables(new_database: NewDatabase, examine: Examine) -> None:
    report = examine(UBR_DATABASE_URL=new_database(migrated=False), UBR_SECRET_KEY=SECRET)
    assert report.says("error", "schema", "has no tables of ubr yet: run `ubr migrate`")


def test_a_role_that_owns_the_tables(installed: dict[str, str], examine: Examine) -> None:
    report = examine(**installed)
    assert report.says("warning", "rights", "The role of the service owns the tables")
    same = {"UBR_MIGRATION_DATABASE_URL": installed["UBR_DATABASE_URL"]}
    assert examine(**installed, **same).says("error", "rights", "name two roles")


@pytest.fixture
def separate(installed: dict[str, str], role: str, in_process: Run) -> dict[str, str]:
    """The settings of a service whose role does not own the tables."""
    owner = installed["UBR_DATABASE_URL"]
    settings = {
        **installed,
        "UBR_DATABASE_URL": at(owner, account=f"{role}:{CANARY}"),
        "UBR_MIGRATION_DATABASE_URL": owner,
    }
    assert in_process("migrate", **settings).code == 0
    return settings


def test_a_role_that_lacks_privileges(separate: dict[str, str], role: str, query: Query, examine: Examine) -> None:
    sound = examine(**separate)
    assert sound.says("ok", "rights", "cannot change the audit log")
    assert sound.code == 0
    query(f"REVOKE INSERT, DELETE ON ubr.sessions FROM {role}")
    report = examine(**separate)
    assert report.says("error", "rights", "lacks privileges (INSERT on sessions, DELETE on sessions)")
    assert report.says("not checked", "keys", "the rights of the role are wrong")


def test_a_role_that_may_change_the_log(separate: dict[str, str], role: str, query: Query, examine: Examine) -> None:
    query(f"GRANT UPDATE, DELETE ON ubr.logs TO {role}")
    assert examine(**separate).says("error", "rights", "may change the audit log (UPDATE on logs, DELETE on logs)")
