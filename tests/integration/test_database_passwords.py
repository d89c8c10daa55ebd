"""Passwords of the database that change while ubr runs, and roles that AWS IAM authenticates."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlsplit
from uuid import uuid4

import anyio.to_thread
import pytest

from tests.support.plugin import NewDatabase
from tests.support.servers import PostgresServer
from ubr.adapters.aws.credentials import NoCredentials
from ubr.adapters.sql.engine import ConnectionLimits, make_engine
from ubr.adapters.sql.migrations import upgrade
from ubr.adapters.sql.unit_of_work import SqlStore
from ubr.domain.errors import StoreUnavailable


def as_role(url: str, role: str, password: str) -> str:
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{role}:{password}@{place}" if password else f"{role}@{place}").geturl()


async def test_a_rotated_password_is_read_for_the_next_connection(
    new_database: NewDatabase, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url, role, file = new_database(), f"rotated_{uuid4().hex}", tmp_path / "password"
    ask = postgres_server.query
    await anyio.to_thread.run_sync(ask, f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'before'")
    file.write_text("before\n")
    mark = "&" if "?" in url else "?"
    here = f"{as_role(url, role, 'stale')}{mark}password_file={quote(str(file))}"
    engine = make_engine(here, ConnectionLimits(connections=2))
    try:
        store = SqlStore(engine)
        await store.ping()
        await anyio.to_thread.run_sync(ask, f"ALTER ROLE {role} PASSWORD 'after'")
        await engine.dispose()
        with pytest.raises(StoreUnavailable):
            await store.ping()
        file.write_text("after\n")
        await store.ping()
        file.unlink()
        await engine.dispose()
        with pytest.raises(StoreUnavailable):
            await store.ping()
    finally:
        await engine.dispose()
        await anyio.to_thread.run_sync(ask, f"DROP ROLE {role}")


@pytest.mark.parametrize("credentials", [True, False])
async def test_iam_issues_a_password_for_each_connection(
    credentials: bool, new_database: NewDatabase, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PostgreSQL that is not at RDS knows the issued password because it is given to the role."""
    url, role = new_database(), f"issued_{uuid4().hex}"
    ask = postgres_server.query
    await anyio.to_thread.run_sync(ask, f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'token'")
    asked = []

    async def issue(host: str, port: int, user: str) -> str:
        if not credentials:
            raise NoCredentials("AWS_REGION is not set")
        asked.append((host, port, user))
        return "token"

    monkeypatch.setattr("ubr.adapters.aws.passwords.database_password", issue)
    mark = "&" if "?" in url else "?"
    engine = make_engine(f"{as_role(url, role, '')}{mark}auth=aws-iam", ConnectionLimits(connections=1))
    try:
        for _ in range(2):
            if credentials:
                await SqlStore(engine).ping()
            else:
                with pytest.raises(StoreUnavailable):
                    await SqlStore(engine).ping()
            await engine.dispose()
    finally:
        await engine.dispose()
        await anyio.to_thread.run_sync(ask, f"DROP ROLE {role}")
    assert [user for _, _, user in asked] == ([role, role] if credentials else [])


async def test_a_migration_creates_the_role_that_iam_authenticates(
    new_database: NewDatabase, postgres_server: PostgresServer
) -> None:
    url, role = new_database(migrated=False), f"service_{uuid4().hex}"
    ask = postgres_server.query
    await anyio.to_thread.run_sync(ask, "CREATE ROLE rds_iam")
    try:
        for _ in range(2):  # the second time, nothing is left to do
            await upgrade(url, service=role, iam=True)
        for right in ("rolcanlogin", "rolpassword IS NULL", "pg_has_role(rolname, 'rds_iam', 'MEMBER')"):
            statement = f"SELECT {right} FROM pg_authid WHERE rolname = '{role}'"  # noqa: S608 - made in this test
            assert await anyio.to_thread.run_sync(ask, statement) is True
    finally:
        await anyio.to_thread.run_sync(ask, "DROP ROLE rds_iam")
