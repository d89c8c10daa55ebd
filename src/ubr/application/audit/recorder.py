"""Conversion of events to log entries: the only way to write the log, for every store."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from ubr.application.kernel.origin import current_origin
from ubr.application.ports.system import NewId, RandomBytes
from ubr.domain.actor import Actor, System
from ubr.domain.audit.entry import SALT_BYTES, ClientIp, LogEntry
from ubr.domain.events import Event
from ubr.domain.ids import LogEntryId


class Recorder(msgspec.Struct, frozen=True):
    """Makes the entries that a unit of work writes when it commits."""

    new_id: NewId
    random_bytes: RandomBytes

    def entries(self, events: Iterable[Event], *, actor: Actor | System | None, now: datetime) -> list[LogEntry]:
        """One entry for each event, in order, with the origin of the current call."""
        origin = current_origin()
        actor_id, session_id = (actor.user_id, actor.session_id) if isinstance(actor, Actor) else (None, None)
        ip = origin.ip
        return [
            LogEntry.of(
                event,
                id=LogEntryId(self.new_id()),
                actor_id=actor_id,
                ip=None if ip is None else ClientIp(ip=ip, salt=self.random_bytes(SALT_BYTES)),
                request_id=origin.request_id,
                request_id_given=origin.request_id_given,
                now=now,
                session_id=session_id if event.of_one_session else None,
                salt=self.random_bytes(SALT_BYTES),
            )
            for event in events
        ]
