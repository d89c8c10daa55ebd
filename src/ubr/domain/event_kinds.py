"""The base classes of events."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

from ubr.domain.ids import RoleId, SessionId, UserId
from ubr.domain.revocation.changes import Change

Level: TypeAlias = Literal["info", "warning", "error"]

TargetType: TypeAlias = Literal["user", "role", "session", "signing_key", "log_key", "log_entry", "mail"]

Facts: TypeAlias = dict[str, Any]


class Target(msgspec.Struct, frozen=True):
    """The object of an event."""

    type: TargetType
    id: str


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Root of the events. A leaf defines its action (stable, public), its message, its target and its facts."""

    action: ClassVar[str]
    message: ClassVar[str]
    level: ClassVar[Level] = "info"

    @property
    def target(self) -> Target | None:
        return None

    @property
    def subject(self) -> UserId | None:
        """The acting user, if the event itself identifies them: a user who logs in is not authenticated before."""
        return None

    @property
    def of_one_session(self) -> bool:
        """False if the actor caused it in several sessions."""
        return True

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes to identities or permissions that this event causes: change records of the feed."""
        return ()

    @property
    def must_propagate(self) -> bool:
        """True if the answer waits until the changes are known everywhere."""
        return True

    def data(self) -> Facts:
        return {}


class UserEvent(Event, frozen=True, kw_only=True):
    user_id: UserId

    @property
    def changes(self) -> tuple[Change, ...]:
        return (Change("user", str(self.user_id)),)

    @property
    def target(self) -> Target:
        return Target("user", str(self.user_id))


class RoleEvent(Event, frozen=True, kw_only=True):
    role_id: RoleId

    @property
    def changes(self) -> tuple[Change, ...]:
        return (Change("role", str(self.role_id)),)

    @property
    def target(self) -> Target:
        return Target("role", str(self.role_id))


class SessionEvent(Event, frozen=True, kw_only=True):
    session_id: SessionId
    user_id: UserId

    @property
    def target(self) -> Target:
        return Target("session", str(self.session_id))

    def data(self) -> Facts:
        return {"user_id": str(self.user_id)}
