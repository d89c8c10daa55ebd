"""Mistakes that show in the contents of the database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.cli.doctor.kit import OTHER_SECRET, SECRET, Examine
from tests.integration.cli.kit import Run
from tests.support.people import give_up
from tests.support.plugin import NewDatabase
from tests.support.servers import run
from ubr import (
    SYSTEM,
    CreateMachineCommand,
    CreateMachineKeyCommand,
    CreateUserCommand,
    KeyToCreate,
    RegisterUserCommand,
    Settings,
    connect,
)
from ubr.adapters.security.system import utc_now

pytestmark = pytest.mark.system


@pytest.fixture
def settings(embedded: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of the embedded installation."""
    monkeypatch.chdir(tmp_path)
    return Settings.from_env(embedded)


def change(*statements: str) -> None:
    with closing(sqlite3.connect("var/ubr.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_a_secret_that_is_not_that_of_the_installation(settings: Settings, examine: Examine) -> None:
    report = examine(UBR_SECRET_KEY=OTHER_SECRET)
    assert report.says("error", "keys", "UBR_SECRET_KEY does not decrypt the signing key")
    assert report.says("error", "keys", "ubr keys revoke --lost-secret")
    assert report.says("error", "keys", "the password hashes of 1 of the 1 oldest users")
    assert report.says("error", "audit log", "UBR_SECRET_KEY does not decrypt the key")
    assert report.levels()["administrators"] == "ok"


def test_an_old_signing_key(settings: Settings, examine: Examine) -> None:
    change("UPDATE signing_keys SET signs_from = datetime('now', '-400 days') || '.000000'")
    assert examine().says("warning", "keys", "The signing key is 400 days old: run `ubr keys rotate`")


def test_a_service_that_never_started(new_database: NewDatabase, examine: Examine) -> None:
    report = examine(UBR_DATABASE_URL=new_database(), UBR_SECRET_KEY=SECRET)
    assert report.says("error", "keys", "The service has never started with this database")
    assert report.says("not checked", "administrators", "the service has never started")


async def _register(settings: Settings, ago: timedelta) -> None:
    """Register a user some time ago, in a process that signs no entries."""
    async with connect(settings, clock=lambda: utc_now() - ago) as ubr:
        await ubr.register_user(RegisterUserCommand(email="reader@example.org", password="a long enough password"))


def test_a_log_that_stands_still(settings: Settings, examine: Examine) -> None:
    run(_register(settings, timedelta(minutes=5)))
    report = examine()
    assert report.says("error", "audit log", "entries are not signed, the oldest for 300 s: start `ubr serve`")


def test_entries_that_are_about_to_be_signed(settings: Settings, examine: Examine) -> None:
    run(_register(settings, timedelta(0)))
    assert examine().says("ok", "audit log", "entries are signed, and 1 are about to be")


def test_a_log_without_its_checkpoint(settings: Settings, examine: Examine) -> None:
    change("DROP TRIGGER log_checkpoints_only_grow_delete", "DELETE FROM log_checkpoints")
    assert examine().says("error", "audit log", "The log has no checkpoint: run `ubr audit verify`")


def test_a_saved_checkpoint(settings: Settings, in_process: Run, examine: Examine, tmp_path: Path) -> None:
    saved = {"UBR_AUDIT_CHECKPOINT": str(tmp_path / "checkpoint")}
    report = examine(**saved)
    assert report.says("warning", "audit log", "which does not exist: run `ubr audit checkpoint --output")
    assert in_process("audit", "checkpoint", "--output", saved["UBR_AUDIT_CHECKPOINT"]).code == 0
    assert examine(**saved).levels()["audit log"] == "ok"
    (tmp_path / "var").rename(tmp_path / "before")
    assert in_process("admin", "create", "--email", "admin@example.org", "--generate").code == 0
    report = examine(**saved)
    assert [level for level, _ in report.about("audit log")] == ["error"]
    assert report.says("error", "audit log", "If a backup was restored, run `ubr after-restore`")


def test_no_administrator(settings: Settings, examine: Examine) -> None:
    change("UPDATE users SET status = 'disabled'")
    assert examine().says("error", "administrators", "There is no active administrator without an end")


async def _keys(settings: Settings) -> None:
    """A key without an end and without a login, of a hundred days ago, and one that ends in a week."""
    async with connect(settings, clock=lambda: utc_now() - timedelta(days=100)) as ubr:
        for name, end in (("report", None), ("scraper", utc_now() + timedelta(days=7))):
            machine = await ubr.create_machine(CreateMachineCommand(name=name), actor=SYSTEM)
            command = CreateMachineKeyCommand(machine_id=machine.id, key=KeyToCreate(name="a key", expires_at=end))
            await ubr.create_machine_key(command, actor=SYSTEM)


def test_keys_of_machines_that_need_a_look(settings: Settings, examine: Examine) -> None:
    assert examine().says("ok", "machine keys", "0 keys are accepted")
    run(_keys(settings))
    report = examine()
    assert report.says("warning", "machine keys", "1 keys have no end, such as ")
    assert report.says("warning", "machine keys", "2 keys were not used for 90 days, such as ")
    assert report.says("warning", "machine keys", "`ubr machines rotate-key scraper ")


async def _person(settings: Settings) -> None:
    async with connect(settings) as ubr:
        await ubr.create_user(CreateUserCommand(email="person@example.org"), actor=SYSTEM)


def test_a_field_by_which_not_every_user_is_indexed(settings: Settings, examine: Examine, tmp_path: Path) -> None:
    assert examine().says("ok", "user fields", "every searchable field")
    run(_person(settings))
    declaration = tmp_path / "fields.json"
    declaration.write_text('{"fields": [{"name": "team", "type": "string", "searchable": true}]}')
    given = {"UBR_USER_FIELDS_FILE": f"{declaration}"}
    assert examine(**given).says("warning", "user fields", "Not every user is indexed by team")


async def _queue(settings: Settings) -> None:
    """A mail that has been due for an hour, and one that was given up."""
    async with connect(settings, clock=lambda: utc_now() - timedelta(hours=1)) as ubr:
        await ubr.create_user(CreateUserCommand(email="waiting@example.org"), actor=SYSTEM)
        await ubr.create_user(CreateUserCommand(email="dead@example.org"), actor=SYSTEM)
        await give_up(ubr, "dead@example.org")


def test_mails_that_stay(settings: Settings, examine: Examine, in_process: Run) -> None:
    assert examine().says("ok", "outbox", "0 mails are queued")
    run(_queue(settings))
    report = examine()
    assert report.says("warning", "outbox", "1 mails were given up: `ubr outbox list --given-up`")
    assert report.says("warning", "outbox", "A mail has been due since ")
