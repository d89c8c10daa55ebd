"""The worked examples of the docs, applied to a copy of the source: a field on User, and a use case."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import clean_environment

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "ubr"
MIGRATION = "adapters/sql/migrations/versions/9999_user_locale.py"

# For each file what is added, and behind what.
EDITS = {
    "domain/accounts/user.py": [
        ("    password_hash: PasswordHash | None\n    status: UserStatus\n", "    locale: str | None = None\n"),
        ("    full_name: str | None\n    status: UserStatus\n", "    locale: str | None\n"),
        ("            self.status,\n", "            self.locale,\n"),
        ("        fields: FieldState | None = None,\n", "        locale: str | None = None,\n"),
        ("            self.full_name = full_name\n", "        if locale != self.locale:\n"),
        (
            "        if locale != self.locale:\n",
            '            changed.append("locale")\n            self.locale = locale\n',
        ),
    ],
    "adapters/sql/tables.py": [('Column("full_name_key", _exact()),\n', '    Column("locale", Text),\n')],
    "adapters/sql/rows.py": [
        ('"full_name": user.full_name,\n', '        "locale": user.locale,\n'),
        (
            "email=Email(row[c.email], row[c.email_key]),\n        full_name=row[c.full_name],\n",
            "        locale=row[c.locale],\n",
        ),
        ("c.full_name, c.status, ", "c.locale, "),
        ("key, full_name, status, ", "locale, "),
        ("full_name,\n                    _STATUS[status],\n", "                    locale,\n"),
    ],
    "application/kernel/representations.py": [
        (
            '    full_name: Annotated[str | None, example("Ada Lovelace")]\n',
            '    locale: Annotated[str | None, example("de-CH")]\n',
        ),
        ("full_name=user.full_name,\n", "        locale=user.locale,\n"),
    ],
    "application/accounts/update_user.py": [
        ("    status: UserStatus | UnsetType = UNSET\n", "    locale: str | UnsetType | None = UNSET\n"),
        (
            "if changes.status is UNSET else changes.status,\n",
            "                locale=user.locale if changes.locale is UNSET else changes.locale,\n",
        ),
    ],
}

NEW_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("locale", sa.Text))


def downgrade() -> None:
    op.drop_column("users", "locale")
"""

TRY = """
import asyncio, json, sys
import httpx
import ubr
from ubr import LogInCommand, RegisterUserCommand, Settings, connect
from ubr.entrypoints.http.app import create_app
from ubr.testing import TINY_HASHING

assert ubr.__file__.startswith(sys.argv[1]), ubr.__file__

async def over_http(url):
    async with connect(Settings.memory(database_url=url, migrate="auto", **TINY_HASHING)) as app:
        await app.register_user(RegisterUserCommand(email="user@example.org", password="a long enough password"))
        login = LogInCommand(email="user@example.org", password="a long enough password")
        from ubr import SYSTEM, AssignRoleCommand
        tokens = await app.log_in(login)
        await app.assign_role(AssignRoleCommand(user_id=tokens.user.id, role="admin"), actor=SYSTEM)
        headers = {"Authorization": f"Bearer {tokens.access_token}"}
        transport = httpx.ASGITransport(app=create_app(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://ubr", headers=headers) as client:
            before = (await client.get("/api/users/me")).json()
            changed = await client.put(f"/api/users/{tokens.user.id}", json={"locale": "de-CH"})
            after = (await client.get("/api/users/me")).json()
            document = (await client.get("/api/openapi.json")).text
            return [before["locale"], changed.status_code, after["locale"], '"locale"' in document]

for url in ("memory:", "sqlite:///locale.db"):
    print(json.dumps(asyncio.run(over_http(url))))
"""


USE_CASE = "application/sessions/count_sessions.py"
NEW_USE_CASE = '''
from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import example
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.ids import UserId
from ubr.domain.roles.permissions import SESSIONS_READ


class CountSessionsCommand(Command, frozen=True, kw_only=True):
    user_id: UUID


class SessionCountResult(Result, frozen=True, kw_only=True):
    count: Annotated[int, example(3)]


@dataclass(frozen=True, slots=True)
class CountSessions:
    """Count the sessions of a user that have not ended.

    - One's own; another's needs `sessions:read`.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    denials: DenialLog

    @denials_recorded
    async def __call__(self, command: CountSessionsCommand, /, *, actor: Actor | System) -> SessionCountResult:
        user_id = UserId(command.user_id)
        (await self.authorize(actor)).require_self_or(user_id, SESSIONS_READ)
        async with self.unit_of_work.read() as tx:
            return SessionCountResult(count=len(await tx.sessions.page(user_id, tx.now, None, 1000)))
'''

