"""An installation, as its operator sees it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.integration.cli.kit import Ended
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.app import Application
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.sessions.log_in import LogInCommand
from ubr.domain.actor import SYSTEM
from ubr.entrypoints.cli.main import main
from ubr.entrypoints.cli.starting import opened
from ubr.settings import Settings

BACKUP_KEY = "the key of the backups: 0123456789abcdef"
SECRET_KEY = "the secret of the service: 0123456789abcdef"
SECRETS = {"UBR_BACKUP_KEY": BACKUP_KEY, "UBR_SECRET_KEY": SECRET_KEY}
EMAIL, PASSWORD = "ada@example.org", "quite a long passphrase of Ada"

_names = count()


class Installation:
    """A database, and a folder of backups beside it."""

    def __init__(self, folder: Path, url: str, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.url, self.patch = folder, url, patch
        self.backups = folder / "backups"
        patch.setenv("UBR_DATABASE_URL", url)
        patch.setenv("UBR_BACKUP_DIR", str(self.backups))

    def ubr(self, line: str, *more: str) -> Ended:
        """Run a command in this process."""
        done = CliRunner().invoke(main, [*line.split(), *more])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert "Traceback" not in done.stderr
        return Ended(done.exit_code, done.stdout, done.stderr)

    def done(self, line: str, *more: str) -> str:
        """Run a command that succeeds. Returns its output."""
        ended = self.ubr(line, *more)
        assert ended.code == 0, ended.err
        return ended.out

    def refused(self, line: str, *more: str) -> str:
        """Run a command that fails with exit code 1. Returns its sentences."""
        ended = self.ubr(line, *more)
        assert (ended.code, ended.out) == (1, ""), ended
        return " ".join(ended.err.split())

    def call(self, doing: Callable[[Application], Awaitable[Any]], *, prepared: bool = True) -> Any:
        """Open the database of the settings, and call it."""

        async def run() -> Any:
            async with opened(Settings.from_env(), prepared=prepared) as ubr:
                return await doing(ubr)

        return asyncio.run(run())

    def fill(self) -> None:
        """Migrate the database, and create a user with a session."""
        self.done("migrate")

        async def fill(ubr: Application) -> None:
            await ubr.register_user(RegisterUserCommand(email=EMAIL, password=PASSWORD), actor=SYSTEM)
            await ubr.log_in(LogInCommand(email=EMAIL, password=PASSWORD))

        self.call(fill)
        self.act()

    def act(self) -> None:
        """Create a role, and sign the entry of this."""

        async def act(ubr: Application) -> None:
            await ubr.create_role(CreateRoleCommand(name=f"role-{next(_names)}"), actor=SYSTEM)
            await ubr.get_checkpoint(actor=SYSTEM)

        self.call(act)

    def run_sql(self, *statements: str) -> None:
        """Change the database on SQLite past the service."""
        with closing(sqlite3.connect("ubr.db")) as database, database:
            for statement in statements:
                database.execute(statement)

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.backups.iterdir())

    @property
    def newest(self) -> Path:
        return self.backups / self.names[-1]

    @property
    def dump(self) -> Path:
        """The encrypted file of the newest backup."""
        (found,) = self.newest.glob("*.enc")
        return found

    @property
    def manifest(self) -> dict[str, Any]:
        """That of the newest backup."""
        found: dict[str, Any] = json.loads((self.newest / "manifest.json").read_bytes())["manifest"]
        return found
