"""`ubr outbox`: what waits to be mailed, and what was given up."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.kit import Run
from tests.support.people import give_up
from tests.support.servers import run
from ubr import (
    SYSTEM,
    CreateUserCommand,
    ListMailCommand,
    RegisterUserCommand,
    RequestPasswordResetCommand,
    Settings,
    connect,
)
from ubr.domain.mail.queued_mail import LAST_TRY

DATABASE = "sqlite+aiosqlite:///ubr.db"
SETTINGS = {"UBR_DATABASE_URL": DATABASE, "UBR_SECRET_KEY": "a-secret-for-tests-" * 3, "UBR_MIGRATE": "auto"}


@pytest.fixture
def ubr(in_process: Run) -> Run:
    return in_process


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings.from_env(SETTINGS)


async def _two_letters(settings: Settings) -> None:
    """One that waits, and one that was given up."""
    async with connect(settings) as ubr:
        await ubr.create_user(CreateUserCommand(email="waiting@example.org"), actor=SYSTEM)
        await ubr.create_user(CreateUserCommand(email="dead@example.org"), actor=SYSTEM)
        await give_up(ubr, "dead@example.org")


def listed(ubr: Run, *arguments: str) -> list[dict[str, Any]]:
    done = ubr("outbox", "list", "--json", *arguments, **SETTINGS)
    assert (done.code, done.err) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.out)
    return found


def test_queued_mails_are_shown(ubr: Run, settings: Settings) -> None:
    run(_two_letters(settings))
    waiting, dead = listed(ubr)
    assert (waiting["email"], waiting["state"], waiting["tries"]) == ("waiting@example.org", "waiting", 0)
    assert (dead["email"], dead["state"], dead["tries"]) == ("dead@example.org", "given_up", LAST_TRY)
    assert dead["last_error"] == "the server answered 451"
    assert listed(ubr, "--given-up") == [dead]
    table = ubr("outbox", "list", **SETTINGS).out
    assert "dead@example.org" in table
    assert "given up" in table


def test_a_given_up_mail_is_retried(ubr: Run, settings: Settings) -> None:
    run(_two_letters(settings))
    done = ubr("outbox", "retry", "--all", **SETTINGS)
    assert (done.code, done.out) == (0, "1 mail will be retried.\n")
    assert [(each["state"], each["tries"]) for each in listed(ubr)] == [("waiting", 0)] * 2
    by_id = ubr("outbox", "retry", *(each["id"] for each in listed(ubr)), **SETTINGS)
    assert (by_id.code, by_id.out) == (0, "2 mails will be retried.\n")


def test_a_mail_that_cannot_be_retried_is_reported(ubr: Run, settings: Settings) -> None:
    run(_two_letters(settings))
    unknown = "01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10"
    done = ubr("outbox", "retry", unknown, **SETTINGS)
    assert (done.code, done.out) == (1, "")
    assert f"Mail {unknown} is not in the outbox" in done.err
    for arguments in ((), ("--all", unknown), ("nonsense",)):
        assert ubr("outbox", "retry", *arguments, **SETTINGS).code == 2


async def _forgotten(settings: Settings) -> list[str]:
    async with connect(settings) as ubr:
        await ubr.register_user(RegisterUserCommand(email="owner@example.org", password="correct horse battery"))
        await ubr.request_password_reset(RequestPasswordResetCommand(email="owner@example.org"))
        await ubr.deliver_mail(actor=SYSTEM)
        return [queued.kind for queued in (await ubr.list_mail(ListMailCommand(), actor=SYSTEM)).items]


def test_on_the_embedded_database_mails_are_files(ubr: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(_forgotten(Settings.from_env({}))) == []
    mails = sorted((tmp_path / "var" / "mail").iterdir())
    assert len(mails) == 2
    assert sum("/reset-password#" in mail.read_text() for mail in mails) == 1
    assert ubr("outbox", "list", "--json").out.strip() == "[]"
