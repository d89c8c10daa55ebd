"""The programs `pg_dump` and `pg_restore`: where they are, and how they are run."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

import msgspec
from sqlalchemy.engine import URL

from ubr.application.ports.backups import BackupFailed

FOLDERS: Final = "/usr/lib/postgresql/*/bin"
"""The folders of Debian's packages, which are not in PATH."""

_VERSION: Final = re.compile(r"\(PostgreSQL\) (?P<text>(?P<major>[0-9]+)\S*)")
_OPTIONS: Final = {"sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "ssl": "PGSSLMODE"}
"""The options of a database URL that name TLS files, and the mode by its name in asyncpg."""
_MAX_COMPLAINT: Final = 500


class Program(msgspec.Struct, frozen=True):
    """An installed program, and the version that it prints."""

    path: str
    major: int
    version: str


def environment_of(url: URL, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables with which a program of PostgreSQL connects to a database. They are not on its command line."""
    host, port = url.query.get("host", url.host), url.query.get("port", url.port)
    given = {
        "PGHOST": host,
        "PGPORT": port,
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
        **{variable: url.query.get(name) for name, variable in _OPTIONS.items()},
        "PGAPPNAME": "ubr backup",
        "PGCONNECT_TIMEOUT": "10",
        "LC_ALL": "C",
    }
    return {**inherited, **{name: str(value) for name, value in given.items() if value is not None}}


async def find_program(name: str, least: int, inherited: Mapping[str, str]) -> Program:
    """The oldest installed program of this major version or a newer one: newer ones make dumps for newer servers.

    Errors: `BackupFailed` if there is none.
    """
    paths = _paths(name, inherited)
    programs = [found for path in paths if (found := await _program(path, inherited)) is not None]
    fitting = [program for program in programs if program.major >= least]
    if not fitting:
        older = f"Only version {max(program.major for program in programs)} of" if programs else "No"
        raise BackupFailed(
            f"{older} {name} is installed, and PostgreSQL {least} needs version {least} or newer: install the package "
            f"postgresql-client-{least} (from apt.postgresql.org, if the distribution has an older one)"
        )
    return min(fitting, key=lambda program: program.major)


def _paths(name: str, inherited: Mapping[str, str]) -> list[str]:
    folders = [folder for folder in inherited.get("PATH", os.defpath).split(os.pathsep) if folder]
    folders += map(str, sorted(Path("/").glob(FOLDERS.removeprefix("/"))))
    return [path for folder in dict.fromkeys(folders) if (path := shutil.which(name, path=folder)) is not None]


async def _program(path: str, inherited: Mapping[str, str]) -> Program | None:
    """None if it does not run, such as a wrapper of Debian without its program."""
    try:
        process = await asyncio.create_subprocess_exec(
            path, "--version", stdout=PIPE, stderr=asyncio.subprocess.DEVNULL, env=dict(inherited)
        )
    except OSError:
        return None
    printed, _ = await process.communicate()
    found = _VERSION.search(printed.decode(errors="replace"))
    return None if found is None else Program(path, int(found["major"]), found["text"])


@asynccontextmanager
async def running(
    program: Program, arguments: Sequence[str], environment: Mapping[str, str], *, writes: bool
) -> AsyncIterator[Process]:
    """A process whose standard output is read, if it `writes`, or whose standard input is written.

    At the end of the context it must have succeeded. It is killed if the context ends with an error.
    Errors: `BackupFailed` with the first line that it complained with.
    """
    with TemporaryFile() as complaints:
        process = await asyncio.create_subprocess_exec(
            program.path,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL if writes else PIPE,
            stdout=PIPE if writes else asyncio.subprocess.DEVNULL,
            stderr=complaints,
            env=dict(environment),
        )
        try:
            yield process
            code = await process.wait()
        except BaseException:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            # Unlike `wait`, this ends also if the output fills its pipe.
            await process.communicate()
            raise
        if code != 0:
            name = Path(program.path).name
            raise BackupFailed(f"{name} {program.version} failed: {_first_line(complaints) or f'exit code {code}'}")


def _first_line(file: IO[bytes]) -> str:
    file.seek(0)
    line = file.readline(_MAX_COMPLAINT).decode(errors="replace").strip()
    return line.partition("error: ")[2] or line
