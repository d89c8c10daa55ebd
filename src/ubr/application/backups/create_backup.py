"""Creates a backup."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from typing import IO, Final

import msgspec

from ubr.application.backups.manifest import MANIFEST, Manifest, StoredFile, place_of
from ubr.application.ports.backups import (
    BackupCipher,
    BackupDraft,
    BackupStore,
    DatabaseKind,
    DatabaseSnapshot,
    DumpedDatabase,
    Progress,
)
from ubr.application.ports.system import Clock, RandomBytes

_FILES: Final[dict[DatabaseKind, str]] = {"sqlite": "database.sqlite.enc", "postgresql": "database.dump.enc"}


class CreateBackup(msgspec.Struct, frozen=True, kw_only=True):
    """Back up the database while the service runs.

    - The dump and the numbers in the manifest are of one state.
    - The dump is encrypted before it is stored.
    - The backup is visible only when it is complete.
    """

    database: DumpedDatabase
    store: BackupStore
    cipher: BackupCipher
    clock: Clock
    random_bytes: RandomBytes
    version: str

    async def __call__(self, progress: Progress) -> Manifest:
        """The manifest. Errors: `BackupFailed`, `StoreUnavailable`."""
        began = self.clock()
        name = f"{began:%Y%m%dT%H%M%S.%fZ}-{self.random_bytes(4).hex()}"
        async with self.database.snapshot() as snapshot:
            with self.store.draft(name) as draft:
                stored = await self._dump(snapshot, draft, name, progress)
                manifest = Manifest(
                    name=name,
                    ubr=self.version,
                    tool=snapshot.tool,
                    began=began,
                    ended=self.clock(),
                    database=snapshot.inventory,
                    files=(stored,),
                )
                with draft.create(MANIFEST) as file:
                    file.write(self.cipher.seal_manifest(msgspec.json.encode(manifest)))
                draft.publish()
        return manifest

    async def _dump(self, snapshot: DatabaseSnapshot, draft: BackupDraft, name: str, progress: Progress) -> StoredFile:
        file = _FILES[snapshot.inventory.kind]
        encryption = self.cipher.encrypt(place_of(name, file))
        with draft.create(file) as output:
            written = _Written(output)
            written(encryption.begin())
            async with aclosing(snapshot.content(progress)) as content:
                async for plain in content:
                    written(encryption.update(plain))
            written(encryption.end())
        return StoredFile(name=file, size=written.size, sha256=written.sha256.hexdigest())


class _Written:
    """Writes to a file, and counts and hashes what it writes."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output = output
        self.size = 0
        self.sha256 = hashlib.sha256()

    def __call__(self, block: bytes) -> None:
        self._output.write(block)
        self.size += len(block)
        self.sha256.update(block)
