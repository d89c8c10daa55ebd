"""Events about the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final

from ubr.domain.event_kinds import Event, Facts, Level, Target
from ubr.domain.ids import LogEntryId, UserId

# Actions that verification of the log interprets.
LOG_PRUNED: Final = "log.pruned"

LOG_KEY_CREATED: Final = "log_key.created"

LOG_KEY_ROTATED: Final = "log_key.rotated"

RESTORED: Final = "service.restored"

USER_ERASED: Final = "user.erased"


class LogRead(Event, frozen=True, kw_only=True):
    """An actor read a page of the log. `filters` holds the conditions, without free text."""

    action = "log.read"
    message = "Audit log entries were read"
    filters: Facts
    entries: int

    def data(self) -> Facts:
        return {"filters": self.filters, "entries": self.entries}


class LogEntryRead(Event, frozen=True, kw_only=True):
    """An actor read one entry, with its exact bytes and the proof that it is in the log."""

    action = "log.entry_read"
    message = "An audit log entry was read with its proof"
    entry_id: LogEntryId

    @property
    def target(self) -> Target:
        return Target("log_entry", str(self.entry_id))


class LogExported(Event, frozen=True, kw_only=True):
    """An actor started an export of the whole log, up to `size` entries, to a file."""

    action = "log.exported"
    message = "The audit log was exported"
    level: ClassVar[Level] = "warning"
    size: int

    def data(self) -> Facts:
        return {"size": self.size}


class LogPruned(Event, frozen=True, kw_only=True):
    """The content of the entries before index `size` of the tree was deleted. All were older than `before`."""

    action = LOG_PRUNED
    message = "The content of old audit log entries was deleted"
    level: ClassVar[Level] = "warning"
    before: datetime
    size: int
    entries: int

    def data(self) -> Facts:
        return {"before": self.before.isoformat(), "size": self.size, "entries": self.entries}


class LogKeyEvent(Event, frozen=True, kw_only=True):
    """`key` is the text that verifiers accept. `label` is its name and id."""

    label: str
    key: str

    @property
    def target(self) -> Target:
        return Target("log_key", self.label)

    def data(self) -> Facts:
        return {"key": self.key}


class LogKeyCreated(LogKeyEvent, frozen=True, kw_only=True):
    """The first key that signs checkpoints."""

    action = LOG_KEY_CREATED
    message = "The audit log's signing key was created"


class LogKeyRotated(LogKeyEvent, frozen=True, kw_only=True):
    """Describes the new key. Both keys sign the first checkpoint over this entry."""

    action = LOG_KEY_ROTATED
    message = "The audit log's signing key was rotated"
    level: ClassVar[Level] = "warning"
    before: str

    def data(self) -> Facts:
        return {"key": self.key, "before": self.before}


class LogKeyRewrapped(LogKeyEvent, frozen=True, kw_only=True):
    """The key was encrypted with another secret; the key itself did not change."""

    action = "log_key.rewrapped"
    message = "The audit log's signing key was rewrapped"


class Restored(LogKeyEvent, frozen=True, kw_only=True):
    """The database was restored to an earlier state: every session ended, and the log has a new origin and key.

    `before` is the key that signed until then, `checkpoint` the newest known checkpoint of that time: entries between
    this one and its size are lost.
    """

    action = RESTORED
    message = "The database was restored to an earlier state"
    level: ClassVar[Level] = "warning"
    before: str
    checkpoint: str | None

    def data(self) -> Facts:
        return {"key": self.key, "before": self.before, "checkpoint": self.checkpoint}


class ActRefused(Event, frozen=True, kw_only=True):
    """A logged-in user was denied an act, `count` times within a minute, in one or in `several_sessions`."""

    action = "act.refused"
    message = "An action was denied"
    level: ClassVar[Level] = "warning"
    act: str
    problem: str
    count: int
    several_sessions: bool = False

    @property
    def of_one_session(self) -> bool:
        return not self.several_sessions

    def data(self) -> Facts:
        return {"act": self.act, "problem": self.problem, "count": self.count}


class IdempotencyKeyMismatched(Event, frozen=True, kw_only=True):
    """A request had the idempotency key of another one, which created this user, if it created one.

    `mismatches` counts these requests. After a few, the result of the first is forgotten.
    """

    action = "idempotency_key.mismatched"
    message = "A request had the idempotency key of another one"
    level: ClassVar[Level] = "warning"
    user_id: UserId | None
    mismatches: int

    @property
    def target(self) -> Target | None:
        return None if self.user_id is None else Target("user", str(self.user_id))

    def data(self) -> Facts:
        return {"mismatches": self.mismatches}


class RequestsRejected(Event, frozen=True, kw_only=True):
    """Requests that one worker rejected within a minute before authentication, counted by problem code."""

    action = "requests.rejected"
    message = "Requests were rejected"
    counts: dict[str, int]

    def data(self) -> Facts:
        return {"counts": self.counts}
