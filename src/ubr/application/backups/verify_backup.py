"""Proves that a backup can be restored."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from ubr.application.audit.compare_checkpoint import CompareCheckpointCommand
from ubr.application.audit.verify_log import VerifyLogCommand
from ubr.application.backups.installation import Installation, OpenInstallation
from ubr.application.backups.manifest import Manifest, chosen
from ubr.application.backups.restoration import RestoredOtherwise, refill, sentence_about
from ubr.application.backups.verification import Verification, write_verification
from ubr.application.ports.backups import (
    BackupCipher,
    BackupFailed,
    BackupStore,
    Progress,
    RestoredDatabase,
    ScratchDatabases,
)
from ubr.application.ports.revocation import Elapsed
from ubr.application.ports.system import Clock
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import CheckpointMismatch, Invalid, LogDamaged


class VerifiedBackup(msgspec.Struct, frozen=True):
    """`took` is the time from the first byte to a database that the service could use, with all checks: the recovery
    time. `age` is the time since the backup began: what was written in it would be lost. `entries` is the number of
    verified entries of the audit log. `not_noted` is why the verification could not be noted in the backup, or None.
    """

    manifest: Manifest
    took: timedelta
    age: timedelta
    entries: int
    not_noted: str | None


class VerifyBackup(msgspec.Struct, frozen=True, kw_only=True):
    """Restore a backup into a database made for this, and check it.

    - The file is the one that was written, and the manifest belongs to it.
    - Rows, tables, constraints and references are as they were.
    - Tables, indexes, constraints, triggers and functions are those that the migrations of this version make.
    - The secrets of this process decrypt the keys and the password hashes.
    - The audit log matches its signatures, and continues the checkpoint in the manifest.
    - The backup gets a note about this, which is authenticated like its manifest. A place may deny the note.
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
                entries, found = await self._verify_log(ubr, manifest, progress)
                if found := found + await self._other_definitions(database, manifest):
                    raise RestoredOtherwise(sentence_about(manifest, found))
            took = timedelta(seconds=self.elapsed() - began)
        return VerifiedBackup(manifest, took, age, entries, self._note(manifest, took))

    def _note(self, manifest: Manifest, took: timedelta) -> str | None:
        verification = Verification(verified=manifest.name, at=self.clock(), took=round(took.total_seconds(), 3))
        try:
            write_verification(self.store, self.cipher, verification)
        except BackupFailed as error:
            return str(error)
        return None

    async def _other_definitions(self, database: RestoredDatabase, manifest: Manifest) -> list[str]:
        """A sentence about each trigger, function and so on that the migrations of this version make otherwise."""
        dumped = manifest.database
        async with self.scratch.migrated(dumped.kind, dumped.schema) as reference:
            expected = await reference.definitions()
        actual = await database.definitions()
        return [
            *(f"The {name} is missing" for name in sorted(expected.keys() - actual.keys())),
            *(f"The {name} is not one of ubr" for name in sorted(actual.keys() - expected.keys())),
            *(
                f"The {name} is not that of this version"
                for name in sorted(expected.keys() & actual.keys())
                if expected[name] != actual[name]
            ),
        ]

    async def _verify_log(self, ubr: Installation, manifest: Manifest, progress: Progress) -> tuple[int, list[str]]:
        """The number of entries, and what is wrong with them."""
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
            return 0, [f"The audit log: {error.detail}"]
        return result.size, [] if result.finding is None else [f"The audit log: {result.finding}"]
