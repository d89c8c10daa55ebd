"""The note in a backup that it was verified."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from ubr.application.backups.manifest import MAX_MANIFEST
from ubr.application.ports.backups import BackupCipher, BackupFailed, BackupStore

VERIFICATION: Final = "verified.json"


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The newest successful verification of the backup `verified`: its moment, and its recovery time in seconds."""

    verified: str
    at: datetime
    took: float


def write_verification(store: BackupStore, cipher: BackupCipher, verification: Verification) -> None:
    """It replaces an earlier one. Errors: `BackupFailed`."""
    store.put(verification.verified, VERIFICATION, cipher.seal_manifest(msgspec.json.encode(verification)))


def read_verification(store: BackupStore, cipher: BackupCipher, name: str) -> Verification | None:
    """None if the backup was never verified, or if the note was written without the key."""
    try:
        with store.read(name, VERIFICATION) as file:
            sealed = file.read(MAX_MANIFEST)
        found = msgspec.json.decode(cipher.open_manifest(sealed), type=Verification)
    except (BackupFailed, msgspec.DecodeError):
        return None
    return found if found.verified == name else None
