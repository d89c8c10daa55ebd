"""Restores a backup into an empty database."""

from __future__ import annotations

import msgspec

from ubr.application.backups.installation import OpenInstallation
from ubr.application.backups.manifest import Manifest, chosen
from ubr.application.backups.restoration import RestoredOtherwise, refill
from ubr.application.operations.acknowledge_restore import AcknowledgedRestoreResult, AcknowledgeRestoreCommand
from ubr.application.ports.backups import BackupCipher, BackupFailed, BackupStore, Progress, RestoredDatabase
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import UbrError


class NotAcknowledged(Exception):
    """The backup is restored, but its sessions, links and keys are still valid: `ubr after-restore` is missing.

    The message is the cause, a sentence without its full stop.
    """


class RestoreBackup(msgspec.Struct, frozen=True, kw_only=True):
    """Restore a backup, and end what must not live on.

    - The database must be empty.
    - The whole backup is checked before anything is written.
    - Upgrades the tables to this version, then acknowledges the restore as `ubr after-restore` does: sessions, links
      and signing keys that were revoked since the backup do not become valid again.
    """

    store: BackupStore
    cipher: BackupCipher
    open_installation: OpenInstallation

    async def __call__(
        self, name: str, database: RestoredDatabase, acknowledgement: AcknowledgeRestoreCommand, progress: Progress
    ) -> tuple[Manifest, AcknowledgedRestoreResult]:
        """Errors: `BackupFailed`, `StoreUnavailable`; `NotAcknowledged` if only the last step failed."""
        manifest = chosen(self.store, self.cipher, name)
        try:
            await refill(self.store, self.cipher, manifest, database, progress)
        except RestoredOtherwise as error:
            raise BackupFailed(f"{error}. The database contains the restored rows: do not use it, delete it") from None
        progress("ending sessions", 0, None)
        try:
            async with self.open_installation(database, manifest.database.schema) as ubr:
                return manifest, await ubr.acknowledge_restore(acknowledgement, actor=SYSTEM)
        except UbrError as error:
            raise NotAcknowledged(error.detail) from error
        except BackupFailed as error:
            raise NotAcknowledged(str(error)) from error
