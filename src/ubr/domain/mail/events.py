"""Events about mail."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from ubr.domain.event_kinds import Event, Facts, Level, Target


class MailEvent(Event, frozen=True, kw_only=True):
    queued_id: UUID
    kind: str

    @property
    def target(self) -> Target:
        return Target("mail", str(self.queued_id))

    def data(self) -> Facts:
        return {"kind": self.kind}


class MailGivenUp(MailEvent, frozen=True, kw_only=True):
    """The mail could not be sent and will not be retried. `why` contains neither its content nor its recipient."""

    action = "mail.given_up"
    message = "A mail could not be sent"
    level: ClassVar[Level] = "warning"
    why: str

    def data(self) -> Facts:
        return {"kind": self.kind, "why": self.why}


class MailRetried(MailEvent, frozen=True, kw_only=True):
    action = "mail.retried"
    message = "A failed mail was queued again"
