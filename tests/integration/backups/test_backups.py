"""`ubr backup`: each kind of database is backed up, proved and restored, and every damage is found."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import sqlite3
import stat
import subprocess
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from tests.integration.backups.kit import BACKUP_KEY, EMAIL, PASSWORD, SECRET_KEY, SECRETS, Installation
from tests.support.commands import PATIENCE, UBR, clean_environment
from tests.support.servers import PostgresServer
from ubr.adapters.security.backup_encryption import CHUNK, HEADER, TAG, ChunkedBackupCipher
from ubr.adapters.security.secrets import SecretKeys
from ubr.adapters.sql.migrations import REVISIONS, upgrade
from ubr.application.app import Application
from ubr.application.backups.manifest import Manifest
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.sessions.log_in import LogInCommand
from ubr.application.sessions.refresh_session import RefreshSessionCommand
from ubr.bootstrap.backups import Backups
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import UbrError
from ubr.entrypoints.cli.starting import opened
from ubr.settings import Settings

pytestmark = pytest.mark.system

PART = CHUNK + TAG
OTHER_KEY = "quite another key than the first: 0123456789"


def target_of(each: Installation, new_database: Callable[..., str]) -> str:
    """The URL of an empty database of the same kind."""
    return "sqlite:///restored.db" if each.url.startswith("sqlite") else new_database(migrated=False)


# --- create, verify, restore -----------------------------------------------------------------------------------------


def test_a_backup_is_proved(each: Installation) -> None:
    name = each.done("backup create").strip()
    assert name == each.names[-1]
    out = each.done("backup verify")
    assert f"{name} can be restored." in out
    assert "Users: 1, sessions: 1, roles: " in out
    assert "Recovery time (RTO): " in out
    assert "Age of the backup (RPO): " in out
    checkpoint = each.manifest["database"]["checkpoint"]
    assert f"Entries of the audit log that match their signatures: {checkpoint['size']}" in out


def test_a_backup_is_restored_and_its_sessions_have_ended(each: Installation, new_database: Callable[..., str]) -> None:
    async def log_in(ubr: Application) -> str:
        return (await ubr.log_in(LogInCommand(email=EMAIL, password=PASSWORD))).refresh_token

    token = each.call(log_in)
    name = each.done("backup create").strip()
    target = target_of(each, new_database)
    ended = each.ubr("backup restore", name, "--to", target)
    assert ended.code == 0, ended.err
    assert "Sessions ended: 2." in ended.out
    assert "ubr audit checkpoint" in ended.err

    each.patch.setenv("UBR_DATABASE_URL", target)
    assert "match their signatures" in each.done("audit verify")
    assert "service.restored" not in each.done("audit verify")

    async def use(ubr: Application) -> None:
        with pytest.raises(UbrError):
            await ubr.refresh_session(RefreshSessionCommand(refresh_token=token))
        await ubr.log_in(LogInCommand(email=EMAIL, password=PASSWORD))

    each.call(use)


def test_a_restore_refuses_a_database_that_is_not_empty(each: Installation) -> None:
    name = each.done("backup create").strip()
    before = each.done("audit checkpoint")
    said = each.refused("backup restore", name, "--to", each.url)
    assert "is not empty" in said or "exists" in said
    assert each.done("audit checkpoint") == before


def test_a_restored_function_that_prunes_is_not_for_everyone(
    postgresql: Installation, new_database: Callable[..., str], postgres_server: PostgresServer
) -> None:
    target = new_database(migrated=False)
    postgresql.done("backup restore", postgresql.done("backup create").strip(), "--to", target)
    database = urlsplit(target).path.lstrip("/")
    for url in (urlsplit(postgresql.url).path.lstrip("/"), database):
        granted = "SELECT has_function_privilege('pg_read_all_data', 'ubr.prune_logs(bigint)', 'EXECUTE')"
        assert postgres_server.query(granted, database=url) is False


@pytest.mark.parametrize("schema", ["public", "accounts"])
def test_a_backup_of_another_schema_is_restored_into_that(
    new_database: Callable[..., str],
    clean: pytest.MonkeyPatch,
    tmp_path: Path,
    postgres_server: PostgresServer,
    schema: str,
) -> None:
    clean.setenv("UBR_DATABASE_SCHEMA", schema)
    clean.chdir(tmp_path)
    here = Installation(tmp_path, new_database(migrated=False), clean)
    here.fill()
    name = here.done("backup create").strip()
    here.done("backup verify")
    target = new_database(migrated=False)
    here.done("backup restore", name, "--to", target)
    # Also shows that there are statistics.
    query = f"SELECT reltuples::int FROM pg_class WHERE oid = '{schema}.users'::regclass"  # noqa: S608
    assert postgres_server.query(query, database=urlsplit(target).path.lstrip("/")) == 1


def test_a_backup_from_before_an_upgrade_is_proved_and_restored(sqlite: Installation) -> None:
    sqlite.patch.setenv("UBR_DATABASE_URL", "sqlite:///old.db")
    asyncio.run(upgrade("sqlite:///old.db", REVISIONS[-2]))
    name = sqlite.done("backup create").strip()
    assert sqlite.manifest["database"]["revision"] == REVISIONS[-2]
    sqlite.done("backup verify")
    sqlite.done("backup restore", name, "--to", "sqlite:///restored.db")
    sqlite.patch.setenv("UBR_DATABASE_URL", "sqlite:///restored.db")
    sqlite.done("migrate --check")


def test_a_rehearsal_leaves_nothing_behind(each: Installation, postgres_server: PostgresServer, tmp_path: Path) -> None:
    each.patch.setenv("TMPDIR", str(tmp_path))
    each.done("backup create")
    found = sorted(path.name for path in each.folder.iterdir())
    each.done("backup verify")
    scratch = {name for name in postgres_server.databases() if name.startswith("ubr_verify_")}
    deadline = time.monotonic() + PATIENCE
    while scratch & set(postgres_server.databases()):  # those of other tests go soon
        assert time.monotonic() < deadline, scratch
        time.sleep(0.1)
    assert list(tmp_path.glob("ubr-verify-*")) == []
    assert sorted(path.name for path in each.folder.iterdir()) == found


def test_a_rehearsal_drops_what_a_killed_one_left_and_no_other(
    postgresql: Installation, postgres_server: PostgresServer
) -> None:
    postgresql.done("backup create")
    now = int(str(postgres_server.query("SELECT extract(epoch FROM clock_timestamp())::bigint")))
    left, used, young = (f"ubr_verify_{at}_{os.urandom(8).hex()}" for at in (now - 3600, now - 3600, now - 60))
    others = {used, young, f"ubr_verify_mine_{os.urandom(4).hex()}"}
    for name in (left, *others):
        postgres_server.create_database(name)
    try:

        async def connected() -> asyncpg.Connection[asyncpg.Record]:
            while True:
                try:
                    return await asyncpg.connect(postgres_server.dsn(used))
                except asyncpg.InvalidCatalogNameError:  # another test on this server verified a backup meanwhile
                    await asyncio.to_thread(postgres_server.create_database, used)

        async def verify_while_one_is_used() -> None:
            connection = await connected()
            try:
                await asyncio.to_thread(postgresql.done, "backup verify")
            finally:
                await connection.close()

        asyncio.run(verify_while_one_is_used())
        found = set(postgres_server.databases())
        assert left not in found
        assert others <= found
    finally:
        for name in (left, *others):
            postgres_server.drop_database(name)


def test_a_rehearsal_deletes_the_file_that_a_killed_one_left(sqlite: Installation, tmp_path: Path) -> None:
    sqlite.patch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    folders = {name: tmp_path / "temporary" / f"ubr-verify-{name}" for name in ("left", "used", "young")}
    for name, folder in folders.items():
        folder.mkdir(parents=True)
        (folder / "ubr.db").write_bytes(b"rows")
        if name != "young":
            os.utime(folder, (1, 1))
    descriptor = os.open(folders["used"], os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        sqlite.done("backup verify")
    finally:
        os.close(descriptor)
    assert {name for name, folder in folders.items() if folder.exists()} == {"used", "young"}


def test_the_files_are_for_their_owner_alone_and_show_no_secret(each: Installation) -> None:
    ended = each.ubr("backup create")
    assert ended.err == ""  # no progress in a pipe
    listed, verified = each.ubr("backup list"), each.ubr("backup verify")
    texts = [ended.out, *(done.out + done.err for done in (listed, verified))]
    files = [path.read_bytes() for path in each.newest.iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in each.newest.iterdir()} == {0o600}
    passwords = [part for part in (urlsplit(each.url).password,) if part]
    for secret in (BACKUP_KEY, SECRET_KEY, EMAIL, "argon2", *passwords):
        assert not [text for text in texts if secret in text]
        assert not [content for content in files if secret.encode() in content]


def test_a_terminal_shows_the_progress_and_then_the_result(sqlite: Installation) -> None:
    ours, its = os.openpty()
    environment = clean_environment(
        UBR_DATABASE_URL=sqlite.url, UBR_BACKUP_DIR=str(sqlite.backups), TERM="xterm", **SECRETS
    )
    with open(ours, "rb", buffering=0) as terminal:  # noqa: PTH123 - a descriptor
        with subprocess.Popen(  # noqa: S603 - it is ours
            [UBR, "backup", "verify"], cwd=sqlite.folder, env=environment, stdout=its, stderr=its
        ) as process:
            os.close(its)
            shown = b""
            with suppress(OSError):  # Linux ends the terminal of a process so
                while part := terminal.read(4096):
                    shown += part
        assert process.returncode == 0
    hidden, shown_again = b"\x1b[?25l", b"\x1b[?25h"  # the cursor, during the progress
    progress, _, result = shown.partition(shown_again)
    assert hidden in progress
    assert b"can be restored" not in progress
    assert b"can be restored" in result


def test_the_manifest_describes_the_backup(each: Installation) -> None:
    began = datetime.now(UTC)  # noqa: TID251 - of the real command
    each.done("backup create")
    manifest = msgspec.convert(each.manifest, Manifest)
    assert manifest.name == each.names[-1]
    assert began - timedelta(seconds=1) <= manifest.began <= manifest.ended
    assert manifest.database.rows["users"] == manifest.database.rows["sessions"] == 1
    assert manifest.database.rows["roles"] >= 3
    assert manifest.database.rows["logs"] >= manifest.database.rows["log_leaves"] > 0
    assert manifest.database.checkpoint is not None
    assert manifest.database.checkpoint.note == each.done("audit checkpoint")
    (file,) = manifest.files
    assert file.size == each.dump.stat().st_size


class Writer(threading.Thread):
    """Creates roles, as fast as it can, until it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.wrote, self.stopped = threading.Event(), threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        async def write() -> None:
            number = 0
            async with opened(Settings.from_env()) as ubr:
                while not self.stopped.is_set():
                    await ubr.create_role(CreateRoleCommand(name=f"written-{number}"), actor=SYSTEM)
                    number += 1
                    self.wrote.set()

        try:
            asyncio.run(write())
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.error = error
        finally:
            self.wrote.set()


