"""`ubr doctor` knows how old the newest backup and its verification are."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.integration.cli.doctor.kit import CANARY, Examine
from tests.integration.cli.kit import Run
from ubr.adapters.security.system import utc_now
from ubr.bootstrap import backups as bootstrap

pytestmark = pytest.mark.system

SETTINGS = {"UBR_BACKUP_KEY": f"{CANARY}: a key for the backups of this test", "UBR_BACKUP_DIR": "backups"}


def backed_up(run: Run, command: str = "create") -> None:
    done = run("backup", command, **SETTINGS)
    assert done.code == 0, done.err


def test_without_a_place_the_age_is_not_known(embedded: dict[str, str], examine: Examine) -> None:
    assert examine(**embedded).says("ok", "backups", "UBR_BACKUP_DIR is not set")
    place = {"UBR_BACKUP_DIR": "backups"}
    assert examine(**embedded, **place).says("warning", "backups", "without UBR_BACKUP_KEY")


def test_a_young_and_verified_backup_is_in_order(embedded: dict[str, str], examine: Examine, in_process: Run) -> None:
    backed_up(in_process)
    assert examine(**SETTINGS).says("warning", "backups", "No backup was ever verified: run `ubr backup verify`")
    backed_up(in_process, "verify")
    assert examine(**SETTINGS).says("ok", "backups", "the last verification was at")


def test_an_old_backup_is_a_warning(
    embedded: dict[str, str],
    examine: Examine,
    in_process: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backed_up(in_process)
    backed_up(in_process, "verify")
    of = bootstrap.Backups.of
    monkeypatch.setattr(bootstrap.Backups, "of", partial(of, clock=lambda: utc_now() + timedelta(hours=27)))
    report = examine(**SETTINGS)
    assert report.says("warning", "backups", "longer ago than UBR_BACKUP_MAX_AGE (26h)")
    assert examine(**SETTINGS, UBR_BACKUP_MAX_AGE="2d").levels()["backups"] == "ok"
    monkeypatch.setattr(bootstrap.Backups, "of", partial(of, clock=lambda: utc_now() + timedelta(days=9)))
    report = examine(**SETTINGS, UBR_BACKUP_MAX_AGE="30d")
    assert report.says("warning", "backups", "The last backup was verified at")
    (backup,) = (tmp_path / "backups").iterdir()
    backup.rename(backup.with_name(backup.name.replace("2", "1", 1)))
    assert examine(**SETTINGS).says("error", "backups", "this is a copy of the backup")


def test_a_place_without_backups_is_an_error(embedded: dict[str, str], examine: Examine, tmp_path: Path) -> None:
    assert examine(**SETTINGS).says("error", "backups", "Cannot read backups: No such file")
    (tmp_path / "backups").mkdir()
    assert examine(**SETTINGS).says("error", "backups", "There is no backup: run `ubr backup create`.")


def test_a_bucket_that_does_not_answer_is_an_error(embedded: dict[str, str], examine: Examine) -> None:
    bucket = {"UBR_BACKUP_DIR": "s3://bucket/ubr", "UBR_BACKUP_S3_ENDPOINT": "http://127.0.0.1:1"}
    key = {"UBR_BACKUP_KEY": SETTINGS["UBR_BACKUP_KEY"]}
    credentials = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": CANARY}
    assert examine(**bucket, **key, **credentials).says("error", "backups", "The connection to http://127.0.0.1:1")
