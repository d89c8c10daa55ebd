"""The worked example of CONTRIBUTING, done to a copy of the source: a field on User, in six files."""

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
        ("    email_verified: bool\n", "    locale: str | None = None\n"),
        ("status: UserStatus, now: datetime", ", locale: str | None = None"),
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


@pytest.mark.system(seconds=8)
def test_a_field_on_user_takes_six_files(tmp_path: Path) -> None:
    copy = tmp_path / "ubr"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for file, edits in EDITS.items():
        text = (copy / file).read_text()
        for anchor, added in edits:
            assert text.count(anchor) == 1, f"{file} does not have this once: {anchor}"
            text = text.replace(anchor, anchor + added)
        (copy / file).write_text(text)
    newest = max(re.findall(r'^revision = "(\w+)"', path.read_text(), re.MULTILINE)[0] for path in _migrations())
    (copy / MIGRATION).write_text(NEW_MIGRATION.format(before=newest))
    assert len({*EDITS, MIGRATION}) == 6

    ran = subprocess.run(  # noqa: S603 - what it runs is ours
        [sys.executable, "-c", TRY, str(tmp_path)],
        cwd=tmp_path,
        env={**clean_environment(), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    answers = [line for line in ran.stdout.splitlines() if line.startswith("[")]
    assert answers == ['[null, 200, "de-CH", true]'] * 2


def test_contributing_names_these_files() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("## A worked example")[2]
    named = set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))
    assert {re.sub(r"…|9999", "", name) for name in named} == {name.replace("9999", "") for name in (*EDITS, MIGRATION)}


def _migrations() -> list[Path]:
    return list((SOURCE / "adapters/sql/migrations/versions").glob("*.py"))
