"""The programs of PostgreSQL that a backup runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy.engine import make_url

from tests.integration.backups.kit import BACKUP_KEY, SECRET_KEY, Installation
from tests.support import commands
from tests.support.commands import Kept, Process, clean_environment
from tests.support.servers import PostgresServer
from ubr.adapters.sql.backups import programs
from ubr.adapters.sql.backups.programs import Program, environment_of, find_program, running
from ubr.application.ports.backups import BackupFailed

pytestmark = pytest.mark.system

PRINTS_VERSION = '#!/bin/sh\n[ "$1" = --version ] && echo "{name} (PostgreSQL) {version}" && exit 0\n{rest}\n'


def program(folder: Path, name: str, version: str, rest: str = "exit 1") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(PRINTS_VERSION.format(name=name, version=version, rest=rest))
    path.chmod(0o755)
    return path


async def test_the_oldest_program_that_is_new_enough_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {version: program(tmp_path / version, "pg_dump", f"{version}.3 (Debian)") for version in ("14", "16", "18")}
    program(tmp_path / "broken", "pg_dump", "17.1").write_text("#!/nowhere\n")
    monkeypatch.setattr(programs, "FOLDERS", f"{tmp_path}/1?")
    found = await find_program("pg_dump", 15, {"PATH": f"{tmp_path}/broken"})
    assert (found.path, found.major, found.version) == (str(paths["16"]), 16, "16.3")
    assert (await find_program("pg_dump", 14, {"PATH": f"{tmp_path}/18"})).major == 14


async def test_a_program_that_is_missing_or_too_old_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "FOLDERS", f"{tmp_path}/none")
    with pytest.raises(BackupFailed, match=r"^No pg_dump is installed.* install the package postgresql-client-17 "):
        await find_program("pg_dump", 17, {"PATH": str(tmp_path)})
    program(tmp_path, "pg_dump", "15.1")
    with pytest.raises(BackupFailed, match=r"^Only version 15 of pg_dump is installed"):
        await find_program("pg_dump", 17, {"PATH": str(tmp_path)})


async def test_a_program_ends_with_its_context_even_if_its_output_fills_the_pipe(tmp_path: Path) -> None:
    path = program(tmp_path, "pg_dump", "15.1", "while :; do head -c 10000000 /dev/zero || exit 1; done")
    found = Program(str(path), 15, "15.1")

    async def fail() -> None:
        async with running(found, [], {"PATH": os.defpath}, writes=True) as process:
            assert process.stdout is not None
            await process.stdout.read(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(fail(), commands.PATIENCE)


def test_a_url_becomes_variables() -> None:
    url = make_url("postgresql+asyncpg://ada:p%40ss@[::1]:6543/data?ssl=verify-full&sslrootcert=/ca.crt")
    made = environment_of(url, {"PATH": "/bin"})
    assert made == {
        "PATH": "/bin",
        "PGHOST": "::1",
        "PGPORT": "6543",
        "PGUSER": "ada",
        "PGPASSWORD": "p@ss",
        "PGDATABASE": "data",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/ca.crt",
        "PGAPPNAME": "ubr backup",
        "PGCONNECT_TIMEOUT": "10",
        "LC_ALL": "C",
    }
    assert environment_of(make_url("postgresql+asyncpg://u@/d?host=/run/postgresql"), {})["PGHOST"] == "/run/postgresql"


RECORDS = f"""
exec {sys.executable} -c 'import json, os, sys
json.dump([sys.argv[1:], dict(os.environ)], open("recorded", "w"))' "$@"
"""


def test_no_secret_is_on_a_command_line_or_reaches_another_program(
    postgresql: Installation, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    program(tmp_path / "bin", "pg_dump", postgres_server.origin.version, RECORDS)
    postgresql.patch.setenv("PATH", f"{tmp_path / 'bin'}", prepend=os.pathsep)
    url = urlsplit(postgresql.url)
    protected = f"postgresql://{url.username}:{url.password or 'hunter2'}@{url.hostname}:{url.port}{url.path}"
    postgresql.patch.setenv("UBR_DATABASE_URL", protected)
    postgresql.done("backup create")
    arguments, environment = json.loads((tmp_path / "recorded").read_text())
    password = url.password or "hunter2"
    assert [argument for argument in arguments if password in argument] == []
    assert environment["PGPASSWORD"] == password
    assert not [name for name in environment if name.startswith("UBR_")]
    assert not [value for value in environment.values() if value in {BACKUP_KEY, SECRET_KEY}]


def test_a_program_that_fails_leaves_no_backup(
    postgresql: Installation, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    rest = "echo some content; echo 'pg_dump: error: no space left' >&2; exit 1"
    program(tmp_path / "bin", "pg_dump", postgres_server.origin.version, rest)
    postgresql.patch.setenv("PATH", f"{tmp_path / 'bin'}", prepend=os.pathsep)
    said = postgresql.refused("backup create")
    assert f"pg_dump {postgres_server.origin.version} failed: no space left." in said
    assert postgresql.names == []


def test_a_restore_that_fails_leaves_an_empty_database(
    postgresql: Installation, new_database: Callable[..., str], postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """The program reads the whole dump, and its transaction is not committed."""
    target = new_database(migrated=False)
    name = postgresql.done("backup create").strip()
    rest = "cat > /dev/null; echo 'pg_restore: error: the server is gone' >&2; exit 1"
    program(tmp_path / "bin", "pg_restore", postgres_server.origin.version, rest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path / 'bin'}", prepend=os.pathsep)
        assert "the server is gone" in postgresql.refused("backup restore", name, "--to", target)
    postgresql.done("backup restore", name, "--to", target)


@pytest.fixture
def endless(postgresql: Installation, postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Process]:
    """A backup that does not end, and has written a part."""
    endless = "while :; do head -c 100000 /dev/zero || exit 1; done"
    program(tmp_path / "bin", "pg_dump", postgres_server.origin.version, endless)
    settings = {name: value for name, value in os.environ.items() if name.startswith("UBR_")}  # noqa: TID251
    environment = clean_environment(**settings)
    environment["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{environment['PATH']}"
    out, err = Kept(), Kept()
    process = commands.start("backup", "create", folder=tmp_path, environment=environment, out=out, err=err)
    try:
        while not [path for path in postgresql.backups.glob(".*.partial/*") if path.stat().st_size > 1_000_000]:
            assert process.poll() is None, err.text
        yield process
    finally:
        process.kill()
        process.wait(commands.PATIENCE)


def test_a_backup_that_is_interrupted_leaves_nothing(postgresql: Installation, endless: Process) -> None:
    endless.send_signal(signal.SIGINT)
    assert endless.wait(commands.PATIENCE) == 1
    assert postgresql.names == []


def test_a_backup_that_is_killed_in_the_middle_is_not_shown(postgresql: Installation, endless: Process) -> None:
    endless.kill()
    endless.wait(commands.PATIENCE)
    assert len(postgresql.names) == 1
    assert postgresql.names[0].endswith(".partial")
    assert "sqlite" not in postgresql.done("backup list")
    assert "There is no backup in this place" in postgresql.refused("backup verify")
    name = postgresql.done("backup create").strip()
    assert postgresql.names == [name]
