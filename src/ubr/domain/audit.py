"""An entry of the log, and the bytes it is known by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ubr.domain.events import Event, Facts, Level, Target, actor_of
from ubr.domain.values import LogEntryId, UserId

CANONICAL_VERSION: Final = 1
SALT_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """What happened, when, by whom, to what, from where.

    `data` is the text of a JSON object in canonical form (sorted keys, no white space), kept as text so that no
    storage can change a byte of it. `salt` is 128 random bits: a digest of the entry tells nothing once its content is
    gone. `request_id_given` marks a request id that the client chose.
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
            self.timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            None if self.actor_id is None else str(self.actor_id),
            None if self.target is None else self.target.type,
            None if self.target is None else self.target.id,
            self.ip,
            self.request_id,
            "1" if self.request_id_given else "0",
            self.data,
            self.salt,
        )
        return bytes([CANONICAL_VERSION]) + b"".join(map(_prefixed, fields))


def canonical_json(facts: Facts) -> str:
    """One text for one set of facts."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _prefixed(value: str | bytes | None) -> bytes:
    if value is None:
        return b"\xff\xff\xff\xff"
    raw = value if isinstance(value, bytes) else value.encode()
    return len(raw).to_bytes(4, "big") + raw
