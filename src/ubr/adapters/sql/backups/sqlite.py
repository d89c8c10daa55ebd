"""SQLite: a copy by its backup API, and the restored file."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import sqlite3
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory, mkstemp
from typing import Final, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import StaticPool

from ubr.adapters.sql.backups.inventory import data_flaws, definitions, schema_flaws, take_inventory
from ubr.adapters.sql.engine import normal_url
from ubr.application.ports.backups import BackupFailed, Inventory, Progress
from ubr.application.ports.system import Clock

T = TypeVar("T")

_PAGES: Final = 512
"""Pages that are copied between two reports of progress."""
_CHUNK: Final = 1024 * 1024
_PATIENCE: Final = 60.0
"""Seconds to wait for a lock. In WAL mode, writers do not block a reader."""
_SCRATCH: Final = "ubr-verify-"
_YOUNG: Final = timedelta(minutes=10)
"""A folder of this age has the lock of its process, if that lives."""
_BESIDE: Final = ("-wal", "-shm", "-journal")


class _Stopped(Exception):
    """The copy is not needed any more."""


class SqliteSnapshot:
    """An open read transaction, which sees one state for as long as it lasts."""

    def __init__(self, source: sqlite3.Connection, path: Path, inventory: Inventory) -> None:
        self._source = source
        self._path = path
        self.inventory = inventory
        self.tool = f"sqlite {sqlite3.sqlite_version}"

    async def content(self, progress: Progress) -> AsyncGenerator[bytes, None]:
        stopped = False

        def tell(_: int, remaining: int, total: int) -> None:
            if stopped:
                raise _Stopped
            progress("copying", total - remaining, total)

        copying = asyncio.ensure_future(asyncio.to_thread(self._copy, tell))
        try:
            descriptor = await asyncio.shield(copying)
        except asyncio.CancelledError:
            stopped = True
            with suppress(_Stopped, BackupFailed):
                os.close(await copying)
            raise
        with os.fdopen(descriptor, "rb") as copy:
            size = os.fstat(descriptor).st_size
            while block := copy.read(_CHUNK):
                yield block
                progress("encrypting", copy.tell(), size)

    def _copy(self, tell: Callable[[int, int, int], None]) -> int:
        """A descriptor of the copy. The file has no name any more, so the copy ends with this process.

        It lies beside the database, on a disk that contains the same rows already.
        """
        with _explained(self._path):
            descriptor, name = mkstemp(dir=self._path.parent, prefix=".ubr-backup-")
            try:
                with closing(sqlite3.connect(name, isolation_level=None)) as copy:
                    Path(name).unlink()
                    copy.execute("PRAGMA journal_mode=OFF")  # a journal would need the name
                    copy.execute("PRAGMA synchronous=OFF")
                    # All steps see the state of the transaction that the connection is in.
                    self._source.backup(copy, pages=_PAGES, progress=tell)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                os.close(descriptor)
                raise
        return descriptor


class SqliteDump:
    """The database that the service uses."""

    def __init__(self, url: str) -> None:
        self._path = _path_of(url)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SqliteSnapshot]:
        with _explained(self._path):
            source = await asyncio.to_thread(_open, self._path)
        # The transaction ends with the connection of SQLAlchemy, which therefore stays open during the copy.
        with closing(source), _engine(source).connect() as connection:
            with _explained(self._path):
                inventory = await asyncio.to_thread(self._begin, connection)
            yield SqliteSnapshot(source, self._path, inventory)

    @staticmethod
    def _begin(connection: Connection) -> Inventory:
        connection.exec_driver_sql("BEGIN")
        return take_inventory(connection, None)


class SqliteRestored:
    """A file that does not exist yet."""

    def __init__(self, url: str) -> None:
        self._path = _path_of(url)
        self.url = normal_url(url)

    async def require_empty(self, schema: str | None) -> None:  # noqa: ARG002 - SQLite has none
        with _explained(self._path):
            self._require_new()

    def _require_new(self) -> None:
        if self._path.exists() and self._path.stat().st_size > 0:
            raise BackupFailed(f"The file {self._path} exists. A backup is restored into a new file only")
        for ending in _BESIDE:
            beside = self._path.with_name(self._path.name + ending)
            if beside.exists():
                raise BackupFailed(f"The file {beside} of an earlier database exists, and SQLite would use it: move it")

    async def fill(self, content: Iterable[bytes], dumped: Inventory, tool: str) -> None:  # noqa: ARG002
        if dumped.kind != "sqlite":
            raise BackupFailed("This is a backup of PostgreSQL: restore it into a PostgreSQL database")
        with _explained(self._path):
            draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    for block in content:
                        file.write(block)
                    file.flush()
                    os.fsync(file.fileno())
                self._put(draft)
            finally:
                draft.unlink(missing_ok=True)

    def _put(self, draft: Path) -> None:
        if self._path.exists() and self._path.stat().st_size == 0:
            draft.replace(self._path)
        else:
            self._path.hardlink_to(draft)  # unlike a rename, this fails if the name exists
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    async def inventory(self) -> Inventory:
        return await self._ask(lambda connection: take_inventory(connection, None))

    async def flaws(self) -> list[str]:
        return await self._ask(lambda connection: data_flaws(connection, None))

    async def schema_flaws(self) -> list[str]:
        return await self._ask(schema_flaws)

    async def definitions(self) -> dict[str, str]:
        return await self._ask(lambda connection: definitions(connection, None))

    async def _ask(self, question: Callable[[Connection], T]) -> T:
        def ask() -> T:
            with closing(_open(self._path)) as source, _engine(source).connect() as connection:
                return question(connection)

        with _explained(self._path):
            return await asyncio.to_thread(ask)


@asynccontextmanager
async def sqlite_scratch(clock: Clock) -> AsyncIterator[SqliteRestored]:
    """A file in a folder that only this user can enter. Its process has locked it."""
    with TemporaryDirectory(prefix=_SCRATCH) as folder:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            await asyncio.to_thread(_sweep, Path(folder).parent, clock() - _YOUNG)
            yield SqliteRestored(f"sqlite:///{folder}/ubr.db")
        finally:
            os.close(descriptor)


def _sweep(parent: Path, before: datetime) -> None:
    """Delete what killed processes left: it contains decrypted rows. The system has released their locks."""
    for folder in parent.glob(f"{_SCRATCH}*"):
        with suppress(OSError):
            found = folder.lstat()
            if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
                continue
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if datetime.fromtimestamp(found.st_mtime, UTC) < before:
                    shutil.rmtree(folder)
            finally:
                os.close(descriptor)


def _path_of(url: str) -> Path:
    return Path(make_url(normal_url(url)).database or "")


def _open(path: Path) -> sqlite3.Connection:
    """An existing file. The connection may be used by one thread after the other."""
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
    )


def _engine(source: sqlite3.Connection) -> Engine:
    """An engine whose only connection is this one."""
    return create_engine("sqlite://", creator=lambda: source, poolclass=StaticPool)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Errors: `BackupFailed` for one of the database or of the disk."""
    try:
        yield
    except (sqlite3.Error, DatabaseError) as error:
        cause = error.orig if isinstance(error, DatabaseError) else error
        raise BackupFailed(f"The database file {path}: {cause}") from None
    except OSError as error:
        raise BackupFailed(f"The database file {path}: {error.strerror}") from None
