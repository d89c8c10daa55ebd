"""`ubr upgrade-check`, and the way back: `ubr migrate --to`."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.integration.cli.kit import Ended, Run
from tests.support.plugin import NewDatabase
from tests.support.servers import run
from ubr.adapters.sql import make_engine
from ubr.adapters.sql.migrations import REVISIONS, upgrade
from ubr.adapters.sql.migrations.preview import RATE
from ubr.bootstrap import upgrade_preview
from ubr.bootstrap.backups import Backups
from ubr.settings import Settings

pytestmark = pytest.mark.system

SECRET = {"UBR_SECRET_KEY": "a-secret-for-tests-" * 3}
NEWEST = REVISIONS[-1]


@pytest.fixture
def ubr(in_process: Run) -> Run:
    return in_process


def at(url: str, revision: str) -> dict[str, str]:
    """The settings of a database at this revision."""
    run(upgrade(url, revision))
    return {**SECRET, "UBR_DATABASE_URL": url}


def as_json(done: Ended) -> dict[str, Any]:
    assert done.out, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'a.db'}"


def test_a_current_schema_needs_nothing(ubr: Run, file_url: str) -> None:
    settings = at(file_url, NEWEST)
    done = ubr("upgrade-check", **settings)
    assert (done.code, done.out) == (0, f"The schema is up to date, at revision {NEWEST}.\n")
    found = as_json(ubr("upgrade-check", "--json", **settings))
    assert found == {"revision": NEWEST, "newest": NEWEST, "pending": [], "first": []}


def test_a_database_without_tables_is_created_by_migrate(ubr: Run, tmp_path: Path, file_url: str) -> None:
    for settings in ({}, {**SECRET, "UBR_DATABASE_URL": file_url}):
        done = ubr("upgrade-check", **settings)
        assert (done.code, done.out) == (0, "There are no tables yet: `ubr migrate` creates them.\n")
    assert not (tmp_path / "var").exists()


def test_migrations_that_the_running_version_works_with_need_no_stop(ubr: Run, new_database: NewDatabase) -> None:
    settings = at(new_database(migrated=False), "0008")
    found = run(upgrade_preview(Settings.from_env(settings)))
    # The newest of these revisions is not that of this version: the rest is the subject of the next test.
    assert [each.rolling for each in found.pending][:5] == [True] * 5
    assert [(table.name, table.blocks.value) for table in found.pending[0].tables] == [("feed", "writes")]
    assert found.pending[1].tables == ()


def test_a_migration_that_breaks_the_running_version_is_named(ubr: Run, new_database: NewDatabase) -> None:
    settings = at(new_database(migrated=False), "0015")
    done = ubr("upgrade-check", **settings)
    assert done.code == 1
    assert f"The database is at revision 0015, this version of ubr has {NEWEST}." in done.out
    assert "has to be stopped" in done.out
    assert "users (" in done.out
    assert "Stop the service before `ubr migrate`: the running version does not work with 0016" in done.out
    found = as_json(ubr("upgrade-check", "--json", **settings))
    assert found["pending"][0]["revision"] == "0016"
    assert found["pending"][0]["rolling"] is False
    assert found["pending"][0]["tables"][0]["seconds"] == 0
    assert len(found["first"]) == 1


def test_a_rolling_upgrade_is_judged_by_the_size_of_its_tables(
    ubr: Run, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database(migrated=False)
    settings = at(url, "0008")
    run(_fill_feed(url))
    monkeypatch.setattr("ubr.adapters.sql.migrations.preview.REVISIONS", REVISIONS[: REVISIONS.index("0009") + 1])
    monkeypatch.setattr("ubr.adapters.sql.migrations.REVISIONS", REVISIONS[: REVISIONS.index("0009") + 1])
    done = ubr("upgrade-check", **settings)
    assert done.code == 0, done.out
    assert "can stay up" in done.out
    assert "writes wait about 1 s" in done.out
    assert "`ubr migrate` can run while the service runs." in done.out
    (table,) = as_json(ubr("upgrade-check", "--json", **settings))["pending"][0]["tables"]
    assert table["name"] == "feed"
    assert 1024 * 1024 < table["size"] < RATE

    done = ubr("upgrade-check", "--max-wait", "0", **settings)
    assert done.code == 1
    assert "Requests may wait about 1 s for locked tables" in done.out


async def _fill_feed(url: str) -> None:
    engine = make_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE feed DISABLE TRIGGER USER"))
        await connection.execute(
            text(
                "INSERT INTO feed (batch, ordinal, kind, thing, at) SELECT gen_random_uuid(), 0, 'session', "
                "gen_random_uuid(), now() FROM generate_series(1, 10000)"
            )
        )
    await engine.dispose()


def test_sqlite_needs_a_stop(ubr: Run, file_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = at(file_url, "0008")
    for name in ("ubr.adapters.sql.migrations.preview.REVISIONS", "ubr.adapters.sql.migrations.REVISIONS"):
        monkeypatch.setattr(name, REVISIONS[: REVISIONS.index("0013") + 1])
    done = ubr("upgrade-check", **settings)
    assert done.code == 1
    assert "SQLite locks the whole file" in done.out


def test_a_newer_schema_is_refused(ubr: Run, file_url: str) -> None:
    settings = at(file_url, NEWEST)
    run(_say_newer(file_url))
    done = ubr("upgrade-check", **settings)
    assert (done.code, done.out) == (1, "")
    assert "A newer version of ubr has upgraded this database" in done.err


async def _say_newer(url: str) -> None:
    engine = make_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await engine.dispose()


def test_a_setting_that_this_version_does_not_know_is_named(ubr: Run, file_url: str) -> None:
    done = ubr("upgrade-check", **at(file_url, NEWEST), UBR_FORMER="1")
    assert done.code == 2
    assert "UBR_FORMER" in done.err


def test_the_age_of_the_newest_backup_counts_if_backups_are_set_up(ubr: Run, file_url: str, tmp_path: Path) -> None:
    settings = at(file_url, "0015")
    key = {
        "UBR_BACKUP_DIR": str(tmp_path / "backups"),
        "UBR_BACKUP_KEY": "the key of backups for the tests of their ages",
    }

    def backups(*options: str, **more: str) -> list[str]:
        first: list[str] = as_json(ubr("upgrade-check", "--json", *options, **settings, **more))["first"]
        return [sentence for sentence in first if "backup" in sentence]

    assert backups() == []
    (tmp_path / "backups").mkdir()
    assert backups(**key) == ["Make a backup with `ubr backup create`: there is none in UBR_BACKUP_DIR."]
    old = datetime.now(UTC) - timedelta(hours=30, minutes=1)  # noqa: TID251 - the command uses the system clock
    run(
        Backups.of(Settings.from_env({**settings, **key}), str(tmp_path / "backups"), clock=lambda: old).create()(
            _quiet
        )
    )
    assert backups(**key) == ["Make a backup with `ubr backup create`: the newest one is 30 hours old."]
    assert backups("--backup-within", "31", **key) == []


def _quiet(*_: object) -> None:
    """No progress is shown."""


def test_a_downgrade_lets_an_older_version_start(ubr: Run, file_url: str) -> None:
    settings = at(file_url, NEWEST)
    done = ubr("migrate", "--to", "0015", "--delete-data", **settings)
    assert (done.code, done.out) == (
        0,
        "The schema is at revision 0015. Start the version of ubr that belongs to it.\n",
    )
    assert as_json(ubr("upgrade-check", "--json", **settings))["revision"] == "0015"
    assert ubr("migrate", **settings).out == "The schema was upgraded.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--to", "0015"), "--to needs --delete-data"),
        (("--to", "0015", "--delete-data", "--check"), "excludes --check"),
        (("--delete-data",), "--delete-data needs --to"),
        (("--to", NEWEST, "--delete-data"), f"The database is at revision {NEWEST}: --to names an earlier one"),
        (("--to", "base", "--delete-data"), "--to names an earlier one"),
    ],
)
def test_a_downgrade_that_makes_no_sense_is_refused(
    ubr: Run, file_url: str, arguments: tuple[str, ...], sentence: str
) -> None:
    settings = at(file_url, NEWEST)
    done = ubr("migrate", *arguments, **settings)
    assert done.code == 2
    assert sentence in " ".join(done.err.replace("│", " ").split())
    assert ubr("migrate", "--check", **settings).code == 0
