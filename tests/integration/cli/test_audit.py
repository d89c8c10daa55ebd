"""`ubr audit` and `ubr after-restore`, and a start that is refused because of what was kept outside the database.

To start a process takes longer than what it does, so the commands run in this one.
"""

import asyncio
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.integration.cli.kit import Ended, Run
from tests.support import notes
from ubr.application.app import Application
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.sessions.log_in import LogInCommand
from ubr.audit_verifier.__main__ import main as audit_verifier
from ubr.domain.actor import SYSTEM
from ubr.entrypoints.cli.main import main
from ubr.entrypoints.cli.output import ExitCode, Refused
from ubr.entrypoints.cli.starting import Credentials, opened, prepare
from ubr.settings import Settings

pytestmark = pytest.mark.system

NAMED = "sqlite+aiosqlite:///ubr.db"
OWN_WORD = "The key comes from the log itself"
_names = count()


class Here:
    """An installation on the embedded database, in the folder of the test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._monkeypatch = folder, monkeypatch
        self.database = folder / "var" / "ubr.db"

    def set(self, **settings: str) -> None:
        for name, value in settings.items():
            self._monkeypatch.setenv(name, value)

    def ubr(self, line: str, *, typed: str | None = None) -> Ended:
        """Run a command."""
        done = CliRunner().invoke(main, line.split(), input=typed)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert "Traceback" not in done.stderr
        return Ended(done.exit_code, done.stdout, done.stderr)

    def done(self, line: str) -> str:
        """Run a command that succeeds; what it prints."""
        ended = self.ubr(line)
        assert ended.code == 0, ended.err
        return ended.out

    def act(self, times: int = 1, *, signed: bool = True) -> None:
        """Write so many entries; `signed` says whether they are in the tree as well."""

        async def act() -> None:
            async with opened(Settings.from_env(), prepared=signed, following=signed) as ubr:
                for _ in range(times):
                    command = CreateRoleCommand(name=f"role-{next(_names)}")
                    await ubr.create_role(command, actor=SYSTEM)

        asyncio.run(act())

    def keep(self, name: str, line: str) -> Path:
        """What a command prints, in a file."""
        return self.write(name, self.done(line))

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    @property
    def size(self) -> int:
        """Of the tree."""
        return int(self.signed()[-1][0])

    def save(self) -> Path:
        """A copy of the database as it stands."""
        return Path(shutil.copy(self.database, self.folder / f"copy-{next(_names)}.db"))

    def put_back(self, copy: Path) -> None:
        shutil.copy(copy, self.database)

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.database)) as database:
            return database.execute(query).fetchall()

    def signed(self) -> list[Any]:
        return self.rows("SELECT size, note FROM log_checkpoints ORDER BY size")

    def tamper(self, *statements: str) -> None:
        """As somebody who may change whatever they want."""
        with closing(sqlite3.connect(self.database)) as database:
            triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for (trigger,) in triggers:
                database.execute(f"DROP TRIGGER {trigger}")
            for statement in statements:
                database.execute(statement)
            database.commit()

    def start(self) -> Credentials | None:
        """What `ubr serve` does before it serves."""
        return asyncio.run(prepare(Settings.from_env()))


@pytest.fixture(scope="module")
def clean() -> Iterator[pytest.MonkeyPatch]:
    """No setting of ubr in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("UBR_")]:  # noqa: TID251 - to have none of them
            patch.delenv(name)
        yield patch


@pytest.fixture(scope="module")
def installed(clean: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Credentials]:
    """The folder of an installation with some entries in its log, and its first administrator. It is copied."""
    folder = tmp_path_factory.mktemp("installed")
    with clean.context() as patch:
        patch.chdir(folder)
        here = Here(folder, patch)
        made_up = here.start()
        here.act(6)
    assert made_up is not None
    return folder, made_up


