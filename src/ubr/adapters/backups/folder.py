"""Backups in a folder: a folder for each, named after the backup."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from ubr.adapters.backups.names import NAME
from ubr.application.ports.backups import BackupFailed

_LEFT: Final = re.compile(rf"\.{NAME.pattern}\.(partial|removed)")


class FolderDraft:
    """A hidden folder, which `publish` renames."""

    def __init__(self, draft: Path, final: Path) -> None:
        self._draft = draft
        self._final = final

    @contextmanager
    def create(self, file: str) -> Iterator[IO[bytes]]:
        descriptor = os.open(self._draft / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as output:
            yield output
            output.flush()
            os.fsync(output.fileno())

    def publish(self) -> None:
        _sync(self._draft)
        self._draft.rename(self._final)
        _sync(self._final.parent)


class FolderBackupStore:
    """Files are readable by their owner alone. A draft is a folder that its process has locked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        with self._explained("read"):
            return sorted(path.name for path in self._folder.iterdir() if NAME.fullmatch(path.name))

    @contextmanager
    def draft(self, name: str) -> Iterator[FolderDraft]:
        with self._explained("write to"):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._sweep()
            draft = self._folder / f".{name}.partial"
            draft.mkdir(mode=0o700)
            try:
                with _locked(draft):
                    yield FolderDraft(draft, self._folder / name)
            finally:
                shutil.rmtree(draft, ignore_errors=True)

    @contextmanager
    def read(self, name: str, file: str) -> Iterator[IO[bytes]]:
        path = self._folder / name / file
        with self._explained("read", path), path.open("rb") as content:
            yield content

    def put(self, name: str, file: str, content: bytes) -> None:
        path = self._folder / name / file
        with self._explained("write to", path):
            draft = path.with_name(f".{file}.{secrets.token_hex(8)}")
            try:
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "wb") as output:
                    output.write(content)
                    output.flush()
                    os.fsync(output.fileno())
                draft.replace(path)
                _sync(path.parent)
            finally:
                draft.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        with self._explained("write to"):
            hidden = self._folder / f".{name}.removed"
            (self._folder / name).rename(hidden)
            shutil.rmtree(hidden)

    def sweep(self) -> None:
        with self._explained("write to"):
            self._sweep()

    def _sweep(self) -> None:
        """The system has released the locks of a killed process."""
        for path in self._folder.iterdir():
            if _LEFT.fullmatch(path.name):
                with suppress(OSError), _locked(path):
                    shutil.rmtree(path)

    @contextmanager
    def _explained(self, what: str, path: Path | None = None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BackupFailed(f"Cannot {what} {path or self._folder}: {error.strerror}") from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Errors: `OSError` if another process has locked the folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
