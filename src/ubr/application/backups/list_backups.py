"""Lists the backups."""

from __future__ import annotations

import msgspec

from ubr.application.backups.manifest import Manifest, read_manifest
from ubr.application.backups.verification import Verification, read_verification
from ubr.application.ports.backups import BackupCipher, BackupFailed, BackupStore


class ListedBackups(msgspec.Struct, frozen=True):
    """`manifests` of all authentic backups, oldest first. `verified` has the newest verification of each of them that
    was verified. `unreadable`: a sentence about each of the others.
    """

    manifests: tuple[Manifest, ...]
    verified: dict[str, Verification]
    unreadable: tuple[str, ...]


class ListBackups(msgspec.Struct, frozen=True, kw_only=True):
    """List the complete backups by their manifests. It does not read the dumps."""

    store: BackupStore
    cipher: BackupCipher

    def __call__(self) -> ListedBackups:
        """Errors: `BackupFailed` if the place cannot be read."""
        manifests, unreadable = [], []
        for name in self.store.names():
            try:
                manifests.append(read_manifest(self.store, self.cipher, name))
            except BackupFailed as error:
                unreadable.append(str(error))
        notes = ((manifest.name, read_verification(self.store, self.cipher, manifest.name)) for manifest in manifests)
        verified = {name: note for name, note in notes if note is not None}
        return ListedBackups(tuple(manifests), verified, tuple(unreadable))
