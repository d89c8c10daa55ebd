"""Errors about the audit log."""

from __future__ import annotations

from ubr.domain.error_kinds import Conflict, NotFound, Unavailable


class LogEntryNotFound(NotFound):
    code = "log-entry-not-found"
    title = "There is no such entry of the log"


class CheckpointMismatch(Conflict):
    """The log does not continue a checkpoint that was kept. Only operators compare the two."""


class LogKeyLocked(Unavailable):
    """No secret opens the key that signs the log, so new entries are not protected. Only operators see this error."""

    def __init__(self, label: str) -> None:
        super().__init__(f"No secret key opens the key {label}, which signs the log")
        self.label = label


class LogDamaged(Unavailable):
    """The tree over the log differs from the signed one. Nothing is added to it until an operator has intervened."""

    code = "log-damaged"
    title = "The log is not what was signed"
