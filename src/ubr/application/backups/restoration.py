"""Restores a backup into a database, and compares the two."""

from __future__ import annotations

from ubr.application.backups.manifest import Manifest, check_file, content_of
from ubr.application.ports.backups import (
    BackupCipher,
    BackupFailed,
    BackupStore,
    Inventory,
    Progress,
    RestoredDatabase,
)


class RestoredOtherwise(BackupFailed):
    """The database was filled, and differs from the one that was backed up."""


async def refill(
    store: BackupStore, cipher: BackupCipher, manifest: Manifest, database: RestoredDatabase, progress: Progress
) -> None:
    """Restore into an empty database. The whole file is checked before anything is written.

    Errors: `BackupFailed`; `RestoredOtherwise` if the restored rows, tables, constraints or checkpoint are not those of
    the manifest; `StoreUnavailable`.
    """
    dumped = manifest.database
    await database.require_empty(dumped.schema)
    check_file(store, cipher, manifest, progress)
    await database.fill(content_of(store, cipher, manifest, progress, "restoring"), dumped, manifest.tool)
    progress("comparing", 0, None)
    if found := _differences(dumped, await database.inventory()) + await database.flaws():
        raise RestoredOtherwise(sentence_about(manifest, found))


def sentence_about(manifest: Manifest, found: list[str]) -> str:
    """The message for these findings, each a sentence."""
    return f"{manifest.name}: {'. '.join(found)}"


def _differences(dumped: Inventory, restored: Inventory) -> list[str]:
    found = [f"The table {name} is missing" for name in sorted(dumped.rows.keys() - restored.rows.keys())]
    found += [
        f"The table {name} has {restored.rows[name]} rows, and had {count} when it was backed up"
        for name, count in sorted(dumped.rows.items())
        if name in restored.rows and restored.rows[name] != count
    ]
    if restored.revision != dumped.revision:
        found.append(f"The tables are of revision {restored.revision}, and were of {dumped.revision}")
    if restored.checkpoint != dumped.checkpoint:
        found.append("The newest checkpoint of the audit log is not that of the manifest")
    return found
