"""Deletes old backups."""

from __future__ import annotations

from dataclasses import dataclass

from ubr.application.backups.list_backups import ListBackups
from ubr.application.ports.backups import BackupStore


@dataclass(frozen=True, slots=True)
class PrunedBackups:
    """The names of the deleted backups, and a sentence about each one that was not counted."""

    removed: tuple[str, ...]
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneBackups:
    """Delete all backups except the newest ones.

    - Only backups with an authentic manifest count, and only those are deleted. Damaged ones stay.
    """

    list_backups: ListBackups
    store: BackupStore

    def __call__(self, keep: int) -> PrunedBackups:
        """Keep this many, at least one. Errors: `BackupFailed`."""
        listed = self.list_backups()
        old = [manifest.name for manifest in listed.manifests][: -max(keep, 1)]
        for name in old:
            self.store.remove(name)
        return PrunedBackups(tuple(old), listed.unreadable)
