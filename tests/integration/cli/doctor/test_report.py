"""Sound installations have no error, whatever is wrong has an end, and the report has its form."""

from __future__ import annotations

import json
import logging
import socket
import threading
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner

from tests.integration.cli.doctor.kit import CANARY, SECRET, Examine, Installed
from tests.integration.cli.kit import Run
from ubr.entrypoints.cli.doctor.limits import is_resolved, limited
from ubr.entrypoints.cli.main import main
from ubr.entrypoints.findings import SUBJECTS, Finding, Level, error

pytestmark = pytest.mark.system


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its mode and content, except those that each reader of SQLite makes and deletes."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal"))]
    return {str(path): (path.stat().st_mode, path.read_bytes()) for path in files}


def test_a_sound_embedded_installation_has_no_error(embedded: dict[str, str], examine: Examine, tmp_path: Path) -> None:
    before = everything(tmp_path)
    report = examine(**embedded)
    assert report.code == 0
    not_for_sqlite = {"rights", "clock", "connections"}
    assert report.levels().keys() == SUBJECTS.keys() - not_for_sqlite
    assert {level for level, subject, _ in report.found if subject != "process"} == {"ok"}  # tests may run as root
    assert everything(tmp_path) == before


def test_a_sound_installation_on_postgresql_and_redis_has_no_error(
    on_postgres: Installed, redis_url: str, examine: Examine
) -> None:
    report = examine(**on_postgres(), UBR_REDIS_URL=redis_url)
    assert report.code == 0
    assert report.levels().keys() == SUBJECTS.keys()
    assert "not checked" not in report.levels().values()
    assert report.says("ok", "database", "PostgreSQL")
    assert report.says("ok", "redis", "is a primary")


def test_a_finding_is_one_line_for_people(in_process: Run) -> None:
    done = in_process("doctor", UBR_TRUSTED_PROXIES="8.0.0.0/8")
    lines = done.out.splitlines()
    assert [line for line in lines if line.startswith("warning      proxies         UBR_TRUSTED_PROXIES contains")]
    assert lines[-1].startswith("Errors: 1. Warnings: ")
    assert done.code == 1


def test_wrong_usage_is_another_exit_code(in_process: Run) -> None:
    assert in_process("doctor", "--mail-to", "not an address").code == 2
    assert in_process("doctor", "--unknown").code == 2


def test_wrong_settings_are_errors_and_the_rest_is_not_checked(examine: Examine) -> None:
    report = examine(UBR_DATABASE_URI=f"postgresql://ubr:{CANARY}@db/ubr", UBR_SECRET_KEY=CANARY)
    assert report.says("error", "settings", "UBR_DATABASE_URI is not a setting: did you mean UBR_DATABASE_URL?")
    assert report.says("error", "settings", "UBR_SECRET_KEY must have 32 bytes")
    assert {subject for level, subject, _ in report.found if level == "not checked"} == SUBJECTS.keys() - {"settings"}
    assert report.says("not checked", "mail", "not checked: the settings are wrong.")


def test_no_secret_is_in_the_output_at_any_log_level(in_process: Run) -> None:
    done = in_process(
        "doctor",
        UBR_LOG_LEVEL="debug",
        UBR_DATABASE_URL=f"postgresql://ubr:{CANARY}@127.0.0.1:1/ubr",
        UBR_MIGRATION_DATABASE_URL=f"postgresql://owner:{CANARY}@127.0.0.1:1/ubr",
        UBR_REDIS_URL=f"redis://:{CANARY}@127.0.0.1:1/0",
        UBR_SMTP_URL=f"smtp://ubr:{CANARY}@127.0.0.1:1",
        UBR_PUBLIC_URL="https://accounts.example.org",
        UBR_MAIL_FROM="ubr@example.org",
        UBR_SECRET_KEY=SECRET,
        UBR_METRICS_TOKEN=f"{CANARY}-{CANARY}",
        UBR_ADMIN_EMAIL="admin@example.org",
        UBR_ADMIN_PASSWORD=f"{CANARY} {CANARY}",
    )
    assert done.code == 1
    for secret in (SECRET, CANARY):
        assert secret not in done.out + done.err


def test_the_log_stays_off_the_terminal(embedded: dict[str, str], ubr: Run, tmp_path: Path) -> None:
    (tmp_path / "var" / "ubr.db").chmod(0o644)  # about which the log has a line
    done = ubr("doctor", **embedded)
    assert done.err == ""
    assert done.out.count("Other users of this machine can read or write the database file") == 1


def test_the_log_is_as_before_afterwards(examine: Examine) -> None:
    handlers = logging.getLogger("ubr").handlers[:]
    examine()
    assert logging.getLogger("ubr").handlers == handlers


async def test_a_check_that_takes_too_long_or_fails_is_a_finding() -> None:
    async def hangs() -> list[Finding]:
        await anyio.sleep_forever()
        return []

    async def breaks() -> list[Finding]:
        raise RuntimeError(CANARY)

    slow = await limited(hangs(), "database", "clock", seconds=0.01)
    assert [finding.level for finding in slow] == [Level.ERROR, Level.NOT_CHECKED]
    assert "took longer than 0.01 s" in slow[0].sentence
    [broken] = await limited(breaks(), "redis")
    assert broken == error("redis", "The check failed with RuntimeError: please report this error of ubr.")


async def test_a_name_server_without_an_answer_does_not_stop_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: answered.wait())
    assert not await is_resolved("db.example.org", seconds=0.01)
    [thread] = [each for each in threading.enumerate() if each.name == "doctor-resolver"]
    assert thread.daemon
    answered.set()
    thread.join()
    assert await is_resolved("db.example.org")


def test_the_json_is_one_document() -> None:
    done = CliRunner().invoke(main, ["doctor", "--json"])
    assert list(json.loads(done.stdout)) == ["errors", "warnings", "findings"]
