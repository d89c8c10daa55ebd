"""The BackupStore port, for a folder."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ubr.adapters.backups.folder import FolderBackupStore
from ubr.application.ports.backups import BackupFailed, BackupStore

FIRST, SECOND = "20261130T120000.000000Z-00000000", "20261201T120000.000000Z-00000000"
HANGS = f"""
import sys, time
from pathlib import Path
from ubr.adapters.backups.folder import FolderBackupStore
with FolderBackupStore(Path(sys.argv[1])).draft("{SECOND}") as draft, draft.create("one") as file:
    file.write(b"half")
    file.flush()
    print("written", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def store(folder: Path) -> BackupStore:
    return FolderBackupStore(folder)


def add(store: BackupStore, name: str, content: bytes = b"content") -> None:
    with store.draft(name) as draft:
        with draft.create("one") as file:
            file.write(content)
        draft.publish()


def content(store: BackupStore, name: str) -> bytes:
    with store.read(name, "one") as file:
        return file.read()


def test_a_backup_is_there_as_it_was_written_for_its_owner_alone(store: BackupStore, folder: Path) -> None:
    add(store, SECOND)
    add(store, FIRST, b"first")
    assert store.names() == [FIRST, SECOND]
    assert (content(store, FIRST), content(store, SECOND)) == (b"first", b"content")
    assert stat.S_IMODE((folder / FIRST / "one").stat().st_mode) == 0o600
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / FIRST)} == {0o700}


def test_a_draft_is_not_visible_and_leaves_nothing_unless_it_is_published(store: BackupStore, folder: Path) -> None:
    with store.draft(FIRST) as draft:
        with draft.create("one") as file:
            file.write(b"half")
        assert store.names() == []
    assert list(folder.iterdir()) == []
    with pytest.raises(ZeroDivisionError), store.draft(FIRST) as draft, draft.create("one"):
        raise ZeroDivisionError
    assert list(folder.iterdir()) == []


@pytest.mark.system
def test_what_a_killed_process_left_is_not_visible_and_is_deleted_later(store: BackupStore, folder: Path) -> None:
    with subprocess.Popen(  # noqa: S603 - it is ours
        [sys.executable, "-c", HANGS, str(folder)], stdout=subprocess.PIPE, text=True
    ) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "written\n"
            add(store, FIRST)
            assert store.names() == [FIRST]
            assert len(list(folder.iterdir())) == 2  # the draft of a process that is running stays
        finally:
            writer.send_signal(signal.SIGKILL)
    assert store.names() == [FIRST]
    store.remove(FIRST)
    add(store, FIRST)
    assert [path.name for path in folder.iterdir()] == [FIRST]


def test_a_removed_backup_is_gone(store: BackupStore, folder: Path) -> None:
    add(store, FIRST)
    add(store, SECOND)
    store.remove(FIRST)
    assert store.names() == [SECOND]
    with pytest.raises(BackupFailed, match="No such file"):
        content(store, FIRST)


def test_other_files_are_not_backups_and_stay(store: BackupStore, folder: Path) -> None:
    add(store, FIRST)
    for other in ("lost+found", ".other.partial", f"{FIRST}.old"):
        (folder / other).mkdir()
    add(store, SECOND)
    assert store.names() == [FIRST, SECOND]
    assert len(list(folder.iterdir())) == 5


def test_a_place_that_is_missing_is_named(store: BackupStore, folder: Path) -> None:
    with pytest.raises(BackupFailed, match=f"Cannot read {folder}: No such file"):
        store.names()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "missing" / "folder"):
        with pytest.raises(BackupFailed, match=f"Cannot write to {place}"), FolderBackupStore(place).draft(FIRST):
            pass
