"""A log entry and its canonical bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec

from ubr.domain.audit.merkle import leaf_hash
from ubr.domain.event_kinds import Event, Facts, Level, Target
from ubr.domain.events import actor_of
from ubr.domain.ids import LogEntryId, SessionId, UserId

CANONICAL_VERSION: Final = 1
SALT_BYTES: Final = 16

SESSION: Final = "session_id"
"""The name in `data` of the session in which the actor did it."""

_DIGEST: Final = "sha256:"
"""The beginning of a digest. No client IP begins with it."""

_MOMENT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


class ClientIp(msgspec.Struct, frozen=True, kw_only=True):
    """The client IP of an entry, and the 128 random bits of its digest. Both are stored beside the entry.

    The entry contains only the digest: SHA-256 over the random bits and the text of the client IP. So the hash of the
    entry stays the same when the client IP is erased, and the digest then reveals nothing.
    """

    ip: str
    salt: bytes

    @property
    def digest(self) -> str:
        return _DIGEST + hashlib.sha256(self.salt + self.ip.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """A record of an event: time, actor, target and origin.

    `data` is the text of a JSON object in canonical form (sorted keys, no white space), kept as text so that no storage
    can change a byte of it. `salt` is 128 random bits: once the content is gone, a digest of the entry reveals nothing.
    `request_id_given` marks a request id that the client chose. `format` is the version of its canonical bytes.
    The session in which the actor did it is a part of `data`, under `SESSION`: the canonical bytes have no other place.

    `ip` is the digest of the client IP; in entries of earlier versions, the client IP itself. `client_ip` is not part
    of the entry: None if there is none, if it was erased, or if it was not read.
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
    client_ip: ClientIp | None = field(default=None, compare=False)

    @classmethod
    def of(
        cls,
        event: Event,
        *,
        id: LogEntryId,
        actor_id: UserId | None,
        ip: ClientIp | None,
        request_id: str | None,
        request_id_given: bool,
        now: datetime,
        salt: bytes,
        session_id: SessionId | None = None,
    ) -> LogEntry:
        """The entry that records an event."""
        actor = actor_of(event, actor_id)
        data = event.data()
        if session_id is not None:
            data = {**data, SESSION: str(session_id)}
        return cls(
            id=id,
            level=event.level,
            action=event.action,
            message=event.message,
            timestamp=now,
            actor_id=actor,
            target=event.target,
            ip=None if ip is None else ip.digest,
            request_id=request_id,
            request_id_given=request_id_given,
            data=canonical_json(data),
            salt=salt,
            client_ip=ip,
        )

    def canonical(self) -> bytes:
        """The canonical bytes of this entry: version, then each field in a fixed order, prefixed with its length.

        The format is fixed since the first migration; a different format gets a different version. A field is its
        length in bytes as four big-endian bytes, then its UTF-8; an absent field is `ff ff ff ff` alone.
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
        # Only one format exists. Any other stored value must give different bytes, and must not fail here.
        version = min(max(self.format, 0), 255)
        return bytes([version]) + b"".join(map(_prefixed, fields))

    @property
    def known_ip(self) -> str | None:
        """The client IP; None if there is none, or if it was erased."""
        if self.client_ip is not None:
            return self.client_ip.ip
        return None if self._has_digest else self.ip

    @property
    def lacks_ip(self) -> bool:
        """True if the client IP was erased."""
        return self._has_digest and self.client_ip is None

    @property
    def has_wrong_ip(self) -> bool:
        """True if the client IP beside the entry is not the one of its digest.

        The digest does not say where the random bits end: with one byte more of them, `92.0.2.1` has that of
        `192.0.2.1`. So their number counts.
        """
        kept = self.client_ip
        return kept is not None and (len(kept.salt) != SALT_BYTES or kept.digest != self.ip)

    @property
    def person(self) -> str | None:
        """The id of the user whom the client IP is counted to: the actor, otherwise the user that the entry is about.

        A failed login has no actor, and neither has the end of a session for which there is no more room.
        """
        if self.actor_id is not None:
            return str(self.actor_id)
        if self.target is not None and self.target.type == "user":
            return self.target.id
        if self.target is not None and self.target.type == "session":
            facts: object = self.facts
            owner = facts.get("user_id") if isinstance(facts, dict) else None
            return owner if isinstance(owner, str) else None
        return None

    @property
    def _has_digest(self) -> bool:
        return isinstance(self.ip, str) and self.ip.startswith(_DIGEST)

    @property
    def leaf(self) -> bytes:
        """The hash of this entry in the tree."""
        return leaf_hash(self.canonical())

    @property
    def in_order(self) -> bool:
        """True if every field has its type. Imported entries may have fields of other types."""
        texts = [self.level, self.action, self.message]
        texts += [text for text in (self.ip, self.request_id) if text is not None]
        texts += [] if self.target is None else [self.target.type, self.target.id]
        kinds = [isinstance(text, str) for text in texts]
        kinds += [isinstance(self.request_id_given, bool), type(self.format) is int]
        if self.client_ip is not None:
            kinds += [isinstance(self.client_ip.ip, str), isinstance(self.client_ip.salt, bytes)]
        return all(kinds) and self.timestamp.tzinfo is not None  # a moment outside the calendar is read without a zone

    @property
    def facts(self) -> Facts:
        """The content of `data`. Errors: `ValueError` if it is not JSON, and therefore not as written."""
        try:
            facts: Facts = json.loads(self.data)
        except RecursionError:
            raise ValueError("The data of an entry is nested too deeply") from None
        return facts

    @property
    def session_id(self) -> SessionId | None:
        """The session in which the actor did it; None if there was none, or if `data` is not as written."""
        try:
            found = self.facts
            return SessionId(UUID(found[SESSION])) if SESSION in found else None
        except (ValueError, TypeError, AttributeError):
            return None

    def exported(self) -> Facts:
        """The complete entry as a JSON object, which `imported` reads."""
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
        """Errors: `ValueError` if an object was not made by `exported`."""
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
    """The one canonical text of these facts."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _prefixed(value: str | bytes | None) -> bytes:
    if value is None:
        return b"\xff\xff\xff\xff"
    raw = value if isinstance(value, bytes) else value.encode()
    return len(raw).to_bytes(4, "big") + raw