@contextmanager
def writing() -> Iterator[Writer]:
    writer = Writer()
    writer.start()
    try:
        assert writer.wrote.wait(60)
        yield writer
        writer.wrote.clear()
        assert writer.wrote.wait(60)  # it still writes
    finally:
        writer.stopped.set()
        writer.join()
    assert writer.error is None


@pytest.mark.system(seconds=10)
def test_a_backup_is_one_state_while_others_write(each: Installation) -> None:
    names = []
    with writing() as writer:
        for _ in range(3):
            names.append(each.done("backup create").strip())
            for _ in range(2):  # the first may tell of a row that the backup has
                writer.wrote.clear()
                assert writer.wrote.wait(PATIENCE)
    for name in names:
        each.done("backup verify", name)
    listed = msgspec.json.decode(each.done("backup list --json"))
    rows = [manifest["database"]["rows"]["roles"] for manifest in listed if manifest["name"] in names]
    assert rows == sorted(set(rows))  # each later one has more


def test_the_memory_does_not_depend_on_the_size_of_the_database(sqlite: Installation) -> None:
    size = 64 * 1024 * 1024
    with closing(sqlite3.connect("ubr.db")) as database, database:
        database.executemany(
            "INSERT INTO replays (digest, fingerprint, result, expires_at, mismatches)"
            " VALUES (randomblob(32), x'00', randomblob(1048576), '2030-01-01 00:00:00.000000', 0)",
            [()] * (size // 1048576),
        )
    sqlite.done("migrate")  # modules are loaded now, and not measured
    sqlite.done("backup verify", sqlite.names[0])
    tracemalloc.start()
    try:
        sqlite.done("backup create")
        sqlite.done("backup verify")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sqlite.dump.stat().st_size > size
    assert peak < size / 3


def test_a_copy_leaves_no_file_beside_the_database(sqlite: Installation) -> None:
    before = sorted(path.name for path in sqlite.folder.iterdir())
    sqlite.done("backup create")
    assert sorted(path.name for path in sqlite.folder.iterdir()) == before


# --- damages ---------------------------------------------------------------------------------------------------------


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def cut(path: Path, by: int) -> None:
    os.truncate(path, path.stat().st_size - by)


def flip_any(path: Path) -> None:
    flip(path, secrets.randbelow(path.stat().st_size))


def omit(dump: bytes) -> bytes:
    """Leave out the first encrypted part."""
    return dump[:HEADER] + dump[HEADER + PART :]


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def swap(dump: bytes) -> bytes:
    """Exchange the first two encrypted parts."""
    second = HEADER + PART
    return dump[:HEADER] + dump[second : second + PART] + dump[HEADER:second] + dump[second + PART :]


def rename_older(here: Installation) -> None:
    """Put a copy of the older backup in the place of the newer one."""
    older, newer = here.names[-2:]
    shutil.rmtree(here.backups / newer)
    shutil.copytree(here.backups / older, here.backups / newer)


def exchange_older(here: Installation) -> None:
    """Put only the dump of the older backup in the place of the newer one."""
    older, newer = here.names[-2:]
    shutil.copy(here.backups / older / here.dump.name, here.backups / newer)


def edit_manifest(here: Installation) -> None:
    path = here.newest / "manifest.json"
    path.write_text(path.read_text().replace('"users":1', '"users":2'))


STORED: dict[str, tuple[Callable[[Installation], object], str]] = {
    "a flipped byte of the header": (lambda here: flip(here.dump, 40), "SHA-256 differs"),
    "a flipped byte in the middle": (lambda here: flip(here.dump, HEADER + CHUNK), "SHA-256 differs"),
    "a flipped last byte": (lambda here: flip(here.dump, -1), "SHA-256 differs"),
    "a file cut by a byte": (lambda here: cut(here.dump, 1), "bytes, and had"),
    "a file cut to its first chunk": (lambda here: os.truncate(here.dump, HEADER + CHUNK + TAG), "bytes, and had"),
    "swapped parts": (lambda here: edit(here.dump, swap), "SHA-256 differs"),
    "a missing part": (lambda here: edit(here.dump, omit), "bytes, and had"),
    "a byte at any place": (lambda here: flip_any(here.dump), "SHA-256 differs"),
    "a byte of the manifest at any place": (lambda here: flip_any(here.newest / "manifest.json"), "The manifest "),
    "an empty file": (lambda here: os.truncate(here.dump, 0), "bytes, and had"),
    "a file that is missing": (lambda here: here.dump.unlink(), "No such file"),
    "an older backup under a newer name": (rename_older, "this is a copy of the backup"),
    "an older dump in a newer backup": (exchange_older, "SHA-256 differs"),
    "a changed manifest": (edit_manifest, "The manifest was changed"),
    "a manifest cut in the middle": (lambda here: cut(here.newest / "manifest.json", 100), "The manifest is damaged"),
    "another key": (lambda here: here.patch.setenv("UBR_BACKUP_KEY", OTHER_KEY), "made with another key"),
}


@pytest.mark.parametrize("damage", STORED)
def test_a_damage_of_the_stored_files_is_found_before_anything_is_written(sqlite: Installation, damage: str) -> None:
    plant, sentence = STORED[damage]
    sqlite.done("backup verify")
    name = sqlite.names[-1]
    plant(sqlite)
    assert sentence in sqlite.refused("backup verify")
    assert sentence in sqlite.refused("backup restore", name, "--to", "sqlite:///restored.db")
    assert not (sqlite.folder / "restored.db").exists()


def execute(*statements: str) -> Callable[[Installation], None]:
    """Change the database past the service, without its triggers and constraints."""

    def change(here: Installation) -> None:
        with closing(sqlite3.connect("ubr.db")) as database, database:
            for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                database.execute(f"DROP TRIGGER {trigger}")
            for statement in statements:
                assert database.execute(statement).rowcount != 0

    return change


TRIGGER = "logs_only_grow_delete"
"""One that protects the log."""


def copy_entry(here: Installation) -> None:
    """Insert an entry that nobody made."""
    with closing(sqlite3.connect("ubr.db")) as database:
        names = [row[1] for row in database.execute("PRAGMA table_info(logs)")]
    copied = ", ".join("randomblob(16)" if name == "id" else name for name in names)
    execute(f"INSERT INTO logs ({', '.join(names)}) SELECT {copied} FROM logs LIMIT 1")(here)  # noqa: S608


CONTAINED: dict[str, tuple[Callable[[Installation], object], str]] = {
    "a missing table": (execute("DROP TABLE counters"), "The table counters is missing"),
    "a missing column": (execute("ALTER TABLE users DROP COLUMN full_name"), "add_column users.full_name"),
    "a dangling reference": (
        execute("UPDATE sessions SET user_id = '00000000000000000000000000000000'"),
        "Rows of sessions refer to missing rows of users",
    ),
    "a changed entry of the log": (
        execute("UPDATE logs SET message = 'Nothing' WHERE action = 'user.registered'"),
        "The audit log: ",
    ),
    "a deleted entry of the log": (execute("DELETE FROM logs WHERE action = 'role.created'"), "The audit log: "),
    "a missing trigger": (lambda here: here.run_sql(f"DROP TRIGGER {TRIGGER}"), f"The trigger {TRIGGER} is missing"),
    "a trigger that does nothing": (
        lambda here: here.run_sql(
            f"DROP TRIGGER {TRIGGER}", f"CREATE TRIGGER {TRIGGER} BEFORE DELETE ON logs BEGIN SELECT 1; END"
        ),
        f"The trigger {TRIGGER} is not that of this version",
    ),
    "a trigger of somebody else": (
        lambda here: here.run_sql("CREATE TRIGGER copies AFTER INSERT ON users BEGIN SELECT 1; END"),
        "The trigger copies is not one of ubr",
    ),
    "a truncated log": (
        execute("DELETE FROM logs WHERE timestamp = (SELECT max(timestamp) FROM logs)"),
        "The audit log: ",
    ),
    "an additional entry of the log": (copy_entry, "The audit log: "),
    "a key that decrypts nothing": (
        execute("UPDATE signing_keys SET private = randomblob(length(private))"),
        "UBR_SECRET_KEY does not decrypt the signing key",
    ),
    "another secret of the service": (
        lambda here: here.patch.setenv("UBR_SECRET_KEY", OTHER_KEY),
        "UBR_SECRET_KEY does not decrypt the signing key",
    ),
}


@pytest.mark.parametrize("damage", CONTAINED)
def test_a_damage_of_the_content_is_found(sqlite: Installation, damage: str) -> None:
    plant, sentence = CONTAINED[damage]
    plant(sqlite)
    sqlite.done("backup create")
    said = sqlite.refused("backup verify")
    assert sentence in said
    assert sqlite.names[-1] in said


def test_a_violated_constraint_of_postgresql_is_found(
    postgresql: Installation, postgres_server: PostgresServer
) -> None:
    statements = "ALTER TABLE ubr.sessions DISABLE TRIGGER ALL; UPDATE ubr.sessions SET user_id = gen_random_uuid()"
    for statement in statements.split("; "):
        postgres_server.query(statement, database=urlsplit(postgresql.url).path.lstrip("/"))
    postgresql.done("backup create")
    said = postgresql.refused("backup verify")
    assert 'insert or update on table "sessions" violates foreign key constraint' in said


def test_a_missing_table_of_postgresql_is_found(postgresql: Installation, postgres_server: PostgresServer) -> None:
    postgres_server.query("DROP TABLE ubr.counters", database=urlsplit(postgresql.url).path.lstrip("/"))
    postgresql.done("backup create")
    assert "The table counters is missing" in postgresql.refused("backup verify")


DEFINITIONS = {
    "ALTER TABLE ubr.logs DISABLE TRIGGER logs_only_grow": "The trigger logs.logs_only_grow is not that of",
    "CREATE OR REPLACE FUNCTION ubr.prune_logs(until bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'": (
        "The function prune_logs(until bigint) is not that of this version"
    ),
    "CREATE FUNCTION ubr.copies() RETURNS int LANGUAGE sql AS 'SELECT 1'": "The function copies() is not one of ubr",
    "ALTER TABLE ubr.users ADD CONSTRAINT mine CHECK (version > 0)": "The constraint users.mine is not one of ubr",
    "ALTER TABLE ubr.users ALTER COLUMN email_verified SET DEFAULT true": "The column users.email_verified is not that",
    "CREATE POLICY nobody ON ubr.users USING (false)": "The policy users.nobody is not one of ubr",
    "CREATE RULE nothing AS ON DELETE TO ubr.roles DO INSTEAD NOTHING": "The rule roles.nothing is not one of ubr",
}


def test_other_definitions_in_postgresql_are_found(postgresql: Installation, postgres_server: PostgresServer) -> None:
    for statement in DEFINITIONS:
        postgres_server.query(statement, database=urlsplit(postgresql.url).path.lstrip("/"))
    postgresql.done("backup create")
    said = postgresql.refused("backup verify")
    assert [sentence for sentence in DEFINITIONS.values() if sentence not in said] == []
    assert said.count("The ") == len(DEFINITIONS)


def resealed(here: Installation, change: Callable[[Manifest], Manifest]) -> None:
    """Change the manifest of the newest backup as someone with the key."""
    cipher = ChunkedBackupCipher(SecretKeys([BACKUP_KEY.encode()]), os.urandom)
    manifest = change(msgspec.convert(here.manifest, Manifest))
    (here.newest / "manifest.json").write_bytes(cipher.seal_manifest(msgspec.json.encode(manifest)))


OTHERS: dict[str, tuple[dict[str, object], str]] = {
    "rows": ({"rows": {"users": 2}}, "The table users has 1 rows, and had 2"),
    "tables": ({"rows": {"others": 1}}, "The table others is missing"),
    "revision": ({"revision": "0001"}, "The tables are of revision"),
    "checkpoint": ({"checkpoint": None}, "The newest checkpoint of the audit log is not that of the manifest"),
}


@pytest.mark.parametrize("field", OTHERS)
def test_content_that_is_not_that_of_the_manifest_is_found(each: Installation, field: str) -> None:
    change, sentence = OTHERS[field]
    each.done("backup create")
    resealed(
        each, lambda made: msgspec.structs.replace(made, database=msgspec.structs.replace(made.database, **change))
    )
    assert sentence in each.refused("backup verify")


def test_a_file_that_is_not_the_dump_of_the_manifest_is_not_decrypted(sqlite: Installation) -> None:
    """As with a manifest whose SHA-256 somebody with the key has corrected: the file itself is bound to its place."""
    older, newer = sqlite.names
    shutil.copy(sqlite.backups / older / sqlite.dump.name, sqlite.backups / newer)
    manifest = sqlite.manifest
    sqlite.patch.setenv("UBR_BACKUP_DIR", str(sqlite.backups))
    stored = msgspec.json.decode((sqlite.backups / older / "manifest.json").read_bytes())["manifest"]["files"]
    resealed(sqlite, lambda made: msgspec.convert({**manifest, "files": stored}, Manifest))
    assert "belongs to another backup" in sqlite.refused("backup verify")


def test_a_backup_of_a_newer_version_says_so(sqlite: Installation) -> None:
    resealed(sqlite, lambda made: msgspec.structs.replace(made, format=2))
    assert "a newer version of ubr made this backup" in sqlite.refused("backup verify")


# --- list, prune, and mistakes ---------------------------------------------------------------------------------------


def test_the_list_shows_complete_backups_and_names_the_others(sqlite: Installation) -> None:
    first, second = sqlite.names
    out = sqlite.done("backup list")
    assert out.index(first) < out.index(second)
    (sqlite.backups / f".{first}.partial").mkdir()
    assert ".partial" not in sqlite.done("backup list")
    (sqlite.backups / first / "manifest.json").unlink()
    ended = sqlite.ubr("backup list")
    assert ended.code == 1
    assert first not in ended.out
    assert second in ended.out
    assert first in ended.err


def test_pruning_keeps_the_newest_and_what_it_cannot_read(sqlite: Installation) -> None:
    sqlite.done("backup create")
    sqlite.done("backup create")
    first, second, third, fourth = sqlite.names
    edited = sqlite.backups / third / "manifest.json"
    edited.write_text(edited.read_text().replace('"users":1', '"users":2'))
    ended = sqlite.ubr("backup prune --keep 1")
    assert (ended.code, ended.out.splitlines()) == (1, [f"Deleted {first}.", f"Deleted {second}."])
    assert third in ended.err
    assert sqlite.names == [third, fourth]
    assert sqlite.ubr("backup prune --keep 0").code == 2


def test_a_backup_made_with_an_earlier_key_is_proved(sqlite: Installation) -> None:
    sqlite.patch.setenv("UBR_BACKUP_KEY", f"{OTHER_KEY},{BACKUP_KEY}")
    sqlite.done("backup verify")
    sqlite.done("backup create")
    sqlite.patch.setenv("UBR_BACKUP_KEY", OTHER_KEY)
    sqlite.done("backup verify")
    assert sqlite.ubr("backup list").code == 1


MISTAKES: dict[str, tuple[dict[str, str | None], str, str]] = {
    "no key": ({"UBR_BACKUP_KEY": None}, "backup create", "Set UBR_BACKUP_KEY"),
    "no folder": ({"UBR_BACKUP_DIR": None}, "backup create", "Set UBR_BACKUP_DIR"),
    "a database in memory": ({"UBR_DATABASE_URL": "memory:"}, "backup create", "memory:"),
    "a server that is not PostgreSQL": ({}, "backup verify --on sqlite:///a.db", "--on must begin with"),
    "a target that is no URL": ({}, "backup restore name --to here", "--to must begin with"),
    "a target in memory": ({}, "backup restore name --to memory:", "--to must not be memory:"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_explained(sqlite: Installation, mistake: str) -> None:
    settings, line, sentence = MISTAKES[mistake]
    for name, value in settings.items():
        sqlite.patch.delenv(name) if value is None else sqlite.patch.setenv(name, value)
    ended = sqlite.ubr(line)
    assert ended.code == 2
    assert sentence in ended.err


def test_a_name_that_does_not_exist_and_an_empty_folder_are_explained(sqlite: Installation) -> None:
    assert "`ubr backup list` shows all" in sqlite.refused("backup verify ../backups")
    assert "Cannot read elsewhere: No such file" in sqlite.refused("backup verify --from elsewhere")
    (sqlite.folder / "elsewhere").mkdir()
    assert "There is no backup in this place" in sqlite.refused("backup verify --from elsewhere")


def test_a_folder_and_a_key_in_a_file_are_taken(sqlite: Installation) -> None:
    sqlite.patch.delenv("UBR_BACKUP_KEY")
    (sqlite.folder / "key").write_text(BACKUP_KEY + "\n")
    sqlite.patch.setenv("UBR_BACKUP_KEY_FILE", str(sqlite.folder / "key"))
    name = sqlite.done("backup create --to elsewhere").strip()
    assert (sqlite.folder / "elsewhere" / name).is_dir()
    assert name in sqlite.done("backup list --from elsewhere")


def test_a_backup_of_one_kind_is_not_restored_into_the_other(
    sqlite: Installation, new_database: Callable[..., str]
) -> None:
    target = new_database(migrated=False)
    assert "This is a backup of SQLite" in sqlite.refused("backup restore", sqlite.names[0], "--to", target)


def test_a_backup_of_postgresql_is_not_restored_into_a_file(postgresql: Installation) -> None:
    name = postgresql.done("backup create").strip()
    said = postgresql.refused("backup restore", name, "--to", "sqlite:///restored.db")
    assert "This is a backup of PostgreSQL" in said
    postgresql.patch.setenv("UBR_DATABASE_URL", "sqlite:///other.db")
    assert "let --on name a PostgreSQL server" in postgresql.refused("backup verify")
    postgresql.done("backup verify", "--on", postgresql.url)


def test_a_role_that_must_not_create_databases_is_explained(
    postgresql: Installation, postgres_server: PostgresServer
) -> None:
    postgresql.done("backup create")
    role = f"limited_{os.urandom(4).hex()}"
    postgres_server.query(f"CREATE ROLE {role} LOGIN PASSWORD 'hunter2'")
    try:
        url = urlsplit(postgresql.url)
        limited = f"postgresql://{role}:hunter2@{url.hostname}:{url.port}/postgres"
        said = postgresql.refused("backup verify", "--on", limited)
    finally:
        postgres_server.query(f"DROP ROLE {role}")
    assert "The role must not create databases" in said
    assert "hunter2" not in said


def test_a_file_beside_a_new_database_is_not_mixed_with_it(sqlite: Installation) -> None:
    (sqlite.folder / "restored.db-wal").write_bytes(b"of an earlier database")
    said = sqlite.refused("backup restore", sqlite.names[0], "--to", "sqlite:///restored.db")
    assert "restored.db-wal of an earlier database exists" in said


def test_a_restored_database_that_differs_is_not_to_be_used(sqlite: Installation) -> None:
    execute("UPDATE sessions SET user_id = '00000000000000000000000000000000'")(sqlite)
    name = sqlite.done("backup create").strip()
    assert "do not use it, delete it" in sqlite.refused("backup restore", name, "--to", "sqlite:///restored.db")


def test_tables_of_a_newer_version_are_not_used_by_this_one(sqlite: Installation) -> None:
    execute("UPDATE alembic_version SET version_num = '9999'")(sqlite)
    name = sqlite.done("backup create").strip()
    sentence = "A newer version of ubr made this backup: use that version"
    assert sentence in sqlite.refused("backup verify")
    said = sqlite.refused("backup restore", name, "--to", "sqlite:///restored.db")
    assert sentence in said
    assert "its sessions are still valid" in said


def test_a_restore_with_another_secret_names_the_missing_step(sqlite: Installation) -> None:
    sqlite.patch.setenv("UBR_SECRET_KEY", OTHER_KEY)
    name = sqlite.names[0]
    said = sqlite.refused("backup restore", name, "--to", "sqlite:///restored.db")
    assert "run `ubr after-restore`" in said
    sqlite.done("backup restore", name, "--to", "sqlite:///again.db", "--lost-secret")


def test_a_restore_names_the_saved_checkpoint(sqlite: Installation) -> None:
    """The later checkpoint, which the older backup lacks entries of, is then acknowledged."""
    first = sqlite.names[0]
    sqlite.done("audit checkpoint --output log.checkpoint")
    sqlite.patch.setenv("UBR_AUDIT_CHECKPOINT", "log.checkpoint")
    sqlite.done("backup restore", first, "--to", "sqlite:///restored.db")
    sqlite.patch.setenv("UBR_DATABASE_URL", "sqlite:///restored.db")
    sqlite.done("audit checkpoint --output log.checkpoint")


@pytest.mark.parametrize("command", ["list", "verify"])
def test_an_age_that_is_too_high_is_a_failure(sqlite: Installation, command: str) -> None:
    name = sqlite.names[-1]
    assert name in sqlite.done(f"backup {command} --max-age 365d")
    ended = sqlite.ubr(f"backup {command} --max-age 1ms")
    assert (ended.code, name in ended.out) == (1, True)
    assert "old, and must be at most 1ms old." in " ".join(ended.err.split())
    assert sqlite.ubr(f"backup {command} --max-age 26").code == 2


def test_only_a_good_backup_is_young_enough(sqlite: Installation) -> None:
    older, _ = sqlite.names
    cut(sqlite.newest / "manifest.json", 100)
    assert older in sqlite.ubr("backup list --max-age 365d").out
    shutil.rmtree(sqlite.backups / older)
    ended = sqlite.ubr("backup list --max-age 365d")
    assert (ended.code, "There is no good backup in this place." in ended.err) == (1, True)


def test_a_verification_is_noted_in_its_backup_by_who_has_the_key(sqlite: Installation) -> None:
    older, newer = sqlite.names
    sqlite.done("backup verify")
    note = sqlite.newest / "verified.json"
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert "never" not in next(line for line in sqlite.done("backup list").splitlines() if newer in line)
    shutil.copy(note, sqlite.backups / older)  # of another backup
    assert "never" in next(line for line in sqlite.done("backup list").splitlines() if older in line)
    note.write_text(note.read_text().replace("T", "t"))
    assert sqlite.done("backup list").count("never") == 2
    sqlite.refused("backup verify --from elsewhere")


def test_the_clock_tells_the_age(sqlite: Installation) -> None:
    later = datetime(2030, 1, 1, tzinfo=UTC)
    backups = Backups.of(Settings.from_env(), str(sqlite.backups), clock=lambda: later)
    found = asyncio.run(backups.verify(None)(None, lambda *_: None))
    assert found.age == later - found.manifest.began
    assert found.took > timedelta(0)
