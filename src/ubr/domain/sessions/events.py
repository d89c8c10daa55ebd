"""Events about sessions."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final

from ubr.domain.event_kinds import Event, Facts, Level, SessionEvent, Target
from ubr.domain.ids import MachineKeyId, UserId
from ubr.domain.revocation.changes import Change

EVICTED: Final = "evicted"
"""The cause of an end that no user requested: the user has more sessions than allowed."""


class SessionOpened(SessionEvent, frozen=True, kw_only=True):
    """A successful login. `kind` is a value of `SessionKind`."""

    action = "session.opened"
    message = "A user logged in"
    kind: str
    key_id: MachineKeyId | None = None
    """The key that a machine logged in with."""

    @property
    def subject(self) -> UserId:
        return self.user_id

    def data(self) -> Facts:
        more = {} if self.key_id is None else {"key_id": str(self.key_id)}
        return {"user_id": str(self.user_id), "kind": self.kind, **more}


class SessionRefreshed(SessionEvent, frozen=True, kw_only=True):
    action = "session.refreshed"
    message = "A session was refreshed"

    @property
    def subject(self) -> UserId:
        return self.user_id


class SessionRevoked(SessionEvent, frozen=True, kw_only=True):
    """`cause` is the security event that ended it, a value of `SecurityEvent`."""

    action = "session.revoked"
    message = "A session was revoked"
    cause: str

    @property
    def changes(self) -> tuple[Change, ...]:
        return (Change("session", str(self.session_id)),)

    @property
    def must_propagate(self) -> bool:
        """A login beyond the maximum number of sessions does not wait for the evicted session."""
        return self.cause != EVICTED

    def data(self) -> Facts:
        return {"user_id": str(self.user_id), "cause": self.cause}


class NoSessionRevoked(Event, frozen=True, kw_only=True):
    """A call to end sessions of another user found none to end. An act upon another user is an entry in any case."""

    action = "user.no_session_revoked"
    message = "No session of another user was left to revoke"
    user_id: UserId

    @property
    def target(self) -> Target:
        return Target("user", str(self.user_id))


class TokenReused(SessionEvent, frozen=True, kw_only=True):
    """A spent refresh token was used after its retry window: another client has a copy."""

    action = "session.token_reused"
    message = "A spent refresh token was used again"
    level: ClassVar[Level] = "warning"


class LogInFailed(Event, frozen=True, kw_only=True):
    """`user_id` is None if no account has the e-mail. The typed text is not stored.

    `reason` is for readers of the log alone: `unknown_email`, `no_password` (none is set), `wrong_password`, or
    `disabled` (the password was right). The caller gets the same answer for all of them.
    """

    action = "session.login_failed"
    message = "A login failed"
    level: ClassVar[Level] = "warning"
    user_id: UserId | None
    reason: str

    @property
    def target(self) -> Target | None:
        return None if self.user_id is None else Target("user", str(self.user_id))

    def data(self) -> Facts:
        return {"reason": self.reason}


class LogInLocked(Event, frozen=True, kw_only=True):
    """The last wrong password that an account accepts in a window. Until its end, every password is refused.

    `known_client` is true for a client IP that the account was logged in from, which has its own count: the lock does
    not apply to any other. `user_id` is None if no account has the e-mail.
    """

    action = "session.login_locked"
    message = "An account was locked after too many wrong passwords"
    level: ClassVar[Level] = "warning"
    user_id: UserId | None
    until: datetime
    known_client: bool

    @property
    def target(self) -> Target | None:
        return None if self.user_id is None else Target("user", str(self.user_id))

    def data(self) -> Facts:
        return {"until": self.until.isoformat(), "known_client": self.known_client}
