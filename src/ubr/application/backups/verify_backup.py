"""Proves that a backup can be restored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ubr.application.audit.compare_checkpoint import CompareCheckpointCommand
from ubr.application.audit.verify_log import VerifyLogCommand
from ubr.application.backups.installation import Installation, OpenInstallation
from ubr.application.backups.manifest import Manifest, chosen
from ubr.application.backups.refill import RestoredOtherwise, refill, sentence_about
from ubr.application.ports.backups import BackupCipher, BackupStore, Progress, ScratchDatabases
from ubr.application.ports.revocation import Elapsed
from ubr.application.ports.system import Clock
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import CheckpointMismatch, Invalid, LogDamaged


@dataclass(frozen=True, slots=True)
class VerifiedBackup:
    """`took` is the time from the first byte to a database that the service could use, with all checks: the recovery
    time. `age` is the time since the backup began: what was written in it would be lost. `entries` is the number of
    verified entries of the audit log.
    """

    manifest: Manifest
    took: timedelta
    age: timedelta
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyBackup:
    """Restore a backup into a database made for this, and check it.

    - The file is the one that was written, and the manifest belongs to it.
    - Rows, tables, constraints and references are as they were.
    - The secrets of this process decrypt the keys and the password hashes.
    - The audit log matches its signatures, and continues the checkpoint in the manifest.
    """

    store: BackupStore
    cipher: BackupCipher
    scratch: ScratchDatabases
    open_installation: OpenInstallation
    clock: Clock
    elapsed: Elapsed

    async def __call__(self, name: str | None, progress: Progress) -> VerifiedBackup:
        """Verify this backup, or the newest. Errors: `BackupFailed`, `StoreUnavailable`."""
        manifest = chosen(self.store, self.cipher, name)
        age, began = self.clock() - manifest.began, self.elapsed()
        async with self.scratch.open(manifest.database.kind) as database:
            await refill(self.store, self.cipher, manifest, database, progress)
            async with self.open_installation(database, manifest.database.schema) as ubr:
                if found := await database.schema_flaws() or await ubr.check_secrets():
                    raise RestoredOtherwise(sentence_about(manifest, found))
                entries = await self._verify_log(ubr, manifest, progress)
            took = timedelta(seconds=self.elapsed() - began)
        return VerifiedBackup(manifest, took, age, entries)

    async def _verify_log(self, ubr: Installation, manifest: Manifest, progress: Progress) -> int:
        checkpoint = manifest.database.checkpoint
        notes = () if checkpoint is None else (checkpoint.note,)
        try:
            for note in notes:
                # Also signs the entries that were queued, which a later check would count as queued since the backup.
                await ubr.compare_checkpoint(CompareCheckpointCommand(checkpoint=note), actor=SYSTEM)
            result = await ubr.verify_log(
                VerifyLogCommand(checkpoints=notes),
                actor=SYSTEM,
                progress=lambda done, of: progress("verifying the audit log", done, of),
            )
        except (CheckpointMismatch, LogDamaged, Invalid) as error:
            raise RestoredOtherwise(sentence_about(manifest, [f"The audit log: {error.detail}"])) from None
        if result.finding is not None:
            raise RestoredOtherwise(sentence_about(manifest, [f"The audit log: {result.finding}"]))
        return result.size
