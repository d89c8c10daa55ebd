"""Why a database cannot be used: a sentence for each cause, at the start and in the log."""

import logging
import os
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import anyio
import anyio.to_thread
import pytest

from tests.contracts.kit import MovableClock, new_user, put
from tests.support.plugin import NewDatabase
from tests.support.servers import PostgresServer, free_port
from ubr.adapters.sql import ConnectionLimits, SqlStore, SqlUnitOfWork, failure_log, make_engine
from ubr.adapters.sql.errors import SqlUnavailable
from ubr.adapters.sql.migrations import check, upgrade
from ubr.application.audit.recorder import Recorder
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import StoreTooSlow, StoreUnavailable

pytestmark = [pytest.mark.anyio, pytest.mark.system]


@pytest.fixture(autouse=True)
def nothing_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_log, "_failures", OrderedDict())


def as_role(url: str, role: str, password: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.hostname}:{parts.port}"))


Given = Callable[[str, PostgresServer], str]
CAUSES: dict[str, tuple[Given, str]] = {
    "password": (lambda url, _: as_role(url, "ubr", "hunter2"), "rejects the password of this role"),
    "role": (lambda url, _: as_role(url, "nobody_here", "hunter2"), "rejects the password of this role"),
    "database": (lambda url, _: url + "_not", "The server has no database of this name"),
    "port": (
        lambda url, _: as_role(url, "ubr", "hunter2").replace(f":{urlsplit(url).port}", f":{free_port()}"),
        "No server listens",
    ),
    "host": (
        lambda url, _: url.replace("127.0.0.1", "nowhere.invalid"),
        "The host name of the database is unknown",
    ),
    "tls": (lambda url, _: url + "?sslmode=require", "The database URL requires TLS, but the server offers none"),
}


@pytest.mark.parametrize("cause", CAUSES)
async def test_each_cause_has_a_sentence_before_anything_is_done(
    cause: str, new_database: NewDatabase, postgres_server: PostgresServer
) -> None:
    make, sentence = CAUSES[cause]
    url = make(new_database(migrated=False), postgres_server)
    for doing in (check, upgrade):
        with pytest.raises(StoreUnavailable, match=sentence) as refused:
            await doing(url)
        assert "hunter2" not in str(refused.value)
        assert isinstance(refused.value, SqlUnavailable)


async def test_a_role_that_may_not_create_tables_gets_an_error(
    new_database: NewDatabase, postgres_server: PostgresServer
) -> None:
    url, role = new_database(migrated=False), f"poor_{uuid4().hex}"
    await anyio.to_thread.run_sync(postgres_server.query, f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    try:
        with pytest.raises(StoreUnavailable, match="The role lacks the privilege to create the schema ubr"):
            await upgrade(as_role(url, role, "secret"))
    finally:
        await anyio.to_thread.run_sync(postgres_server.query, f"DROP ROLE {role}")


async def test_a_full_disk_is_told_at_the_start_and_at_run_time(
    new_database: NewDatabase, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A trigger answers what PostgreSQL does where its disk is full."""
    url = new_database()
    full = """
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$
    """
    on = "CREATE TRIGGER full_disk BEFORE INSERT ON users EXECUTE FUNCTION full_disk()"
    name = urlsplit(url).path[1:]
    for statement in (full, on):
        await anyio.to_thread.run_sync(partial(postgres_server.query, statement, database=name))
    engine = make_engine(url)
    uow = SqlUnitOfWork(engine, Recorder(uuid4, os.urandom), MovableClock())
    with caplog.at_level(logging.WARNING, "ubr.sql"):
        for _ in range(5):
            with pytest.raises(StoreUnavailable, match="The disk of the database is full"):
                await put(uow, new_user())
    await engine.dispose()
    assert caplog.messages == ["The disk of the database is full (sqlstate 53100)"]


async def test_a_password_that_is_changed_at_run_time_is_in_the_log(
    new_database: NewDatabase, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    url, role = new_database(), f"changed_{uuid4().hex}"
    ask = postgres_server.query
    await anyio.to_thread.run_sync(ask, f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'before'")
    engine = make_engine(as_role(url, role, "before"), ConnectionLimits(connections=2))
    try:
        store = SqlStore(engine)
        await store.ping()
        await anyio.to_thread.run_sync(ask, f"ALTER ROLE {role} PASSWORD 'after'")
        await engine.dispose()
        with caplog.at_level(logging.WARNING, "ubr.sql"):
            for _ in range(20):
                with pytest.raises(StoreUnavailable):
                    await store.ping()
    finally:
        await engine.dispose()
        await anyio.to_thread.run_sync(ask, f"DROP ROLE {role}")
    assert caplog.messages == ["The database rejects the password of this role (sqlstate 28P01)"]


async def test_a_repeated_line_reports_the_number_of_suppressed_ones(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr("ubr.adapters.sql.failure_log.time.monotonic", lambda: now)
    with caplog.at_level(logging.WARNING, "ubr.sql"):
        for _ in range(4):
            failure_log.log_failure(SqlUnavailable("sqlstate 53300", "No connection is left"))
        failure_log.log_failure(SqlUnavailable("another"))
        now += failure_log.EVERY
        failure_log.log_failure(SqlUnavailable("sqlstate 53300", "No connection is left"))
    assert caplog.messages == [
        "No connection is left (sqlstate 53300)",
        "The database is unreachable (another)",
        "No connection is left (sqlstate 53300), and 3 times before",
    ]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (ConnectionLimits(lock=0.2), "55P03: lock_timeout"),
        (ConnectionLimits(statement=0.2), "57014: statement_timeout"),
    ],
)
async def test_a_slow_statement_is_not_a_database_out_of_reach(
    new_database: NewDatabase, limits: ConnectionLimits, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(new_database(), limits)
    uow = SqlUnitOfWork(engine, Recorder(uuid4, os.urandom), MovableClock())
    await put(uow, user := new_user())
    with caplog.at_level(logging.WARNING, "ubr.sql"):
        async with uow.begin(SYSTEM) as tx:
            await tx.users.get(user.id)
            with pytest.raises(StoreTooSlow) as slow:
                async with uow.begin(SYSTEM) as other:
                    await other.users.get(user.id)
    await engine.dispose()
    assert (slow.value.code, slow.value.title) == ("store-too-slow", "The database took too long")
    assert re.search(reason, "\n".join(caplog.messages))
