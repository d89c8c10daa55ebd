"""An entry of the log, and the bytes it is known by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from ubr.domain.audit.merkle import leaf_hash
from ubr.domain.event_kinds import Event, Facts, Level, Target
from ubr.domain.events import actor_of
from ubr.domain.ids import LogEntryId, UserId

CANONICAL_VERSION: Final = 1
SALT_BYTES: Final = 16

_MOMENT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """What happened, when, by whom, to what, from where.

    `data` is the text of a JSON object in canonical form (sorted keys, no white space), kept as text so that no
    storage can change a byte of it. `salt` is 128 random bits: a digest of the entry tells nothing once its content is
    gone. `request_id_given` marks a request id that the client chose. `format` is the version of its canonical bytes.
    """

    id: LogEntryId
    level: Level
    action: str
    message: str
    timestamp: datetime
    actor_id: UserId | None
    target: Target | None
    ip: str | None
    request_id: str | None
    request_id_given: bool
    data: str
    salt: bytes
    format: int = CANONICAL_VERSION

    @classmethod
    def of(
        cls,
        event: Event,
        *,
        id: LogEntryId,
        actor_id: UserId | None,
        ip: str | None,
        request_id: str | None,
        request_id_given: bool,
        now: datetime,
        salt: bytes,
    ) -> LogEntry:
        """The entry that records an event."""
        actor = actor_of(event, actor_id)
        return cls(
            id=id,
            level=event.level,
            action=event.action,
            message=event.message,
            timestamp=now,
            actor_id=actor,
            target=event.target,
            ip=ip,
            request_id=request_id,
            request_id_given=request_id_given,
            data=canonical_json(event.data()),
            salt=salt,
        )

    def canonical(self) -> bytes:
        """The bytes that stand for this entry: version, then each field in a fixed order, its length before it.

        The format is fixed from the first migration on; another one gets another version. A field is UTF-8 behind its
        length in bytes as four big-endian bytes; one that is absent is `ff ff ff ff` alone.
        """
        fields = (
            str(self.id),
            self.level,
            self.action,
            self.message,
            self.timestamp.astimezone(UTC).strftime(_MOMENT),
            None if self.actor_id is None else str(self.actor_id),
            None if self.target is None else self.target.type,
            None if self.target is None else self.target.id,
            self.ip,
            self.request_id,
            "1" if self.request_id_given else "0",
            self.data,
            self.salt,
        )
        # There is one format yet. Whatever else stands in the store must give other bytes, and must not fail here.
        version = min(max(self.format, 0), 255)
        return bytes([version]) + b"".join(map(_prefixed, fields))

    @property
    def leaf(self) -> bytes:
        """The hash of this entry in the tree."""
        return leaf_hash(self.canonical())

    @property
    def in_order(self) -> bool:
        """Whether every field is of its type. In what comes from elsewhere some may not be."""
        texts = [self.level, self.action, self.message]
        texts += [text for text in (self.ip, self.request_id) if text is not None]
        texts += [] if self.target is None else [self.target.type, self.target.id]
        kinds = [isinstance(text, str) for text in texts]
        kinds += [isinstance(self.request_id_given, bool), type(self.format) is int]
        return all(kinds) and self.timestamp.tzinfo is not None  # what lies beyond all calendars comes without

    @property
    def facts(self) -> Facts:
        """What `data` holds. Errors: `ValueError` where it is no JSON, and so not what was written."""
        try:
            facts: Facts = json.loads(self.data)
        except RecursionError:
            raise ValueError("The data of an entry is nested too deeply") from None
        return facts

    def exported(self) -> Facts:
        """All of it as an object of JSON, from which `imported` makes it again."""
        try:
            data: object = self.facts
        except ValueError:
            data = self.data
        return {
            "id": str(self.id),
            "format": self.format,
            "level": self.level,
            "action": self.action,
            "message": self.message,
            "timestamp": self.timestamp.astimezone(UTC).strftime(_MOMENT),
            "actor_id": None if self.actor_id is None else str(self.actor_id),
            "target": None if self.target is None else {"type": self.target.type, "id": self.target.id},
            "ip": self.ip,
            "request_id": self.request_id,
            "request_id_given": self.request_id_given,
            "data": data,
            "salt": self.salt.hex(),
        }

    @classmethod
    def imported(cls, record: Facts) -> LogEntry:
        """Errors: `ValueError` where an object is not one that `exported` makes."""
        try:
            target, actor_id = record["target"], record["actor_id"]
            entry = cls(
                id=LogEntryId(UUID(record["id"])),
                level=record["level"],
                action=record["action"],
                message=record["message"],
                timestamp=datetime.strptime(record["timestamp"], _MOMENT).replace(tzinfo=UTC),
                actor_id=None if actor_id is None else UserId(UUID(actor_id)),
                target=None if target is None else Target(target["type"], target["id"]),
                ip=record["ip"],
                request_id=record["request_id"],
                request_id_given=record["request_id_given"],
                data=canonical_json(record["data"]),
                salt=bytes.fromhex(record["salt"]),
                format=record["format"],
            )
        except (KeyError, TypeError, AttributeError, RecursionError):
            raise ValueError("This is not a log entry") from None
        if not entry.in_order or entry.exported() != record:
            raise ValueError("This is not a log entry")
        return entry


def canonical_json(facts: Facts) -> str:
    """One text for one set of facts."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _prefixed(value: str | bytes | None) -> bytes:
    if value is None:
        return b"\xff\xff\xff\xff"
    raw = value if isinstance(value, bytes) else value.encode()
    return len(raw).to_bytes(4, "big") + raw
