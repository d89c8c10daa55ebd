"""Maps the entries and the keys of the log to rows and back. Stored values are trusted and not parsed again."""

from __future__ import annotations

from typing import Any, Final, cast

from ubr.adapters.sql.rows import Values, positions
from ubr.adapters.sql.statements import Row
from ubr.adapters.sql.tables import log_keys, logs
from ubr.domain.audit.checkpoint import LogKey
from ubr.domain.audit.entry import ClientIp, LogEntry
from ubr.domain.events import Target

_LOGS: Final = positions(logs)
_LOGS_END: Final = len(logs.columns)
_LOG_KEYS: Final = positions(log_keys)


def entry_to_row(entry: LogEntry) -> Values:
    return {
        "id": entry.id,
        "format": entry.format,
        "level": entry.level,
        "action": entry.action,
        "message": entry.message,
        "timestamp": entry.timestamp,
        "actor_id": entry.actor_id,
        "target_type": None if entry.target is None else entry.target.type,
        "target_id": None if entry.target is None else entry.target.id,
        "ip": entry.ip,
        "request_id": entry.request_id,
        "request_id_given": entry.request_id_given,
        "session_id": entry.session_id,
        "data": entry.data,
        "salt": entry.salt,
    }


def client_ip_to_row(entry: LogEntry, client_ip: ClientIp) -> Values:
    return {"entry_id": entry.id, "client_ip": client_ip.ip, "client_ip_salt": client_ip.salt}


def entry_from_row(row: Row) -> LogEntry:
    """An entry. A row may end with the client IP and its random bits, both None if there are none."""
    c = _LOGS
    ip, ip_salt = row[_LOGS_END:] or (None, None)
    target_type, target_id = row[c.target_type], row[c.target_id]
    return LogEntry(
        id=row[c.id],
        level=row[c.level],
        action=row[c.action],
        message=row[c.message],
        timestamp=row[c.timestamp],
        actor_id=row[c.actor_id],
        # The service never writes one without the other. If one is missing, the tampering must be visible.
        target=None if target_type is target_id is None else Target(cast("Any", target_type or ""), target_id or ""),
        ip=row[c.ip],
        request_id=row[c.request_id],
        request_id_given=row[c.request_id_given],
        data=row[c.data],
        salt=row[c.salt],
        format=row[c.format],
        # The service never writes one without the other, as above.
        client_ip=None if ip is ip_salt is None else ClientIp(ip=ip or "", salt=ip_salt or b""),
    )


def log_key_to_row(key: LogKey) -> Values:
    return {
        "number": key.number,
        "name": key.name,
        "public": key.public,
        "private": key.private,
        "created_at": key.created_at,
    }


def log_key_from_row(row: Row) -> LogKey:
    c = _LOG_KEYS
    return LogKey(
        number=row[c.number],
        name=row[c.name],
        public=row[c.public],
        private=row[c.private],
        created_at=row[c.created_at],
    )
