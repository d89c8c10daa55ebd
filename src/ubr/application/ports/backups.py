"""Backups: the place that stores them, their encryption, and the databases that they are made of and restored into.

These ports are for commands that run in a process of their own: reading, writing and encryption block the event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import IO, Literal, Protocol, TypeAlias

import msgspec

DatabaseKind: TypeAlias = Literal["sqlite", "postgresql"]

Progress: TypeAlias = Callable[[str, int, int | None], object]
"""Called with the name of a step, the amount done, and the total, or None if it is unknown."""


class BackupFailed(Exception):
    """A backup cannot be made, is damaged, or cannot be restored.

    The message is a sentence for the operator, without its full stop. It contains no secret.
    """


class BackupProtected(BackupFailed):
    """The place does not let this backup be deleted yet, as its owner decided. The message names the reason."""


class CheckpointOfLog(msgspec.Struct, frozen=True, kw_only=True):
    """The newest checkpoint of an audit log: the number of entries that it covers, and the signed note."""

    size: int
    note: str


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a database, as one transaction saw it.

    `server` is the version of the database server, or of the library of SQLite. `schema` is the schema of the tables,
    None in SQLite. `revision` is that of the migrations. `rows` has the number of rows of every table of ubr.
    """

    kind: DatabaseKind
    server: str
    schema: str | None
    revision: str
    rows: dict[str, int]
    checkpoint: CheckpointOfLog | None


class DatabaseSnapshot(Protocol):
    """One state of a database, while the service goes on writing."""

    @property
    def inventory(self) -> Inventory:
        """The content of exactly this state."""
        ...

    @property
    def tool(self) -> str:
        """The program that makes the dump, with its version: `restore` may need the same version or a newer one."""
        ...

    def content(self, progress: Progress) -> AsyncGenerator[bytes, None]:
        """The dump of exactly this state, in parts of at most a few MiB. Errors: `BackupFailed`."""
        ...


class DumpedDatabase(Protocol):
    """The database that backups are made of."""

    def snapshot(self) -> AbstractAsyncContextManager[DatabaseSnapshot]:
        """A snapshot, which ends with the context. Errors: `BackupFailed`, `StoreUnavailable`."""
        ...


class RestoredDatabase(Protocol):
    """A database that a backup is restored into."""

    @property
    def url(self) -> str:
        """Its address in the form of the setting."""
        ...

    async def require_empty(self, schema: str | None) -> None:
        """Errors: `BackupFailed` if the database, or in PostgreSQL this schema of it, contains anything;
        `StoreUnavailable`.
        """
        ...

    async def fill(self, content: Iterable[bytes], dumped: Inventory, tool: str) -> None:
        """Restore a dump. It is there as a whole afterwards, or not at all, also if `content` raises an error.

        Errors: `BackupFailed`, `StoreUnavailable`.
        """
        ...

    async def inventory(self) -> Inventory:
        """The content of the database. Errors: `BackupFailed` if it has no tables of ubr; `StoreUnavailable`."""
        ...

    async def flaws(self) -> list[str]:
        """A sentence about each violated or invalid constraint, reference and index; empty if there is none."""
        ...

    async def schema_flaws(self) -> list[str]:
        """A sentence about each difference from the tables of this version; empty if there is none."""
        ...

    async def definitions(self) -> dict[str, str]:
        """The definition of everything in the schema except rows, by kind and name, as in `trigger logs_append_only`.

        Equal migrations on one server make equal definitions.
        """
        ...


class ScratchDatabases(Protocol):
    """Makes databases for a rehearsal.

    One that a killed process left is deleted by a later call. One that a running process uses never is.
    """

    def open(self, kind: DatabaseKind) -> AbstractAsyncContextManager[RestoredDatabase]:
        """An empty database, which is deleted at the end of the context.

        Errors: `BackupFailed` if one of this kind cannot be made; `StoreUnavailable`.
        """
        ...

    def migrated(self, kind: DatabaseKind, schema: str | None) -> AbstractAsyncContextManager[RestoredDatabase]:
        """A database with the tables of this version in this schema, and the rows that its migrations make.

        Errors: as of `open`.
        """
        ...


class BackupDraft(Protocol):
    """A backup that is being written. It is not visible to readers."""

    def create(self, file: str) -> AbstractContextManager[IO[bytes]]:
        """A new file, which no other user of the place can read unless its owner decided so."""
        ...

    def publish(self) -> None:
        """Make the whole backup visible and durable. A place without renames writes the file created last at the end,
        and shows nothing before.
        """
        ...


class BackupStore(Protocol):
    """The place of backups: each has a name and some files. Errors of every method: `BackupFailed`."""

    def names(self) -> list[str]:
        """The names of all complete backups, oldest first."""
        ...

    def draft(self, name: str) -> AbstractContextManager[BackupDraft]:
        """A new backup. If the context ends before it was published, nothing of it remains.

        A folder is created if it is missing. A draft that this process may not delete stays invisible.
        """
        ...

    def read(self, name: str, file: str) -> AbstractContextManager[IO[bytes]]:
        """Open a file of a backup."""
        ...

    def put(self, name: str, file: str, content: bytes) -> None:
        """Add a small file to a complete backup, or replace it as a whole."""
        ...

    def remove(self, name: str) -> None:
        """Delete a backup. It is not visible any more from the first moment on.

        Errors: `BackupProtected`, and then nothing was deleted.
        """
        ...

    def sweep(self) -> None:
        """Delete what killed processes left of their drafts."""
        ...


class Encryption(Protocol):
    """The encryption of one file, in its order."""

    def begin(self) -> bytes:
        """The first bytes of the encrypted file."""
        ...

    def update(self, plain: bytes) -> bytes:
        """The next bytes of the encrypted file, for more of the plain one. May be empty."""
        ...

    def end(self) -> bytes:
        """The last bytes of the encrypted file."""
        ...


class BackupCipher(Protocol):
    """Encrypts files and authenticates manifests with the keys of backups: the first key for new ones, all for reading.

    `place` names a file of a backup. An encrypted file is invalid at any other place.
    """

    def encrypt(self, place: str) -> Encryption:
        """The encryption of one file, with a new random key. Its memory does not depend on the size of the file."""
        ...

    def decrypt(self, place: str, encrypted: IO[bytes]) -> Iterator[bytes]:
        """The plain content, each part authenticated before it is returned.

        The last part is returned only if the file ends there as it did when it was written. Errors: `BackupFailed` if
        a byte differs, the file was cut, extended or reordered, is of another place, or needs another key.
        """
        ...

    def seal_manifest(self, content: bytes) -> bytes:
        """A text that contains the manifest readably, and authenticates it. `content` is JSON."""
        ...

    def open_manifest(self, sealed: bytes) -> bytes:
        """The manifest in such a text.

        Errors: `BackupFailed` if it was changed, or was made with a key that is not among these.
        """
        ...
