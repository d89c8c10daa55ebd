"""The use cases of a restored database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import msgspec

from ubr.application.audit.compare_checkpoint import CompareCheckpoint
from ubr.application.audit.verify_log import VerifyLog
from ubr.application.backups.check_secrets import CheckSecrets
from ubr.application.operations.acknowledge_restore import AcknowledgeRestore
from ubr.application.ports.backups import RestoredDatabase


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """The use cases that check and change a restored database."""

    check_secrets: CheckSecrets
    compare_checkpoint: CompareCheckpoint
    verify_log: VerifyLog
    acknowledge_restore: AcknowledgeRestore


OpenInstallation: TypeAlias = Callable[[RestoredDatabase, str | None], AbstractAsyncContextManager[Installation]]
"""Upgrades a restored database to this version, and opens it. The second argument is the schema of the tables.

Errors: `BackupFailed` if a newer version of ubr made the tables; `StoreUnavailable`.
"""
