"""Errors about the audit log."""

from __future__ import annotations

from ubr.domain.error_kinds import Conflict, NotFound, Unavailable


class LogEntryNotFound(NotFound):
    code = "log-entry-not-found"
    title = "Audit log entry not found"


class CheckpointMismatch(Conflict):
    """The log does not continue a saved checkpoint. Only operators compare the two."""


class LogPrunedMeanwhile(Conflict):
    """The log was pruned while it was exported: entries would be missing from the export without a record of it."""


class EventsMissing(Conflict):
    """Events after a position are deleted, or the position belongs to another log. The reader has missed some."""


class LogKeyLocked(Unavailable):
    """No secret decrypts the log's signing key, so new entries are unprotected. Only operators see which key."""

    code = "log-key-locked"
    title = "The audit log cannot be signed"

    def __init__(self, label: str) -> None:
        super().__init__(f"No secret key decrypts the key {label}, which signs the log")
        self.label = label


class LogDamaged(Unavailable):
    """The log's tree does not match its signature. Nothing is added to it until an operator investigates."""

    code = "log-damaged"
    title = "The audit log does not match its signatures"