USE_CASE_EDITS = {
    "application/app.py": [
        (
            "from ubr.application.sessions.authenticate import Authenticate\n",
            "from ubr.application.sessions.count_sessions import CountSessions\n",
        ),
        ("    refresh_session: RefreshSession\n", "    count_sessions: CountSessions\n"),
    ],
    "bootstrap/composition/sessions.py": [
        (
            "from ubr.application.sessions.authenticate import Authenticate\n",
            "from ubr.application.sessions.count_sessions import CountSessions\n",
        ),
        (
            "    return SessionUseCases(\n",
            (
                "        count_sessions=CountSessions(\n"
                "            authorize=services.authorize,\n"
                "            unit_of_work=services.unit_of_work,\n"
                "            denials=services.denials,\n"
                "        ),\n"
            ),
        ),
    ],
    "sync.py": [
        (
            "    list_sessions = _UseCase(lambda ubr: ubr.list_sessions)\n",
            "    count_sessions = _UseCase(lambda ubr: ubr.count_sessions)\n",
        ),
    ],
    "entrypoints/http/routes/users.py": [
        (
            "from ubr.application.sessions.list_sessions import ListSessions, ListSessionsCommand\n",
            (
                "from ubr.application.sessions.count_sessions import (\n"
                "    CountSessions, CountSessionsCommand, SessionCountResult\n"
                ")\n"
                "from ubr.entrypoints.http.responses import ok\n"
            ),
        ),
        (
            "        await call.ubr.delete_user(command, actor=call.actor)\n",
            (
                "\n"
                "    @get(\n"
                '        "/{user_id}/sessions/count",\n'
                "        operation(\n"
                '            CountSessions, "users", summary="Count sessions", answer=SessionCountResult\n'
                "        ),\n"
                "    )\n"
                "    async def count_sessions(self, call: Call) -> Response:\n"
                '        command = CountSessionsCommand(user_id=call.id("user_id"))\n'
                "        return ok(await call.ubr.count_sessions(command, actor=call.actor))\n"
            ),
        ),
    ],
}

TRY_USE_CASE = """
import asyncio, json, sys
import httpx
import ubr
from ubr import SYSTEM, CountSessionsCommand, LogInCommand, RegisterUserCommand, Settings, connect
from ubr.entrypoints.http.app import create_app
from ubr.testing import TINY_HASHING

assert ubr.__file__.startswith(sys.argv[1]), ubr.__file__

async def tried():
    async with connect(Settings.memory(**TINY_HASHING)) as app:
        tokens = []
        for email in ("user@example.org", "other@example.org"):
            await app.register_user(RegisterUserCommand(email=email, password="a long enough password"))
            login = LogInCommand(email=email, password="a long enough password")
            tokens += [await app.log_in(login), await app.log_in(login)]
        mine = tokens[0].user.id
        counted = await app.count_sessions(CountSessionsCommand(user_id=mine), actor=SYSTEM)
        transport = httpx.ASGITransport(app=create_app(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://ubr") as client:
            answers = [
                await client.get(
                    f"/api/users/{mine}/sessions/count", headers={"Authorization": f"Bearer {each.access_token}"}
                )
                for each in (tokens[0], tokens[2])
            ]
            document = (await client.get("/api/openapi.json")).json()
    operation = document["paths"]["/api/users/{user_id}/sessions/count"]["get"]
    return [counted.count, [each.status_code for each in answers], answers[0].json(), operation["operationId"]]

print(json.dumps(asyncio.run(tried())))
"""


def applied(edits: dict[str, list[tuple[str, str]]], folder: Path) -> Path:
    """A copy of the source with these edits."""
    copy = folder / "ubr"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for file, each in edits.items():
        text = (copy / file).read_text()
        for anchor, added in each:
            assert text.count(anchor) == 1, f"{file} does not have this once: {anchor}"
            text = text.replace(anchor, anchor + added)
        (copy / file).write_text(text)
    return copy


def ran_on(folder: Path, *arguments: str) -> str:
    """The output of Python on the copy."""
    ran = subprocess.run(  # noqa: S603 - what it runs is ours
        [sys.executable, *arguments],
        cwd=folder,
        env={**clean_environment(), "PYTHONPATH": f"{folder}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return ran.stdout


def answers(program: str, folder: Path) -> list[str]:
    """The lists that a program prints which runs on the copy."""
    return [line for line in ran_on(folder, "-c", program, str(folder)).splitlines() if line.startswith("[")]


@pytest.mark.system(seconds=8)
def test_a_field_on_user_takes_six_files(tmp_path: Path) -> None:
    copy = applied(EDITS, tmp_path)
    newest = max(re.findall(r'^revision = "(\w+)"', path.read_text(), re.MULTILINE)[0] for path in _migrations())
    (copy / MIGRATION).write_text(NEW_MIGRATION.format(before=newest))
    assert len({*EDITS, MIGRATION}) == 6
    assert answers(TRY, tmp_path) == ['[null, 200, "de-CH", true]'] * 2


@pytest.mark.system(seconds=5)
def test_a_use_case_takes_five_files(tmp_path: Path) -> None:
    copy = applied(USE_CASE_EDITS, tmp_path)
    (copy / USE_CASE).write_text(NEW_USE_CASE)
    assert len({*USE_CASE_EDITS, USE_CASE}) == 5
    ran_on(tmp_path, "-m", "tools.public_names")  # as `make docs` does
    assert answers(TRY_USE_CASE, tmp_path) == ['[2, [200, 403], {"count": 2}, "count_sessions"]']


def test_the_docs_name_these_files() -> None:
    page = (ROOT / "docs" / "worked-examples.md").read_text()
    field, use_case = page.split("\n## ")[1:]
    for section, files in ((field, {*EDITS, MIGRATION}), (use_case, {*USE_CASE_EDITS, USE_CASE})):
        named = set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))
        assert {name.replace("…", "") for name in named} == {name.replace("9999", "") for name in files}


def _migrations() -> list[Path]:
    return list((SOURCE / "adapters/sql/migrations/versions").glob("*.py"))
