"""The BackupStore port, for a folder and for a bucket."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest

from tests.support.s3 import BUCKET, S3Server, adapter
from ubr.adapters.backups.folder import FolderBackupStore
from ubr.adapters.security.system import utc_now
from ubr.application.backups.manifest import MANIFEST
from ubr.application.ports.backups import BackupFailed, BackupProtected, BackupStore

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
PART = 5 * 1024 * 1024
"""The smallest part of an upload that S3 accepts."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    server.reset()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "root")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "root")
    monkeypatch.setattr(adapter(), "PART", PART)
    return server


def in_bucket(server: S3Server, after: timedelta = timedelta(0)) -> BackupStore:
    """The store with a clock that is late by this much."""
    place = adapter().S3Place(bucket=BUCKET, prefix="ubr/", endpoint=server.url)
    store: BackupStore = adapter().S3BackupStore(place, lambda: utc_now() + after)
    return store


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.system)])
def store(request: pytest.FixtureRequest, folder: Path) -> BackupStore:
    if request.param == "folder":
        return FolderBackupStore(folder)
    return in_bucket(request.getfixturevalue("bucket"))


def add(store: BackupStore, name: str, content: bytes = b"content") -> None:
    with store.draft(name) as draft:
        with draft.create("one") as file:
            file.write(content)
        with draft.create(MANIFEST) as file:
            file.write(b"{}")
        draft.publish()


def content(store: BackupStore, name: str, file: str = "one") -> bytes:
    with store.read(name, file) as opened:
        return opened.read()


# --- each place ------------------------------------------------------------------------------------------------------


def test_a_backup_is_there_as_it_was_written(store: BackupStore) -> None:
    add(store, SECOND)
    add(store, FIRST, b"first")
    assert store.names() == [FIRST, SECOND]
    assert (content(store, FIRST), content(store, SECOND)) == (b"first", b"content")
    with store.read(FIRST, "one") as file:
        assert [file.read(3), file.read(3), file.read(3)] == [b"fir", b"st", b""]


def test_a_draft_is_not_visible_and_leaves_nothing_unless_it_is_published(store: BackupStore) -> None:
    add(store, SECOND)
    with store.draft(FIRST) as draft:
        with draft.create("one") as file:
            file.write(b"half")
        assert store.names() == [SECOND]
    with pytest.raises(ZeroDivisionError), store.draft(FIRST) as draft, draft.create("one"):
        raise ZeroDivisionError
    assert store.names() == [SECOND]
    with pytest.raises(BackupFailed):
        content(store, FIRST)


def test_a_removed_backup_is_gone(store: BackupStore) -> None:
    add(store, FIRST)
    add(store, SECOND)
    store.put(FIRST, "more", b"more")
    store.remove(FIRST)
    assert store.names() == [SECOND]
    for file in ("one", MANIFEST, "more"):
        with pytest.raises(BackupFailed, match=r"No such file|does not exist"):
            content(store, FIRST, file)


def test_a_file_is_added_to_a_backup_and_replaced(store: BackupStore) -> None:
    add(store, FIRST)
    for expected in (b"a note", b"another"):
        store.put(FIRST, "more", expected)
        assert content(store, FIRST, "more") == expected
    assert content(store, FIRST) == b"content"


def test_sweeping_keeps_every_complete_backup(store: BackupStore) -> None:
    add(store, FIRST)
    store.sweep()
    assert (store.names(), content(store, FIRST)) == ([FIRST], b"content")


# --- a folder --------------------------------------------------------------------------------------------------------


def test_files_are_for_their_owner_alone_and_a_draft_leaves_none(folder: Path) -> None:
    store = FolderBackupStore(folder)
    add(store, FIRST)
    store.put(FIRST, "more", b"more")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder / FIRST).iterdir()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / FIRST)} == {0o700}
    assert sorted(path.name for path in (folder / FIRST).iterdir()) == [MANIFEST, "more", "one"]
    with store.draft(SECOND) as draft, draft.create("one"):
        pass
    assert [path.name for path in folder.iterdir()] == [FIRST]


@pytest.mark.system
@pytest.mark.parametrize("by", ["draft", "sweep"])
def test_what_a_killed_process_left_is_not_visible_and_is_deleted_later(folder: Path, by: str) -> None:
    store = FolderBackupStore(folder)
    with subprocess.Popen(  # noqa: S603 - it is ours
        [sys.executable, "-c", HANGS, str(folder)], stdout=subprocess.PIPE, text=True
    ) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "written\n"
            add(store, FIRST)
            store.sweep()
            assert store.names() == [FIRST]
            assert len(list(folder.iterdir())) == 2  # the draft of a process that is running stays
        finally:
            writer.send_signal(signal.SIGKILL)
    assert store.names() == [FIRST]
    store.remove(FIRST)
    if by == "draft":
        add(store, FIRST)
    else:
        store.sweep()
    assert [path.name for path in folder.iterdir()] == [FIRST] * (by == "draft")


