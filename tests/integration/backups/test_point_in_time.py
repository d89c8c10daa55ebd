"""The recipe with pgBackRest goes back to a moment between two acts, by the commands of the documentation."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.backups.kit import EMAIL, PASSWORD, Installation
from tests.support.commands import PATIENCE, clean_environment
from tests.support.papers import blocks_of
from tests.support.servers import PostgresServer, find_pgbackrest, may_install
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.app import Application
from ubr.application.kernel.representations import TokensResult
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.sessions.log_in import LogInCommand
from ubr.application.sessions.refresh_session import RefreshSessionCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import UbrError
from ubr.entrypoints.cli.output import Refused
from ubr.entrypoints.cli.starting import check_continuation
from ubr.settings import Settings

pytestmark = [pytest.mark.system, pytest.mark.long]

PAGE = "docs/operations/point-in-time-recovery.md"


class Machine:
    """A machine with PostgreSQL, pgBackRest and ubr, on which an operator types the lines of the page."""

    def __init__(self, server: PostgresServer, here: Installation, folder: Path) -> None:
        self.server, self.here, self.folder = server, here, folder
        self.configuration = folder / "pgbackrest.conf"

    def configure(self, text: str) -> None:
        """Store the configuration of the page, with the paths and the port of this machine."""
        repository = self.folder / "repository"
        repository.mkdir()
        text = text.replace("/var/lib/pgbackrest", str(repository))
        text = re.sub(r"REPLACE-\S+", secrets.token_hex(32), text)
        text = text.replace("/var/lib/postgresql/15/main", str(self.server.data_directory))
        text = text.replace(
            "[global]",
            f"[global]\nlog-path={self.folder}\nlock-path={self.folder}/lock\nspool-path={self.folder}/spool",
        )
        text += f"pg1-port={self.server.port}\npg1-socket-path={self.server.data_directory.parent}\npg1-user=ubr\n"
        text += "pg1-database=postgres\n"
        self.configuration.write_text(text)
        if self.server.user is not None:
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, self.server.user, self.server.user)

    def configured(self, line: str) -> str:
        """The same line for this configuration instead of the one in /etc."""
        return re.sub("^pgbackrest ", f"pgbackrest --config={self.configuration} ", line)

    def ask(self, question: str) -> object:
        return self.server.query(question, database="accounts")

    def type(self, line: str, **variables: str) -> None:
        """Carry out a line."""
        words = line.split()
        match words:
            case ["systemctl", action, "postgresql"]:
                self.server.shut_down() if action == "stop" else self.server.restart()
            case ["systemctl", _, "ubr"]:
                pass  # its instances are opened by the test, and closed again
            case ["ubr", *_]:
                self.here.done(line.removeprefix("ubr "))
            case _:
                self._run(line, variables)

    def _run(self, line: str, variables: dict[str, str]) -> None:
        user: dict[str, Any] = {}
        if self.server.user is not None:
            user = {"user": self.server.user, "group": self.server.user, "extra_groups": []}
        environment = clean_environment() | {
            "PGHOST": str(self.server.data_directory.parent),
            "PGPORT": str(self.server.port),
            "PGUSER": "ubr",
            "PGDATABASE": "postgres",
            "PGPASSWORD": self.server.password,
            **variables,
        }
        done = subprocess.run(  # noqa: S603 - a line of our documentation
            ["/bin/sh", "-eu", "-c", self.configured(line)],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=10 * PATIENCE,
            check=False,
            **user,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory, clean: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    find_pgbackrest(install=may_install())
    with PostgresServer.start(durable=True) as server:
        clean.chdir(tmp_path)
        url = server.create_database("accounts")
        here = Installation(tmp_path, url, clean)
        folder = server.data_directory.parent / "pgbackrest"
        folder.mkdir()
        yield Machine(server, here, folder)


def lines_of(number: int) -> list[str]:
    return [block.text for block in blocks_of(PAGE, "sh")][number].splitlines()


def test_a_database_goes_back_to_a_moment(machine: Machine) -> None:
    here, server = machine.here, machine.server
    configuration, settings = (block.text for block in blocks_of(PAGE, "ini"))
    machine.configure(configuration)
    chosen = dict(line.split(" = ", 1) for line in settings.splitlines())
    chosen = {name: value.strip("'") for name, value in chosen.items()}
    chosen["archive_command"] = machine.configured(chosen["archive_command"])
    server.restart(chosen)
    here.fill()
    for line in lines_of(0):
        machine.type(line)

    here.act()
    first, second = (here.call(log_in) for _ in range(2))
    before = roles(machine)
    moment = str(machine.ask("SELECT clock_timestamp()::text"))

    async def end(ubr: Application) -> None:
        (user,) = (await ubr.list_users(ListUsersCommand(), actor=SYSTEM)).items
        await ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=user.id), actor=SYSTEM)
        await ubr.create_role(CreateRoleCommand(name="made-later"), actor=SYSTEM)

    here.call(end)
    here.done("audit checkpoint --output log.checkpoint")
    here.patch.setenv("UBR_AUDIT_CHECKPOINT", "log.checkpoint")
    saved = Path("log.checkpoint").read_text()
    assert (valid(here, first), "made-later" in roles(machine)) == (False, True)
    machine.ask("SELECT pg_switch_wal()")

    for line in [*lines_of(1), *lines_of(2)]:
        machine.type(line, MOMENT=moment)
    assert roles(machine) == before
    assert valid(here, first)  # the danger that the page warns of
    with pytest.raises(Refused, match="ubr after-restore"):
        asyncio.run(check_continuation(Settings.from_env()))  # as each instance does before it starts
    assert here.ubr("audit verify").code == 1

    for line in lines_of(3):
        machine.type(line)
    assert not valid(here, second)
    assert roles(machine) == before
    told = here.done("audit verify")
    assert "match their signatures" in told
    assert "restored" in told
    assert Path("log.checkpoint").read_text() != saved
    (kept,) = (path.name for path in Path().glob("log.checkpoint?*") if path.read_text() == saved)
    lost = here.ubr("audit verify --checkpoint", kept)
    assert (lost.code, "are missing" in lost.err) == (1, True)
    here.call(log_in)


async def log_in(ubr: Application) -> TokensResult:
    return await ubr.log_in(LogInCommand(email=EMAIL, password=PASSWORD))


def valid(here: Installation, session: TokensResult) -> bool:
    """Whether the session can be continued, on a database that the service may refuse to start with."""

    async def refresh(ubr: Application) -> bool:
        try:
            await ubr.refresh_session(RefreshSessionCommand(refresh_token=session.refresh_token))
        except UbrError:
            return False
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("UBR_AUDIT_CHECKPOINT", raising=False)
        found: bool = here.call(refresh)
        return found


def roles(machine: Machine) -> set[str]:
    """The names of all roles."""
    return set(str(machine.ask("SELECT string_agg(name, '/') FROM ubr.roles")).split("/"))
