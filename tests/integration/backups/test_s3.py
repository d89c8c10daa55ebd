"""`ubr backup` with a bucket: each fault has its sentence, every damage is found, and few permissions are enough."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.integration.backups.kit import Installation
from tests.support.papers import blocks_of
from tests.support.s3 import BUCKET, S3Server, adapter
from ubr.adapters.security.backup_encryption import CHUNK, HEADER, TAG

pytestmark = pytest.mark.system

PREFIX = "ubr"
PART = 5 * 1024 * 1024


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def bucket(server: S3Server, sqlite: Installation, clean: pytest.MonkeyPatch) -> S3Server:
    """An empty bucket, which the settings of the installation on SQLite name."""
    server.reset()
    for name, value in {
        "UBR_BACKUP_DIR": f"s3://{BUCKET}/{PREFIX}",
        "UBR_BACKUP_S3_ENDPOINT": server.url,
        "AWS_ACCESS_KEY_ID": "root",
        "AWS_SECRET_ACCESS_KEY": "root",
        "AWS_MAX_ATTEMPTS": "2",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "none",
        "AWS_SHARED_CREDENTIALS_FILE": "none",
    }.items():
        clean.setenv(name, value)
    clean.delenv("AWS_PROFILE", raising=False)
    clean.setattr(adapter(), "PART", PART)
    return server


def grow(here: Installation) -> None:
    """Make the database larger than a part."""
    here.run_sql(
        "INSERT INTO replays (digest, fingerprint, result, expires_at, mismatches)"
        " VALUES (randomblob(32), x'00', randomblob(6000000), '2030-01-01 00:00:00.000000', 0)"
    )


def two(here: Installation, bucket: S3Server) -> list[str]:
    """Put the two backups of the folder into the bucket. Returns their names, oldest first."""
    for path in here.backups.glob("*/*"):
        bucket.put(f"{PREFIX}/{path.parent.name}/{path.name}", path.read_bytes())
    return here.names


def test_a_backup_in_a_bucket_is_listed_proved_restored_and_pruned(sqlite: Installation, bucket: S3Server) -> None:
    grow(sqlite)
    first, second = (sqlite.done("backup create").strip() for _ in range(2))
    assert bucket.objects() == [
        f"{PREFIX}/{name}/{file}" for name in (first, second) for file in ("database.sqlite.enc", "manifest.json")
    ]
    assert f"{second} can be restored." in sqlite.done("backup verify")
    listed = sqlite.done("backup list").splitlines()
    assert [line.split()[0] for line in listed if "Z-" in line] == [first, second]
    assert "never" in next(line for line in listed if first in line)
    assert "never" not in next(line for line in listed if second in line)
    sqlite.done("backup restore", first, "--to", "sqlite:///restored.db")
    assert sqlite.done("backup prune --keep 1") == f"Deleted {first}.\n"
    assert {key.split("/")[1] for key in bucket.objects()} == {second}


def test_a_place_is_named_by_an_option(sqlite: Installation, bucket: S3Server) -> None:
    sqlite.patch.delenv("UBR_BACKUP_DIR")
    name = sqlite.done("backup create --to", f"s3://{BUCKET}").strip()
    assert name in sqlite.done("backup list --from", f"s3://{BUCKET}/")
    assert sqlite.ubr("backup list --from http://example.com").code == 2


# --- damages ---------------------------------------------------------------------------------------------------------


def change(end: str, edit: Callable[[bytes], bytes]) -> Callable[[S3Server, str, str], None]:
    """Edit the only object of the newer backup whose name ends so."""

    def plant(bucket: S3Server, _: str, newer: str) -> None:
        (key,) = (key for key in bucket.objects() if newer in key and key.endswith(end))
        bucket.put(key, edit(bucket.get(key)))

    return plant


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def exchange_parts(content: bytes) -> bytes:
    size = CHUNK + TAG
    head, first, second = content[:HEADER], content[HEADER : HEADER + size], content[HEADER + size : HEADER + 2 * size]
    return head + second + first + content[HEADER + 2 * size :]


def omit_part(content: bytes) -> bytes:
    return content[:HEADER] + content[HEADER + CHUNK + TAG :]


def rename_older(bucket: S3Server, older: str, newer: str) -> None:
    for key in bucket.objects():
        if older in key:
            bucket.put(key.replace(older, newer), bucket.get(key))


def exchange_older(bucket: S3Server, older: str, newer: str) -> None:
    name = "database.sqlite.enc"
    bucket.put(f"{PREFIX}/{newer}/{name}", bucket.get(f"{PREFIX}/{older}/{name}"))


def delete_dump(bucket: S3Server, _: str, newer: str) -> None:
    bucket.client.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/{newer}/database.sqlite.enc")


DAMAGES: dict[str, tuple[Callable[[S3Server, str, str], None], str]] = {
    "a changed byte of the header": (change(".enc", flip(40)), "SHA-256 differs"),
    "a changed byte": (change(".enc", flip(HEADER + CHUNK)), "SHA-256 differs"),
    "a truncated object": (change(".enc", lambda content: content[:-1]), "bytes, and had"),
    "an empty object": (change(".enc", lambda _: b""), "has 0 bytes, and had"),
    "swapped parts": (change(".enc", exchange_parts), "SHA-256 differs"),
    "a missing part": (change(".enc", omit_part), "bytes, and had"),
    "a missing object": (delete_dump, "database.sqlite.enc does not exist in the bucket"),
    "a changed manifest": (change(".json", lambda content: content.replace(b'"users":1', b'"users":2')), "was changed"),
    "a cut manifest": (change(".json", lambda content: content[:-100]), "The manifest is damaged"),
    "an older backup under a newer name": (rename_older, "this is a copy of the backup"),
    "an older dump in a newer backup": (exchange_older, "SHA-256 differs"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_of_an_object_is_found_before_anything_is_written(
    sqlite: Installation, bucket: S3Server, damage: str
) -> None:
    plant, sentence = DAMAGES[damage]
    older, newer = two(sqlite, bucket)
    plant(bucket, older, newer)
    assert sentence in sqlite.refused("backup verify")
    assert sentence in sqlite.refused("backup restore", newer, "--to", "sqlite:///restored.db")
    assert not (sqlite.folder / "restored.db").exists()


# --- faults ----------------------------------------------------------------------------------------------------------


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "an overloaded storage": ({"status": 503, "code": "SlowDown"}, "S3 is overloaded (SlowDown)"),
    "expired credentials": ({"status": 400, "code": "ExpiredToken"}, "The credentials for S3 have expired"),
    "wrong credentials": ({"status": 403, "code": "SignatureDoesNotMatch"}, "S3 does not accept the credentials"),
    "denied": ({"status": 403, "code": "AccessDenied"}, "S3 denies these credentials s3:"),
    "a wrong clock": ({"status": 403, "code": "RequestTimeTooSkewed"}, "because its clock is wrong"),
    "a damaged transfer": ({"status": 400, "code": "BadDigest"}, "BadDigest, as the test wants it"),
    "a message for the terminal": (
        {"status": 400, "code": "BadDigest", "message": "\x9b2J\u202e"},
        "BadDigest, \ufffd2J\ufffd.",
    ),
    "a cut connection": ({"after": 1000}, "The connection to http://127.0.0.1"),
}


@pytest.mark.parametrize(
    ("fault", "where"), [*((fault, "partNumber=2") for fault in FAULTS), ("expired credentials", "manifest.json")]
)
def test_a_fault_of_the_storage_has_a_sentence_and_leaves_nothing(
    sqlite: Installation, bucket: S3Server, fault: str, where: str
) -> None:
    what, sentence = FAULTS[fault]
    grow(sqlite)
    bucket.fail("PUT", where, times=None, **what)
    assert sentence in sqlite.refused("backup create")
    assert (bucket.objects(), bucket.uploads()) == ([], [])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_while_a_backup_is_read_has_a_sentence(sqlite: Installation, bucket: S3Server, fault: str) -> None:
    what, sentence = FAULTS[fault]
    two(sqlite, bucket)
    bucket.fail("GET", "database", times=None, **what)
    assert sentence in sqlite.refused("backup verify")


@pytest.mark.parametrize("fault", ["an overloaded storage", "a cut connection"])
def test_a_passing_fault_does_not_stop_a_backup(sqlite: Installation, bucket: S3Server, fault: str) -> None:
    what, _ = FAULTS[fault]
    grow(sqlite)
    faults = [bucket.fail("PUT", where, **what) for where in ("partNumber=2", "manifest.json")]
    sqlite.done("backup create")
    faults.append(bucket.fail("GET", "database", **what))
    sqlite.done("backup verify")
    assert [fault.seen for fault in faults] == [1, 1, 1]


@pytest.mark.parametrize("line", ["backup create", "backup list", "backup verify", "backup prune --keep 1"])
def test_a_missing_bucket_and_missing_credentials_are_named(sqlite: Installation, bucket: S3Server, line: str) -> None:
    sqlite.patch.setenv("UBR_BACKUP_DIR", "s3://another/ubr")
    assert "There is no bucket another." in sqlite.refused(line)
    sqlite.patch.delenv("AWS_ACCESS_KEY_ID")
    assert "There are no credentials for S3" in sqlite.refused(line)


def test_an_endpoint_without_a_server_is_named(sqlite: Installation, bucket: S3Server) -> None:
    sqlite.patch.setenv("UBR_BACKUP_S3_ENDPOINT", "http://127.0.0.1:1")
    assert "The connection to http://127.0.0.1:1 failed" in sqlite.refused("backup list")


def test_a_missing_package_is_named(sqlite: Installation, bucket: S3Server) -> None:
    sqlite.patch.delitem(sys.modules, "ubr.adapters.backups.s3")
    sqlite.patch.setitem(sys.modules, "botocore.config", None)
    sqlite.patch.setitem(sys.modules, "botocore", None)
    assert "install `ubr[s3]`" in sqlite.refused("backup list")


# --- permissions -----------------------------------------------------------------------------------------------------


def policy(number: int) -> list[dict[str, Any]]:
    """The statements of a policy in the documentation, for the bucket of the tests."""
    text = [block.text for block in blocks_of("docs/operations/backups-s3.md", "json")][number]
    found: list[dict[str, Any]] = json.loads(text.replace("EXAMPLE-BUCKET", BUCKET))["Statement"]
    return found


def use(here: Installation, key: tuple[str, str]) -> None:
    here.patch.setenv("AWS_ACCESS_KEY_ID", key[0])
    here.patch.setenv("AWS_SECRET_ACCESS_KEY", key[1])


def test_the_policy_of_creation_can_create_and_nothing_else(sqlite: Installation, bucket: S3Server) -> None:
    grow(sqlite)
    older = sqlite.done("backup create").strip()
    with bucket.policed(*policy(0)) as key:
        use(sqlite, key)
        newer = sqlite.done("backup create").strip()
        fault = bucket.fail("PUT", "partNumber=2", times=None, status=400, code="BadDigest")
        sqlite.refused("backup create")
        bucket.faults.remove(fault)
        for line in ("backup list", "backup verify", "backup prune --keep 1"):
            assert "S3 denies these credentials s3:ListBucket" in sqlite.refused(line)
    assert bucket.uploads() == []
    assert {key.split("/")[1] for key in bucket.objects()} == {older, newer}


def test_the_policy_of_verification_cannot_delete(sqlite: Installation, bucket: S3Server) -> None:
    two(sqlite, bucket)
    with bucket.policed(*policy(1)) as key:
        use(sqlite, key)
        ended = sqlite.ubr("backup verify")
        assert (ended.code, ended.err) == (0, "")
        assert "never" in sqlite.done("backup list")
        assert "s3:" in sqlite.refused("backup prune --keep 1")
        assert "s3:PutObject" in sqlite.refused("backup create")


def test_the_policy_of_pruning_is_enough(sqlite: Installation, bucket: S3Server) -> None:
    bucket.client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    first, second = two(sqlite, bucket)
    bucket.client.create_multipart_upload(Bucket=BUCKET, Key=f"{PREFIX}/{first}/database.sqlite.enc")
    with bucket.policed(*policy(2)) as key:
        use(sqlite, key)
        assert sqlite.done("backup prune --keep 1") == f"Deleted {first}.\n"
        assert "s3:PutObject" in sqlite.refused("backup create")
    assert {key.split("/")[1] for key in bucket.objects()} == {second}


def test_a_verification_that_may_not_be_noted_is_one_all_the_same(sqlite: Installation, bucket: S3Server) -> None:
    two(sqlite, bucket)
    bucket.fail("PUT", "verified.json", times=None, status=403, code="AccessDenied")
    ended = sqlite.ubr("backup verify")
    assert ended.code == 0
    assert "The verification is not noted in the backup. S3 denies" in " ".join(ended.err.split())


def test_pruning_says_what_object_lock_protects(sqlite: Installation, bucket: S3Server) -> None:
    bucket.reset(lock=True)
    first, second = two(sqlite, bucket)
    third = sqlite.done("backup create").strip()
    bucket.client.put_object_retention(
        Bucket=BUCKET,
        Key=f"{PREFIX}/{first}/database.sqlite.enc",
        Retention={"Mode": "COMPLIANCE", "RetainUntilDate": datetime(2999, 1, 1, tzinfo=UTC)},
    )
    out = sqlite.done("backup prune --keep 1")
    assert out == f"Deleted {second}.\n{first} stays: Object Lock protects it until 2999-01-01 00:00Z.\n"
    assert {key.split("/")[1] for key in bucket.objects()} == {first, third}