@pytest.fixture(scope="module")
def another(clean: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The key and a checkpoint of another log, which is shorter."""
    folder = tmp_path_factory.mktemp("another")
    with clean.context() as patch:
        patch.chdir(folder)
        here = Here(folder, patch)
        return here.done("audit key"), here.done("audit checkpoint")


@pytest.fixture
def here(installed: tuple[Path, Credentials], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    shutil.copytree(installed[0] / "var", tmp_path / "var")
    monkeypatch.chdir(tmp_path)
    return Here(tmp_path, monkeypatch)


# --- verify ----------------------------------------------------------------------------------------------------------


def test_a_fresh_installation_verifies(here: Here) -> None:
    done = here.ubr("audit verify")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"All {here.size} entries match their signatures.\nSigned by ")
    assert OWN_WORD in done.out
    key = here.keep("log.key", "audit key")
    trusted = here.done(f"audit verify --key {key}")
    assert OWN_WORD not in trusted
    assert f"Signed by {key.read_text().strip()}\n" in trusted


def test_verifying_needs_no_secret_and_leaves_no_trace(here: Here) -> None:
    here.act(3, signed=False)
    shutil.move(here.database, "ubr.db")
    shutil.rmtree("var")
    here.database = here.folder / "ubr.db"
    here.set(UBR_DATABASE_URL=NAMED)
    before, signed = here.database.read_bytes(), here.signed()
    assert here.rows("SELECT count(*) FROM log_queue") == [(3,)]
    for _ in range(2):
        assert f"All {here.size} entries match their signatures" in here.done("audit verify")
        assert here.database.read_bytes() == before
        assert here.signed() == signed
        assert [path.name for path in here.folder.iterdir()] == ["ubr.db"]
    for line in ("audit checkpoint", "audit export", "audit key", "after-restore --yes"):
        done = here.ubr(line)
        assert (done.code, done.out) == (2, "")
        assert "UBR_SECRET_KEY must be set" in done.err
    assert here.database.read_bytes() == before


def test_verifying_makes_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = Here(tmp_path, monkeypatch).ubr("audit verify")
    assert done.code != 0
    assert (done.out, done.err.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line", ["audit verify", "audit checkpoint", "audit prune --keep 1d --yes", "after-restore --yes"]
)
def test_in_memory_there_is_no_log_to_look_after(here: Here, line: str) -> None:
    here.set(UBR_DATABASE_URL="memory:")
    done = here.ubr(line)
    assert (done.code, done.out) == (2, "")
    assert "memory:" in done.err


def entry_at(here: Here, index: int) -> str:
    """The id of an entry as text."""
    [(raw,)] = here.rows(f"SELECT entry_id FROM log_leaves WHERE leaf_index = {index}")  # noqa: S608 - a number
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE logs SET actor_id = NULL, message = 'None' WHERE id = {row}", "Entry 5 ({id}) was changed."),
        ("DELETE FROM logs WHERE id = {row}", "Entry 5 ({id}) is missing."),
        ("DELETE FROM log_leaves WHERE leaf_index = 5", "Entry 5 is missing."),
        ("UPDATE log_leaves SET hash = zeroblob(32) WHERE leaf_index = 5", "Entry 5 ({id}) was changed."),
        ("DELETE FROM log_checkpoints WHERE size = (SELECT max(size) FROM log_checkpoints)", "No checkpoint covers"),
    ],
)
def test_a_database_that_was_changed_is_found_out(here: Here, statement: str, words: str) -> None:
    named = words.format(id=entry_at(here, 5))
    here.tamper(statement.format(row="(SELECT entry_id FROM log_leaves WHERE leaf_index = 5)"))
    done = here.ubr("audit verify")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(named)
    assert done.err.count("\n") == 1


def test_queued_entries_are_reported_and_are_a_finding_after_a_minute(here: Here) -> None:
    here.act(3, signed=False)
    assert "Not signed yet: 3, the oldest since 20" in here.done("audit verify")
    here.tamper(
        "UPDATE logs SET timestamp = strftime('%Y-%m-%d %H:%M:%f', timestamp, '-61 seconds') || '000' "
        "WHERE id = (SELECT min(entry_id) FROM log_queue)"
    )
    ended = here.ubr("audit verify")
    assert ended.code == 1
    assert "3 entries are queued to be signed, the oldest since 20" in ended.err
    here.done("audit checkpoint")  # signs what waits
    assert "Not signed yet" not in here.done("audit verify")


def test_the_key_of_another_log(here: Here, another: tuple[str, str]) -> None:
    done = here.ubr(f"audit verify --key {here.write('log.key', another[0])}")
    assert (done.code, done.out, done.err) == (1, "", "No checkpoint is signed by a trusted key.\n")


def test_the_checkpoint_of_another_log_is_a_mistake_and_no_finding(here: Here, another: tuple[str, str]) -> None:
    done = here.ubr(f"audit verify --checkpoint {here.write('log.checkpoint', another[1])}")
    assert (done.code, done.out) == (2, "")
    assert "not signed by a key of this log" in done.err


def test_a_checkpoint_that_is_older_than_the_log_and_one_that_is_newer(here: Here) -> None:
    copy, size = here.save(), here.size
    older = here.keep("older", "audit checkpoint")
    here.act(3)
    newer = here.keep("newer", "audit checkpoint")
    both = f"--checkpoint {older} --checkpoint {newer}"
    assert "match their signatures" in here.done(f"audit verify {both}")
    here.put_back(copy)
    here.done(f"audit verify --checkpoint {older}")
    here.set(UBR_AUDIT_CHECKPOINT=str(newer))
    for options in (f"--checkpoint {newer}", ""):
        done = here.ubr(f"audit verify {options}")
        assert (done.code, done.out) == (1, "")
        assert f"The log ends at size {size}" in done.err
        assert f"has size {size + 3}" in done.err


@pytest.mark.parametrize("kept", ["nothing is there", "garbage", b"\xff\xfe"])
@pytest.mark.parametrize(
    "line",
    [
        "audit verify {file}",
        "audit verify --key {file}",
        "audit verify --checkpoint {file}",
        "after-restore --yes --checkpoint {file}",
        "audit checkpoint --output {file}",
    ],
)
def test_files_that_are_missing_or_no_such_files(here: Here, line: str, kept: str | bytes) -> None:
    file, signed = here.folder / "kept.file", here.signed()
    if kept == "nothing is there":
        if "--output" in line:
            return  # it is made then
    else:
        file.write_bytes(kept if isinstance(kept, bytes) else kept.encode())
    done = here.ubr(line.format(file=file))
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith(".\n")
    assert done.err.count("\n") == 1
    assert here.signed() == signed
    assert not file.exists() or file.read_bytes() in {b"garbage", b"\xff\xfe"}


def test_garbage_in_the_file_that_the_settings_name(here: Here) -> None:
    kept = here.folder / "log.checkpoint"
    kept.write_text("garbage")
    here.set(UBR_AUDIT_CHECKPOINT=str(kept))
    for line in ("audit verify", "after-restore --yes"):
        done = here.ubr(line)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"{kept} ")


# How far a log has gone on since the database was put back to a state of three entries before the checkpoint.
STATES = [pytest.param(0, id="put back"), pytest.param(4, id="put back and gone on")]


# --- checkpoint ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_printed_and_covers_what_was_done(here: Here) -> None:
    key = here.done("audit key").strip()
    here.act(2, signed=False)
    done = here.ubr("audit checkpoint")
    assert (done.code, done.err) == (0, "")
    _, size, _ = notes.checkpoint(done.out, key)
    assert size == here.rows("SELECT count(*) FROM logs")[0][0]
    assert here.rows("SELECT * FROM log_queue") == []


def test_a_checkpoint_replaces_an_older_one_that_it_continues(here: Here) -> None:
    kept, key, size = here.folder / "log.checkpoint", here.done("audit key").strip(), here.size
    for more in (0, 2, 3):
        if more:
            here.act(more, signed=False)
        size += more
        done = here.ubr(f"audit checkpoint --output {kept}")
        assert (done.code, done.out, done.err) == (0, "", f"Wrote {kept}.\n")
        assert notes.checkpoint(kept.read_text(), key)[1] == size
    assert sorted(path.name for path in here.folder.iterdir()) == ["log.checkpoint", "var"]


@pytest.mark.parametrize("more", STATES)
def test_a_checkpoint_that_the_log_does_not_continue_stays(here: Here, more: int) -> None:
    copy = here.save()
    here.act(3)
    kept = here.keep("log.checkpoint", "audit checkpoint")
    before = kept.read_text()
    here.put_back(copy)
    if more:
        here.act(more)
    here.act(1, signed=False)
    signed = here.signed()
    done = here.ubr(f"audit checkpoint --output {kept}")
    assert (done.code, done.out) == (1, "")
    assert (
        "the log was truncated" if more == 0 else "are not the entries that the saved checkpoint signed"
    ) in done.err
    assert kept.read_text() == before
    assert here.signed() == signed, "and nothing more is signed under this name"


def test_the_checkpoint_of_another_log_is_not_replaced(here: Here, another: tuple[str, str]) -> None:
    kept = here.write("log.checkpoint", another[1])
    done = here.ubr(f"audit checkpoint --output {kept}")
    assert (done.code, done.out) == (1, "")
    assert "not signed by a current or former key of this log" in done.err
    assert kept.read_text() == another[1]


@pytest.mark.parametrize("line", ["audit checkpoint", "audit export"])
def test_where_nothing_can_be_written(here: Here, line: str) -> None:
    done = here.ubr(f"{line} --output no/such/folder/file")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Cannot write to no/such/folder/file: ")


# --- export ----------------------------------------------------------------------------------------------------------


def test_an_export_verifies_and_a_damaged_one_does_not(here: Here) -> None:
    key, kept = here.keep("log.key", "audit key"), here.keep("log.checkpoint", "audit checkpoint")
    file = here.folder / "log.ndjson"
    done = here.ubr(f"audit export --output {file}")
    size = here.size
    assert (done.code, done.out, done.err) == (0, "", f"Exported {size} entries.\n")
    here.set(UBR_DATABASE_URL="memory:")  # it takes none
    trusted = f"audit verify {file} --key {key} --checkpoint {kept}"
    assert f"All {size} entries match their signatures." in here.done(trusted)
    assert OWN_WORD in here.done(f"audit verify {file}")

    lines = file.read_text().splitlines(keepends=True)
    at, entry = next((at, json.loads(line)) for at, line in enumerate(lines) if "role.created" in line)
    missing = f"Entry {entry['index']} is missing."
    if '"index"' not in lines[at + 1]:  # it was the last of what one round took into the tree
        missing = f"There is an unexpected checkpoint of size {entry['index'] + 1}"
    damages: dict[str, tuple[list[str], str]] = {
        "changed": (
            [line.replace("role.created", "role.deleted") if n == at else line for n, line in enumerate(lines)],
            f"Entry {entry['index']} ({entry['id']}) was changed.",
        ),
        "taken out": (lines[:at] + lines[at + 1 :], missing),
        "cut": (lines[:-1], "No checkpoint covers the entries from"),
        "garbled": ([*lines[:at], "{\n", *lines[at + 1 :]], "The record in place of entry"),
        "no number": (
            [line.replace(f'"index":{entry["index"]},', '"index":Infinity,') for line in lines],
            "The record in place of entry",
        ),
        "cut at a checkpoint": (lines[: at + 4], ""),
    }
    for name, (damaged, words) in damages.items():
        file.write_text("".join(damaged))
        done = here.ubr(trusted)
        assert (done.code, done.out) == (1, ""), name
        assert done.err.startswith(words), name


def test_an_export_to_standard_output(here: Here) -> None:
    done = here.ubr("audit export")
    assert done.code == 0
    file = here.folder / "log.ndjson"
    file.write_text(done.out)
    size = here.size
    assert done.err == f"Exported {size} entries.\n"
    assert f"All {size} entries" in here.done(f"audit verify {file}")
    assert '"action":"log.exported"' in [line for line in done.out.splitlines() if '"index"' in line][-1]


def test_an_export_that_fails_leaves_the_older_one(here: Here) -> None:
    file = here.folder / "log.ndjson"
    file.write_text("of yesterday")
    here.tamper("DELETE FROM log_checkpoints")
    here.act(1, signed=False)
    done = here.ubr(f"audit export --output {file}")
    assert (done.code, done.out) == (1, "")
    assert file.read_text() == "of yesterday"
    assert sorted(path.name for path in here.folder.iterdir()) == ["log.ndjson", "var"]


# --- prune -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--before 2026-01-31 --keep 1d",
        "--before yesterday",
        "--before 2026-02-30",
        "--keep forever",
        "--keep 99999999999999d",
    ],
)
def test_pruning_takes_a_day_or_a_span(here: Here, options: str) -> None:
    done = here.ubr(f"audit prune --yes {options}")
    assert (done.code, done.out) == (2, "")
    assert "--before" in done.err
    assert here.rows("SELECT count(*) FROM logs") == here.rows("SELECT count(*) FROM log_leaves")


def test_only_what_has_passed_is_pruned(here: Here) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date()  # noqa: TID251 - the command reads the real clock
    done = here.ubr(f"audit prune --yes --before {tomorrow}")
    assert (done.code, done.out) == (2, "")
    assert "must be in the past" in done.err


@pytest.mark.parametrize("options", ["--keep 0d", "--keep 29d", "--keep 719h"])
def test_recent_entries_are_pruned_only_if_forced(here: Here, options: str) -> None:
    entries = here.rows("SELECT count(*) FROM logs")
    done = here.ubr(f"audit prune --yes {options}")
    assert (done.code, done.out) == (2, "")
    assert "must be at least 30 days in the past, unless it is forced" in done.err
    assert here.rows("SELECT count(*) FROM logs") == entries
    here.done(f"audit prune --yes --force {options}")


def test_pruning_asks_first(here: Here) -> None:
    entries = here.rows("SELECT count(*) FROM logs")
    done = here.ubr("audit prune --force --keep 0s", typed="n\n")
    assert done.code == 1
    assert "Delete the content of all entries before 20" in done.out
    assert here.rows("SELECT count(*) FROM logs") == entries
    assert here.ubr("audit prune --force --keep 0s", typed="").code == 1
    done = here.ubr("audit prune --force --keep 0s", typed="y\n")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f"Deleted the content of {entries[0][0]} entries.\n")


def test_the_log_verifies_after_pruning(here: Here) -> None:
    key, kept = here.keep("log.key", "audit key"), here.keep("log.checkpoint", "audit checkpoint")
    size = here.size
    assert here.done("audit prune --yes --keep 30d") == "Deleted the content of 0 entries.\n"
    assert here.done("audit prune --yes --force --keep 0s") == f"Deleted the content of {size} entries.\n"
    found = here.done(f"audit verify --key {key} --checkpoint {kept}")
    assert f"All {size + 1} entries match their signatures." in found
    assert f"The content of {size} entries was pruned, as recorded in the log; their hashes match." in found
    here.done("audit export --output log.ndjson")
    assert f"The content of {size} entries was pruned" in here.done(
        f"audit verify log.ndjson --key {key} --checkpoint {kept}"
    )
    [(action, data)] = here.rows("SELECT action, data FROM logs ORDER BY timestamp, id LIMIT 1")
    assert (action, json.loads(data)["size"]) == ("log.pruned", size)


# --- keys ------------------------------------------------------------------------------------------------------------


def test_the_key_is_printed_and_those_before_it_to_standard_error(here: Here) -> None:
    first = here.done("audit key")
    second = here.done("audit rotate-key")
    done = here.ubr("audit key")
    assert (done.code, done.out, done.err) == (0, second, f"earlier: {first}")
    assert first != second
    assert first.partition("+")[0] == second.partition("+")[0], "of one log"


def test_a_verifier_with_the_old_key_follows_a_rotation(here: Here) -> None:
    old = here.keep("old.key", "audit key")
    kept = here.keep("log.checkpoint", "audit checkpoint")
    new = here.keep("new.key", "audit rotate-key")
    here.done("audit export --output log.ndjson")
    assert f"Signed by {new.read_text()}" in here.done(f"audit verify --key {old} --checkpoint {kept}")
    here.done(f"audit verify --key {new}")
    assert f"Signed by {new.read_text()}" in here.done(f"audit verify log.ndjson --key {old} --checkpoint {kept}")
    here.done(f"audit checkpoint --output {kept}")
    assert notes.checkpoint(kept.read_text(), new.read_text().strip())[1] == here.size


# --- after a restore -------------------------------------------------------------------------------------------------


def test_after_a_restore_asks_first(here: Here) -> None:
    signed = here.signed()
    for typed in ("n\n", ""):
        done = here.ubr("after-restore", typed=typed)
        assert done.code == 1
        assert "End every session and revoke every signing key?" in done.out
    assert here.signed() == signed
    assert here.ubr("after-restore", typed="y\n").code == 0


def test_after_a_restore_all_sessions_have_ended_and_the_log_verifies(
    here: Here, installed: tuple[Path, Credentials]
) -> None:
    async def log_in(ubr: Application) -> None:
        who = installed[1]
        await ubr.log_in(LogInCommand(email=who.email, password=who.password))

    async def signed_in() -> None:
        async with opened(Settings.from_env()) as ubr:
            await log_in(ubr)

    asyncio.run(signed_in())
    copy = here.save()
    old = here.keep("old.key", "audit key")
    here.act(3)
    kept = here.keep("log.checkpoint", "audit checkpoint")
    here.put_back(copy)
    here.set(UBR_AUDIT_CHECKPOINT=str(kept))
    done = here.ubr("after-restore --yes")
    assert (done.code, done.err) == (0, "")
    said, new = done.out.splitlines()
    assert said == "Ended 1 session. The log's new signing key is"
    assert new == here.done("audit key").strip()
    assert here.rows("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == [(0,)]
    [(data,)] = here.rows("SELECT data FROM logs WHERE action = 'service.restored'")
    assert json.loads(data) == {
        "key": new,
        "before": old.read_text().strip(),
        "checkpoint": kept.read_text(),
    }
    # What the checkpoint covered beyond the backup is lost, and that is said until it is replaced.
    done = here.ubr(f"audit verify --key {old}")
    assert (done.code, done.out) == (1, "")
    here.done(f"audit checkpoint --output {kept}")
    assert f"Signed by {new}\n" in here.done(f"audit verify --key {old}")
    assert notes.checkpoint(kept.read_text(), new)[0] == new.partition("+")[0]


@pytest.mark.parametrize("more", [0, 3, 30], ids=["shorter", "about as long", "longer"])
def test_an_act_is_not_hidden_by_a_restore_that_does_not_name_what_was_kept(
    here: Here, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: int
) -> None:
    """Whoever runs the service puts the database back to before an act, and keeps the file that a timer replaces.

    Somebody else holds a copy of that file and the key, and never runs ubr.
    """
    copy, key = here.save(), here.keep("log.key", "audit key")
    here.act(3)
    kept = here.keep("log.checkpoint", "audit checkpoint")
    outside = Path(shutil.copy(kept, here.folder / "outside.checkpoint"))
    here.put_back(copy)
    done = here.ubr("after-restore --yes")
    assert done.code == 0
    assert "No earlier checkpoint was given" in done.err
    here.act(more)

    here.set(UBR_AUDIT_CHECKPOINT=str(kept))
    told = refused(here.start)
    assert (told.code, "No entry service.restored names this checkpoint" in str(told)) == (ExitCode.FAILED, True)
    for _ in range(2):
        done = here.ubr(f"audit checkpoint --output {kept}")
        assert (done.code, done.out) == (1, "")
        assert kept.read_bytes() == outside.read_bytes()
        assert here.ubr("audit verify").code == 1
    monkeypatch.delenv("UBR_AUDIT_CHECKPOINT")
    assert "the database was restored to an earlier state" in here.done("audit verify")

    here.done("audit export --output log.ndjson")
    monkeypatch.setattr(sys, "argv", ["audit_verifier", "log.ndjson", "--key", str(key), "--checkpoint", str(outside)])
    assert audit_verifier() == 1
    assert capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["audit_verifier", "log.ndjson", "--key", str(key)])
    assert audit_verifier() == 0
    assert "the database was restored to an earlier state" in capsys.readouterr().out


def test_a_restore_that_names_what_was_kept_puts_it_aside(here: Here) -> None:
    copy, key = here.save(), here.keep("log.key", "audit key")
    here.act(3)
    kept = here.keep("log.checkpoint", "audit checkpoint")
    before = kept.read_text()
    here.put_back(copy)
    here.set(UBR_AUDIT_CHECKPOINT=str(kept))
    here.done("after-restore --yes")
    here.start()
    for _ in range(2):  # as where the file was put back too
        kept.write_text(before)
        done = here.ubr(f"audit checkpoint --output {kept}")
        assert done.code == 0
        assert "The earlier checkpoint is kept as" in done.err
    here.act(1)
    assert "earlier checkpoint" not in here.ubr(f"audit checkpoint --output {kept}").err
    aside = sorted(here.folder.glob("log.checkpoint.*"))
    assert [path.read_text() for path in aside] == [before, before]
    assert {path.name.removesuffix(".1") for path in aside} == {aside[0].name}
    said = here.done(f"audit verify --key {key}")
    assert "entries are lost" in said
    assert here.ubr(f"audit verify --key {key} --checkpoint {aside[0]}").code == 1


# --- a start that is refused -----------------------------------------------------------------------------------------


def refused(start: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as failure:
        start()
    return failure.value


def test_a_start_on_a_log_that_continues_is_not_refused(here: Here) -> None:
    kept = here.folder / "log.checkpoint"
    here.set(UBR_AUDIT_CHECKPOINT=str(kept))
    here.start()  # a file that is not there is passed over
    here.done(f"audit checkpoint --output {kept}")
    here.act(1, signed=False)
    here.start()
    assert here.rows("SELECT * FROM log_queue") == []


@pytest.mark.parametrize("more", STATES)
def test_a_start_is_refused_where_what_was_kept_is_not_of_this_log_any_more(here: Here, more: int) -> None:
    copy = here.save()
    here.act(3)
    kept = here.keep("log.checkpoint", "audit checkpoint")
    here.put_back(copy)
    if more:
        here.act(more)
    here.act(1, signed=False)
    here.set(UBR_AUDIT_CHECKPOINT=str(kept))
    database = here.database.read_bytes()
    told = refused(here.start)
    assert told.code == ExitCode.FAILED
    assert "run `ubr after-restore`" in str(told)
    assert here.database.read_bytes() == database, "nothing was signed under this name, nor written"
    if not more:
        here.done("after-restore --yes")
        here.start()


def test_a_start_is_refused_on_a_recreated_database(here: Here) -> None:
    """A new database has no log."""
    kept = here.keep("log.checkpoint", "audit checkpoint")
    here.set(UBR_AUDIT_CHECKPOINT=str(kept))
    here.database.unlink()
    told = refused(here.start)
    assert told.code == ExitCode.FAILED
    assert "run `ubr after-restore`" in str(told)
    assert here.signed() == []
    here.done("after-restore --yes")
    assert here.start() is not None, "its first administrator is made"


def test_a_start_is_refused_with_the_checkpoint_of_another_log(here: Here, another: tuple[str, str]) -> None:
    here.set(UBR_AUDIT_CHECKPOINT=str(here.write("log.checkpoint", another[1])))
    told = refused(here.start)
    assert told.code == ExitCode.FAILED
    assert "not signed by a current or former key of this log" in str(told)


@pytest.mark.parametrize("content", [b"garbage", b"\xff\xfe", b""])
def test_a_start_is_refused_where_the_file_holds_no_checkpoint(here: Here, content: bytes) -> None:
    kept = here.folder / "log.checkpoint"
    kept.write_bytes(content)
    here.set(UBR_AUDIT_CHECKPOINT=str(kept))
    told = refused(here.start)
    assert told.code == ExitCode.USAGE
    assert str(told).startswith(f"UBR_AUDIT_CHECKPOINT names {kept}, which ")


@pytest.mark.system
def test_the_service_itself_does_not_start_then(here: Here, ubr: Run) -> None:
    copy = here.save()
    here.act(1)
    kept = here.keep("log.checkpoint", "audit checkpoint")
    here.put_back(copy)
    done = ubr("serve", UBR_AUDIT_CHECKPOINT=str(kept))
    assert (done.code, done.out) == (1, "")
    assert "If a backup was restored, run `ubr after-restore`" in done.err
    assert done.err.count("\n") == 1
