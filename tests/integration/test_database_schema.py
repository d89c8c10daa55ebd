"""The tables of ubr in a database that others use too, and a server that ubr cannot work with."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import anyio.to_thread
import asyncpg
import pytest

from tests.support.plugin import NewDatabase
from tests.support.servers import PostgresServer
from ubr import SYSTEM, CreateUserCommand, RegisterUserCommand, Settings, connect
from ubr.adapters.sql.migrations import REVISIONS, SchemaState, UnknownSchema, check, downgrade, upgrade
from ubr.adapters.sql.migrations.schema import ForeignTables
from ubr.domain.errors import EmailTaken, StoreUnavailable
from ubr.testing import TINY_HASHING

pytestmark = [pytest.mark.anyio, pytest.mark.system]

Ask = Callable[..., Awaitable[object]]


@pytest.fixture
def ask(postgres_server: PostgresServer) -> Ask:
    """Asks a database as superuser."""

    async def asking(url: str, *statements: str) -> object:
        answer: object = None
        for statement in statements:
            query = partial(postgres_server.query, statement, database=urlsplit(url).path[1:])
            answer = await anyio.to_thread.run_sync(query)
        return answer

    return asking


async def works(url: str, **settings: Any) -> None:
    """Somebody can register there."""
    async with connect(Settings.memory(database_url=url, migrate="check", **settings, **TINY_HASHING)) as ubr:
        command = RegisterUserCommand(email=f"{uuid4().hex}@example.org", password="a long enough password")
        assert await ubr.register_user(command, actor=SYSTEM) is not None


async def schemas_of(ask: Ask, url: str) -> object:
    return await ask(
        url, "SELECT string_agg(schemaname, ',' ORDER BY schemaname) FROM pg_tables WHERE tablename = 'refresh_tokens'"
    )


@pytest.mark.parametrize("version", ["abc123", "0001", "0008"])
async def test_beside_another_application_ubr_has_a_schema_of_its_own(
    version: str, new_database: NewDatabase, ask: Ask
) -> None:
    url = new_database(migrated=False)
    await ask(
        url,
        "CREATE TABLE public.alembic_version (version_num text)",
        f"INSERT INTO public.alembic_version VALUES ('{version}')",  # noqa: S608
        "CREATE TABLE public.users (id int, mail text)",
        "CREATE TABLE public.sessions (id int)",
        "INSERT INTO public.users VALUES (1, 'theirs')",
    )
    assert await check(url) is SchemaState.EMPTY
    assert await upgrade(url) == REVISIONS
    assert await check(url) is SchemaState.CURRENT
    await works(url)
    assert await schemas_of(ask, url) == "ubr"
    assert await ask(url, "SELECT version_num FROM public.alembic_version") == version
    assert await ask(url, "SELECT string_agg(mail, ',') FROM public.users") == "theirs"
    assert await ask(url, "SELECT count(*) FROM ubr.users") == 1


@pytest.mark.parametrize("schema", ["ubr", "mine", None])
async def test_tables_of_another_application_in_its_place_are_named(
    schema: str | None, new_database: NewDatabase, ask: Ask
) -> None:
    url, place = new_database(migrated=False), schema or "ubr"
    await ask(url, f"CREATE SCHEMA {place}", f"CREATE TABLE {place}.users (id int)")
    for doing in (partial(upgrade, url, schema=schema), partial(check, url, schema=schema)):
        with pytest.raises(ForeignTables, match=rf"schema {place} contains tables of another application \(users\)"):
            await doing()
    assert await schemas_of(ask, url) is None
    await ask(url, f"DROP TABLE {place}.users", f"CREATE TABLE {place}.alembic_version AS SELECT '0008' AS version_num")
    with pytest.raises(ForeignTables, match=r"\(alembic_version\): name another schema in UBR_DATABASE_SCHEMA"):
        await upgrade(url, schema=schema)


async def test_the_schema_can_be_chosen(new_database: NewDatabase, ask: Ask) -> None:
    url = new_database(migrated=False)
    for schema in ("first", "second", "public"):
        assert await upgrade(url, schema=schema) == REVISIONS
        assert await upgrade(url, schema=schema) == ()
        await works(url, database_schema=schema)
        assert await ask(url, f"SELECT count(*) FROM {schema}.users") == 1  # noqa: S608
    assert await schemas_of(ask, url) == "first,public,second"
    await downgrade(url, "base", schema="first")
    assert await schemas_of(ask, url) == "public,second"


async def test_one_process_has_two_installations_in_one_database_at_once(new_database: NewDatabase, ask: Ask) -> None:
    url = new_database(migrated=False)
    for schema in ("first", "second"):
        await upgrade(url, schema=schema)
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(
                connect(Settings.memory(database_url=url, database_schema=schema, migrate="check", **TINY_HASHING))
            )
            for schema in ("first", "second")
        ]
        host = await stack.enter_async_context(asyncpg_connection(url))
        for number, ubr in enumerate(opened):
            command = CreateUserCommand(email=f"{number}@example.org")
            async with host.transaction():
                await ubr.within(host).create_user(command, actor=SYSTEM)
            with pytest.raises(EmailTaken):
                await ubr.create_user(command, actor=SYSTEM)
    assert await ask(url, "SELECT string_agg(email, ',') FROM first.users") == "0@example.org"
    assert await ask(url, "SELECT string_agg(email, ',') FROM second.users") == "1@example.org"


@asynccontextmanager
async def asyncpg_connection(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("path", ["public", "elsewhere, public"])
async def test_an_earlier_installation_keeps_its_schema(path: str, new_database: NewDatabase, ask: Ask) -> None:
    url, place = new_database(migrated=False), path.partition(",")[0]
    name = urlsplit(url).path[1:]
    await upgrade(url, "0005", schema=place)
    # Such a role looks there by itself. A schema that happens to bear the name of ours changes nothing.
    await ask(url, f'ALTER DATABASE "{name}" SET search_path TO {path}', "CREATE SCHEMA ubr")
    assert await check(url) is SchemaState.BEHIND
    assert await upgrade(url) == REVISIONS[5:]
    await works(url)
    assert await schemas_of(ask, url) == place


async def test_a_file_of_another_application_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "theirs.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE users (id INTEGER)")
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('0008')")
    database.close()
    for doing in (check, upgrade):
        with pytest.raises(ForeignTables, match=r"tables of another application \(users\): use another file"):
            await doing(f"sqlite:///{file}")


async def test_a_role_that_may_not_create_the_schema_gets_an_error_before_any_change(
    new_database: NewDatabase, ask: Ask
) -> None:
    url, role = new_database(migrated=False), f"poor_{uuid4().hex}"
    await ask(url, f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    poor = url.replace(urlsplit(url).netloc.rpartition("@")[0], f"{role}:secret")
    try:
        with pytest.raises(StoreUnavailable, match="lacks the privilege to create the schema ubr"):
            await upgrade(poor)
        await ask(url, "CREATE SCHEMA ubr")
        with pytest.raises(StoreUnavailable, match="lacks the privilege to create tables in the schema ubr"):
            await upgrade(poor)
        await ask(url, f"GRANT USAGE, CREATE ON SCHEMA ubr TO {role}")
        assert await upgrade(poor) == REVISIONS
    finally:
        await ask(url, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


async def test_an_encoding_that_cannot_hold_every_name_is_refused_before_anything_is_written(
    postgres_server: PostgresServer, ask: Ask
) -> None:
    name = f"latin_{uuid4().hex}"
    url = postgres_server.url(name)
    await ask(
        postgres_server.url("postgres"),
        f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    try:
        for doing in (upgrade, check):
            with pytest.raises(StoreUnavailable, match="has the encoding LATIN1"):
                await doing(url)
        assert await ask(url, "SELECT to_regnamespace('ubr') IS NULL") is True
    finally:
        await anyio.to_thread.run_sync(postgres_server.drop_database, name)


async def test_a_newer_version_is_told_as_an_error_that_commands_explain(new_database: NewDatabase, ask: Ask) -> None:
    url = new_database()
    await ask(url, "UPDATE ubr.alembic_version SET version_num = 'ffff'")
    with pytest.raises(UnknownSchema, match="A newer version of ubr has upgraded"):
        await upgrade(url)
    assert issubclass(UnknownSchema, StoreUnavailable)
