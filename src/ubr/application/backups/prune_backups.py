"""Deletes old backups."""

from __future__ import annotations

import msgspec

from ubr.application.backups.list_backups import ListBackups
from ubr.application.ports.backups import BackupProtected, BackupStore


class PrunedBackups(msgspec.Struct, frozen=True):
    """The names of the deleted backups, and a sentence about each one that is protected or was not counted."""

    removed: tuple[str, ...]
    protected: tuple[str, ...]
    unreadable: tuple[str, ...]


class PruneBackups(msgspec.Struct, frozen=True, kw_only=True):
    """Delete all backups except the newest ones.

    - Only backups with an authentic manifest count, and only those are deleted. Damaged ones stay.
    - One that its place protects stays, until a later call.
    - Deletes also what killed processes left of their backups.
    """

    list_backups: ListBackups
    store: BackupStore

    def __call__(self, keep: int) -> PrunedBackups:
        """Keep this many, at least one. Errors: `BackupFailed`."""
        listed = self.list_backups()
        removed, protected = [], []
        for manifest in listed.manifests[: -max(keep, 1)]:
            try:
                self.store.remove(manifest.name)
                removed.append(manifest.name)
            except BackupProtected as error:
                protected.append(str(error))
        self.store.sweep()
        return PrunedBackups(tuple(removed), tuple(protected), listed.unreadable)
