"""The manifest of a backup: everything about it except its content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Final

import msgspec

from ubr.application.ports.backups import BackupCipher, BackupFailed, BackupStore, Inventory, Progress

MANIFEST: Final = "manifest.json"
MAX_MANIFEST: Final = 1024 * 1024
_FORMAT: Final = 1
_CHUNK: Final = 1024 * 1024


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a backup as it is stored, which is encrypted: its size in bytes and its SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is that of the backup. `ubr` and `tool` are the versions of ubr and of the program that made the dump.

    The dump contains the state of a moment between `began` and `ended`. The first file is the dump.
    """

    format: int = _FORMAT
    name: str
    ubr: str
    tool: str
    began: datetime
    ended: datetime
    database: Inventory
    files: tuple[StoredFile, ...]

    @property
    def size(self) -> int:
        """The number of bytes of all files."""
        return sum(file.size for file in self.files)


def place_of(name: str, file: str) -> str:
    """The name of a file for its encryption."""
    return f"{name}/{file}"


def read_manifest(store: BackupStore, cipher: BackupCipher, name: str) -> Manifest:
    """The manifest of a backup. Errors: `BackupFailed` if it is missing, was changed, or is of another backup."""
    with store.read(name, MANIFEST) as file:
        sealed = file.read(MAX_MANIFEST)
    try:
        content = cipher.open_manifest(sealed)
    except BackupFailed as error:
        raise BackupFailed(f"{name}: {error}") from None
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError:
        raise BackupFailed(f"{name}: a newer version of ubr made this backup: use that version") from None
    if manifest.format != _FORMAT:
        raise BackupFailed(f"{name}: a newer version of ubr made this backup: use that version")
    if manifest.name != name:
        raise BackupFailed(f"{name}: this is a copy of the backup {manifest.name} under another name")
    return manifest


def chosen(store: BackupStore, cipher: BackupCipher, name: str | None) -> Manifest:
    """The manifest of this backup, or of the newest one. Errors: `BackupFailed`."""
    names = store.names()
    if not names:
        raise BackupFailed("There is no backup in this place")
    if name is not None and name not in names:
        raise BackupFailed("There is no backup of this name: `ubr backup list` shows all")
    return read_manifest(store, cipher, name or names[-1])


def dump_of(manifest: Manifest) -> StoredFile:
    """The file with the dump."""
    return manifest.files[0]


def check_file(store: BackupStore, cipher: BackupCipher, manifest: Manifest, progress: Progress) -> None:
    """Read the whole dump once, and compare it with the manifest. Nothing is written.

    Errors: `BackupFailed` if a byte of it differs.
    """
    stored = dump_of(manifest)
    with store.read(manifest.name, stored.name) as file:
        size, sha256 = 0, hashlib.sha256()
        while block := file.read(_CHUNK):
            size += len(block)
            sha256.update(block)
            progress("checking the file", size, stored.size)
    if size != stored.size:
        raise BackupFailed(
            f"{manifest.name}: {stored.name} has {size} bytes, and had {stored.size} when it was written"
        )
    if sha256.hexdigest() != stored.sha256:
        raise BackupFailed(f"{manifest.name}: {stored.name} is not the file that was written: its SHA-256 differs")
    for _ in content_of(store, cipher, manifest, progress, "decrypting"):
        pass


def content_of(
    store: BackupStore, cipher: BackupCipher, manifest: Manifest, progress: Progress, step: str
) -> Iterator[bytes]:
    """The decrypted dump. Errors: `BackupFailed`."""
    stored = dump_of(manifest)
    with store.read(manifest.name, stored.name) as file:
        yield from _decrypted(cipher, file, manifest, progress, step)


def _decrypted(
    cipher: BackupCipher, file: IO[bytes], manifest: Manifest, progress: Progress, step: str
) -> Iterator[bytes]:
    stored, done = dump_of(manifest), 0
    try:
        for block in cipher.decrypt(place_of(manifest.name, stored.name), file):
            done += len(block)
            progress(step, done, stored.size)
            yield block
    except BackupFailed as error:
        raise BackupFailed(f"{manifest.name}: {stored.name} {error}") from None
