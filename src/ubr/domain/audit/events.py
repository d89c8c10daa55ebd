"""Events about the log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from ubr.domain.event_kinds import Event, Facts, Level, Target
from ubr.domain.ids import LogEntryId

# Those that say something to whoever checks the log.
LOG_PRUNED: Final = "log.pruned"

LOG_KEY_CREATED: Final = "log_key.created"

LOG_KEY_ROTATED: Final = "log_key.rotated"

RESTORED: Final = "service.restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRead(Event):
    """Somebody read a page of the log. `filters` are the conditions, without anything that was typed freely."""

    action = "log.read"
    message = "Audit log entries were read"
    filters: Facts
    entries: int

    def data(self) -> Facts:
        return {"filters": self.filters, "entries": self.entries}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntryRead(Event):
    """Somebody read one entry, to the byte, with the proof that it is in the log."""

    action = "log.entry_read"
    message = "An audit log entry was read with its proof"
    entry_id: LogEntryId

    @property
    def target(self) -> Target:
        return Target("log_entry", str(self.entry_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogExported(Event):
    """Somebody began to write the whole log, up to `size` entries, into a file."""

    action = "log.exported"
    message = "The audit log was exported"
    level: ClassVar[Level] = "warning"
    size: int

    def data(self) -> Facts:
        return {"size": self.size}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPruned(Event):
    """The content of the entries before number `size` of the tree is gone. All of them were older than `before`."""

    action = LOG_PRUNED
    message = "The content of old audit log entries was deleted"
    level: ClassVar[Level] = "warning"
    before: datetime
    size: int
    entries: int

    def data(self) -> Facts:
        return {"before": self.before.isoformat(), "size": self.size, "entries": self.entries}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeyEvent(Event):
    """`key` is the text that verifiers take. `label` is its name and id."""

    label: str
    key: str

    @property
    def target(self) -> Target:
        return Target("log_key", self.label)

    def data(self) -> Facts:
        return {"key": self.key}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeyCreated(LogKeyEvent):
    """The first key that signs checkpoints."""

    action = LOG_KEY_CREATED
    message = "The audit log's signing key was created"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeyRotated(LogKeyEvent):
    """About the key that comes. The first checkpoint over this entry is signed by both."""

    action = LOG_KEY_ROTATED
    message = "The audit log's signing key was rotated"
    level: ClassVar[Level] = "warning"
    before: str

    def data(self) -> Facts:
        return {"key": self.key, "before": self.before}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeyRewrapped(LogKeyEvent):
    """Sealed with another secret; the key itself is what it was."""

    action = "log_key.rewrapped"
    message = "The audit log's signing key was rewrapped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored(LogKeyEvent):
    """An older state of the database was put in place: every session ended, and the log has another origin and key.

    `before` is the key that signed until then, `checkpoint` the newest that is known of that time: what lies between
    this entry and its size is lost.
    """

    action = RESTORED
    message = "The database was restored to an earlier state"
    level: ClassVar[Level] = "warning"
    before: str
    checkpoint: str | None

    def data(self) -> Facts:
        return {"key": self.key, "before": self.before, "checkpoint": self.checkpoint}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActRefused(Event):
    """Somebody logged in asked for what they may not do, `count` times within a minute."""

    action = "act.refused"
    message = "An action was denied"
    level: ClassVar[Level] = "warning"
    act: str
    problem: str
    count: int

    def data(self) -> Facts:
        return {"act": self.act, "problem": self.problem, "count": self.count}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsRejected(Event):
    """What one worker turned away within a minute before it knew who asked, by the name of the problem."""

    action = "requests.rejected"
    message = "Requests were rejected"
    counts: dict[str, int]

    def data(self) -> Facts:
        return {"counts": self.counts}