def test_other_files_are_not_backups_and_stay(folder: Path) -> None:
    store = FolderBackupStore(folder)
    add(store, FIRST)
    for other in ("lost+found", ".other.partial", f"{FIRST}.old"):
        (folder / other).mkdir()
    add(store, SECOND)
    assert store.names() == [FIRST, SECOND]
    assert len(list(folder.iterdir())) == 5


def test_a_place_that_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(BackupFailed, match=f"Cannot read {folder}: No such file"):
        FolderBackupStore(folder).names()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "missing" / "folder"):
        with pytest.raises(BackupFailed, match=f"Cannot write to {place}"), FolderBackupStore(place).draft(FIRST):
            pass


# --- a bucket --------------------------------------------------------------------------------------------------------


@pytest.mark.system
@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 2 * PART, 2 * PART + 1])
def test_a_stream_of_any_length_is_uploaded_in_equal_parts_and_read_in_ranges(bucket: S3Server, size: int) -> None:
    store, written = in_bucket(bucket), bytes(range(251)) * (size // 251 + 1)
    with store.draft(FIRST) as draft:
        with draft.create("one") as file:
            for at in range(0, size, 1_000_000):
                file.write(written[at : min(at + 1_000_000, size)])
        with draft.create(MANIFEST) as file:
            file.write(b"{}")
        assert bucket.objects() == []
        draft.publish()
    parts = [target for method, target in bucket.requests if method == "PUT" and "partNumber" in target]
    assert len(parts) == (0 if size <= PART else -(-size // PART))
    assert bucket.uploads() == []
    with store.read(FIRST, "one") as file:
        assert b"".join(iter(lambda: file.read(777_777), b"")) == written[:size]


@pytest.mark.system
def test_the_manifest_is_the_last_request_of_a_backup(bucket: S3Server) -> None:
    add(in_bucket(bucket), FIRST, bytes(PART + 1))
    method, target = bucket.requests[-1]
    assert (method, target.endswith(f"{FIRST}/{MANIFEST}?")) == ("PUT", True)


@pytest.mark.system
def test_a_draft_that_ends_early_aborts_its_uploads(bucket: S3Server) -> None:
    store = in_bucket(bucket)
    with store.draft(FIRST) as draft, draft.create("one") as file:
        file.write(bytes(PART + 1))
        assert len(bucket.uploads()) == 1
    assert (bucket.uploads(), bucket.objects()) == ([], [])


@pytest.mark.system
def test_a_draft_whose_manifest_is_denied_deletes_its_dump(bucket: S3Server) -> None:
    bucket.fail("PUT", MANIFEST, status=403, code="AccessDenied")
    with pytest.raises(BackupFailed, match="s3:PutObject"):
        add(in_bucket(bucket), FIRST, bytes(PART + 1))
    assert bucket.objects() == []


@pytest.mark.system
def test_uploads_of_killed_processes_are_aborted_when_nobody_can_be_writing_them(bucket: S3Server) -> None:
    for key in (f"ubr/{FIRST}/one", "ubr/another/one", f"elsewhere/{FIRST}/one"):
        bucket.client.create_multipart_upload(Bucket=BUCKET, Key=key)
    (initiated,) = {found["Initiated"] for found in bucket.client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]}
    age = utc_now() - initiated  # years, because this server has one moment for all
    in_bucket(bucket, after=timedelta(days=1) - age).sweep()
    assert len(bucket.uploads()) == 3
    in_bucket(bucket, after=timedelta(days=3) - age).sweep()
    assert sorted(bucket.uploads()) == [f"elsewhere/{FIRST}/one", "ubr/another/one"]


@pytest.mark.system
def test_a_backup_without_a_manifest_is_named_once_it_cannot_be_in_the_making(bucket: S3Server) -> None:
    bucket.put(f"ubr/{FIRST}/one", b"content")
    bucket.put("ubr/other", b"no backup")
    assert in_bucket(bucket).names() == []
    assert in_bucket(bucket, after=timedelta(hours=2)).names() == [FIRST]


@pytest.mark.system
def test_an_existing_object_is_not_overwritten(bucket: S3Server) -> None:
    add(in_bucket(bucket), FIRST)
    with pytest.raises(BackupFailed, match="PreconditionFailed"):
        add(in_bucket(bucket), FIRST, b"another")
    assert bucket.get(f"ubr/{FIRST}/one") == b"content"


@pytest.mark.system
@pytest.mark.parametrize("file", ["one", MANIFEST])
def test_an_upload_whose_answer_is_lost_is_complete(bucket: S3Server, file: str) -> None:
    """The request is repeated, and finds the object of the first attempt."""
    bucket.fail("PUT", file, lost=True)
    add(in_bucket(bucket), FIRST)
    assert in_bucket(bucket).names() == [FIRST]


@pytest.mark.system
def test_pruning_deletes_every_version(bucket: S3Server) -> None:
    bucket.client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    store = in_bucket(bucket)
    add(store, FIRST)
    bucket.client.delete_object(Bucket=BUCKET, Key=f"ubr/{FIRST}/one")
    bucket.put(f"ubr/{FIRST}/one", b"another")
    store.remove(FIRST)
    found = bucket.client.list_object_versions(Bucket=BUCKET)
    assert (found.get("Versions", []), found.get("DeleteMarkers", [])) == ([], [])


@pytest.mark.system
@pytest.mark.parametrize("file", ["one", MANIFEST])
@pytest.mark.parametrize("hold", [False, True])
def test_a_backup_under_object_lock_stays_whole(bucket: S3Server, file: str, hold: bool) -> None:
    bucket.reset(lock=True)
    store = in_bucket(bucket)
    add(store, FIRST)
    key = {"Bucket": BUCKET, "Key": f"ubr/{FIRST}/{file}"}
    if hold:
        bucket.client.put_object_legal_hold(**key, LegalHold={"Status": "ON"})
    else:
        until = datetime(2999, 1, 1, tzinfo=UTC)
        bucket.client.put_object_retention(**key, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until})
    expected = "a legal hold of Object Lock" if hold else "Object Lock protects it until 2999-01-01 00:00Z"
    with pytest.raises(BackupProtected, match=f"{FIRST} stays: {expected}"):
        store.remove(FIRST)
    assert store.names() == [FIRST]
    assert content(store, FIRST) == b"content"


@pytest.mark.system
def test_a_storage_without_versions_is_pruned(bucket: S3Server) -> None:
    store = in_bucket(bucket)
    add(store, FIRST)
    bucket.fail("GET", r"\?.*versions", times=None, status=501, code="NotImplemented")
    bucket.fail("GET", r"\?.*uploads", times=None, status=501, code="NotImplemented")
    store.remove(FIRST)
    store.sweep()
    assert bucket.objects() == []


@pytest.mark.system
def test_the_server_checks_what_it_gets(bucket: S3Server) -> None:
    add(in_bucket(bucket), FIRST, bytes(PART + 1))
    found = bucket.client.head_object(Bucket=BUCKET, Key=f"ubr/{FIRST}/one", ChecksumMode="ENABLED")
    assert found["ChecksumSHA256"]


@pytest.mark.system
def test_the_server_encrypts_as_it_is_told(bucket: S3Server) -> None:
    encryption = {"ServerSideEncryption": "AES256"}
    place = adapter().S3Place(bucket=BUCKET, prefix="", endpoint=bucket.url, encryption=encryption)
    add(adapter().S3BackupStore(place, utc_now), FIRST, bytes(PART + 1))
    for file in ("one", MANIFEST):
        found = bucket.client.head_object(Bucket=BUCKET, Key=f"{FIRST}/{file}")
        assert found["ServerSideEncryption"] == "AES256"


@pytest.mark.system
def test_a_cut_answer_is_read_again_from_there(bucket: S3Server) -> None:
    store, written = in_bucket(bucket), bytes(range(256)) * 65536
    add(store, FIRST, written)
    cuts = [bucket.fail("GET", f"{FIRST}/one", after=100_000), bucket.fail("GET", f"{FIRST}/one", after=0)]
    assert content(store, FIRST) == written
    assert [cut.seen for cut in cuts] == [1, 1]


@pytest.mark.system
def test_an_object_that_is_replaced_while_it_is_read_is_named(bucket: S3Server) -> None:
    store = in_bucket(bucket)
    add(store, FIRST, bytes(adapter().RANGE + 1))

    def read_a_replaced_one() -> None:
        with store.read(FIRST, "one") as file:
            bucket.put(f"ubr/{FIRST}/one", b"x" * (adapter().RANGE + 1))
            file.read()

    with pytest.raises(BackupFailed, match=f"{FIRST}/one was replaced"):
        read_a_replaced_one()


class _Answer:
    """A client whose storage answers every range in the same way."""

    def __init__(self, content: bytes, content_range: str | None) -> None:
        self._content = content
        self._range = {} if content_range is None else {"ContentRange": content_range}

    def get_object(self, **_: object) -> dict[str, object]:
        return {"ETag": "one", "Body": BytesIO(self._content), **self._range}


@pytest.mark.system
@pytest.mark.parametrize(
    ("content", "content_range"),
    [
        (b"all of it", None),
        (b"all of it", "bytes 0-8/nine"),
        (b"", "bytes 0-8/9"),
        (b"later", "bytes 4-8/9"),
        (b"more than was asked for", "bytes 0-22/23"),
    ],
)
def test_a_storage_that_sends_another_range_is_refused(
    monkeypatch: pytest.MonkeyPatch, content: bytes, content_range: str | None
) -> None:
    """It is not read without end, and does not fill the memory."""
    monkeypatch.setattr(adapter(), "RANGE", 9)
    with pytest.raises(BackupFailed, match="does not answer with the requested range of one"):
        adapter()._Object(_Answer(content, content_range), BUCKET, "one").read()  # noqa: SLF001 - as a backup is read
