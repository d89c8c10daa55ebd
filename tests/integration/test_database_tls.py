"""Each option for TLS that a database URL takes, on a PostgreSQL with an authority of its own."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.support.certificates import Authority
from tests.support.plugin import PrivatePostgres
from tests.support.servers import PostgresServer
from ubr.adapters.sql.migrations import SchemaState, check
from ubr.domain.errors import StoreUnavailable
from ubr.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.system(seconds=15)]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Of the server, of a client called ubr, and of another authority that nobody knows."""
    authority = Authority(tmp_path)
    authority.sign("server", "server")
    authority.sign("client", "ubr")
    authority.sign("colleague", "colleague")
    (tmp_path / "other").mkdir()
    Authority(tmp_path / "other")
    (tmp_path / "nonsense.crt").write_text("no certificate")
    return tmp_path


@pytest.fixture
async def start(files: Path, private_postgres: PrivatePostgres) -> Callable[[str], PostgresServer]:
    def starting(rule: str) -> PostgresServer:
        """A server that takes connections by this rule of pg_hba.conf."""
        server = private_postgres()
        owner = server.data_directory.stat()
        for name in ("ca.crt", "server.crt", "server.key"):
            there = server.data_directory / name
            shutil.copyfile(files / name, there)
            there.chmod(0o600)
            os.chown(there, owner.st_uid, owner.st_gid)
        (server.data_directory / "pg_hba.conf").write_text(f"{rule}\n")
        tls = {"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key", "ssl_ca_file": "ca.crt"}
        server.restart(tls)
        return server

    return starting


def given(server: PostgresServer, options: str) -> str:
    """The URL as it is after the settings were read."""
    raw = server.url("postgres").partition("?")[0] + (f"?{options}" if options else "")
    read = Settings.from_env({"UBR_DATABASE_URL": raw, "UBR_SECRET_KEY": "k" * 16 + "3" * 16 + "a1b2c3d4e5f6a7b8"})
    return read.database_url


async def refused(url: str, sentence: str) -> None:
    with pytest.raises(StoreUnavailable, match=sentence):
        await check(url)


async def test_each_option_connects(files: Path, start: Callable[[str], PostgresServer]) -> None:
    server = await anyio.to_thread.run_sync(start, "hostssl all all 127.0.0.1/32 password")
    root = f"sslrootcert={files}/ca.crt"
    for options in (
        *("", "sslmode=prefer", "sslmode=require", "ssl=require", "sslmode=allow"),
        *(f"sslmode=require&{root}", f"sslmode=verify-ca&{root}", f"sslmode=verify-full&{root}"),
        f"sslmode=verify-full&{root}&sslcert={files}/client.crt&sslkey={files}/client.key",
    ):
        assert await check(given(server, options)) is SchemaState.EMPTY, options
    other = f"sslrootcert={files}/other/ca.crt"
    await refused(given(server, "sslmode=disable"), r"The database requires TLS: add \?sslmode=require")
    await refused(given(server, f"sslmode=verify-full&{other}"), "The certificate of the database is not valid")
    await refused(given(server, "sslrootcert=system"), "The certificate of the database is not valid")
    await refused(
        given(server, f"sslmode=verify-ca&sslrootcert={files}/nothing"), "The file of sslrootcert in the database URL"
    )
    await refused(given(server, f"sslmode=require&sslcert={files}/nothing"), "The file of sslcert in the database URL")
    await refused(
        given(server, f"sslmode=verify-ca&sslrootcert={files}/nonsense.crt"), "not a suitable certificate or key"
    )
    await refused(
        given(server, f"sslmode=require&sslcert={files}/nonsense.crt&sslkey={files}/client.key"), "not a suitable"
    )


async def test_a_client_shows_its_certificate(files: Path, start: Callable[[str], PostgresServer]) -> None:
    server = await anyio.to_thread.run_sync(start, "hostssl all all 127.0.0.1/32 cert")
    ours = f"sslcert={files}/client.crt&sslkey={files}/client.key"
    assert await check(given(server, f"sslmode=require&{ours}")) is SchemaState.EMPTY
    await refused(given(server, "sslmode=require"), "rejects this role")
    of_another_role = f"sslcert={files}/colleague.crt&sslkey={files}/colleague.key"
    await refused(given(server, f"sslmode=require&{of_another_role}"), "rejects this role")


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
async def test_checking_a_certificate_takes_one_to_check_it_by(
    mode: str, start: Callable[[str], PostgresServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    server = await anyio.to_thread.run_sync(start, "hostssl all all 127.0.0.1/32 password")
    await refused(given(server, f"sslmode={mode}"), "cannot be verified: add sslrootcert to its URL")
