"""The process and its files."""

from __future__ import annotations

import multiprocessing
import os
import resource
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest

from tests.integration.cli.doctor.kit import SECRET, Examine
from ubr.entrypoints.cli.doctor.machine import check_files, check_process
from ubr.entrypoints.findings import Level
from ubr.settings import Settings

pytestmark = pytest.mark.system


def test_root(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert examine().says("warning", "process", "ubr runs as root")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert examine().levels()["process"] == "ok"


def _with_few_files(told: SimpleQueue[list[tuple[str, str]]]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
    told.put([(finding.level.value, finding.sentence) for finding in check_process(Settings.memory())])


def test_too_few_files_for_the_connections() -> None:
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    process = context.Process(target=_with_few_files, args=(told,))
    process.start()
    found = [sentence for level, sentence in told.get() if level == "warning" and "UBR_MAX_CONNECTIONS" in sentence]
    process.join()
    told.close()
    assert len(found) == 1
    assert "each worker would accept 72 connections instead of 1024" in found[0]


def test_a_database_that_others_can_read(embedded: dict[str, str], examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "var" / "ubr.db").chmod(0o644)
    report = examine(**embedded)
    assert report.says("warning", "files", "Other users of this machine can read or write the database file var/ubr.db")


def test_a_folder_that_others_can_write(embedded: dict[str, str], examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "var").chmod(0o777)
    assert examine(**embedded).says("error", "files", "run `chmod o-w var`")


def test_a_secret_file_that_others_can_read(examine: Examine, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o644)
    assert examine(UBR_SECRET_KEY_FILE=str(secret)).says("warning", "files", f"UBR_SECRET_KEY_FILE names {secret}")
    secret.chmod(0o600)
    assert examine(UBR_SECRET_KEY_FILE=str(secret)).levels()["files"] == "ok"


@pytest.mark.parametrize(("full", "level"), [(1 << 60, Level.ERROR), (0, Level.WARNING)])
def test_a_full_disk(full: int, level: Level, tmp_path: Path) -> None:
    settings = Settings.memory(database_url=f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}")
    [found] = check_files(settings, {}, full=full, nearly_full=1 << 60)
    assert found.level is level
    assert "MiB left" in found.sentence
