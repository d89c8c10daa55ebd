"""Errors about the log."""

from __future__ import annotations

from ubr.domain.error_kinds import Conflict, NotFound, Unavailable


class LogEntryNotFound(NotFound):
    code = "log-entry-not-found"
    title = "There is no such entry of the log"


class CheckpointMismatch(Conflict):
    """The log is not the continuation of a checkpoint that was kept. Only operators compare the two."""


class LogKeyLocked(Unavailable):
    """No secret opens the key that signs the log, so nothing new in it is protected. Only operators are told which."""

    code = "log-key-locked"
    title = "The log cannot be signed"

    def __init__(self, label: str) -> None:
        super().__init__(f"No secret key opens the key {label}, which signs the log")
        self.label = label


class LogDamaged(Unavailable):
    """The tree over the log is not the one that was signed. Nothing is added to it until an operator has looked."""

    code = "log-damaged"
    title = "The log is not what was signed"
