"""A session: one logged-in client of one user, kept alive by a chain of single-use refresh tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from ubr.domain.event_kinds import Event
from ubr.domain.ids import SessionId, TokenDigest, UserId
from ubr.domain.sessions.events import SessionOpened, SessionRefreshed, SessionRevoked, TokenReused
from ubr.domain.sessions.termination import SecurityEvent

RETRY_WINDOW: Final = timedelta(seconds=10)
"""How long a new refresh token is returned again to a caller who has the token before it: a response may be lost."""


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Idle timeout, maximum lifetime, and maximum number of sessions of one user."""

    idle: timedelta
    lifetime: timedelta
    per_user: int


@dataclass(slots=True, kw_only=True)
class Session:
    """State of a session. `expires_at` is its absolute end; `idle_expires_at` moves with each refresh."""

    id: SessionId
    user_id: UserId
    created_at: datetime
    last_seen_at: datetime
    idle_expires_at: datetime
    expires_at: datetime
    ip: str | None
    user_agent: str | None
    ended_at: datetime | None = None
    events: list[Event] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def open(
        cls,
        *,
        id: SessionId,
        user_id: UserId,
        limits: SessionLimits,
        ip: str | None,
        user_agent: str | None,
        now: datetime,
    ) -> Session:
        """A user logged in."""
        session = cls(
            id=id,
            user_id=user_id,
            created_at=now,
            last_seen_at=now,
            idle_expires_at=min(now + limits.idle, now + limits.lifetime),
            expires_at=now + limits.lifetime,
            ip=ip,
            user_agent=user_agent,
        )
        session.events.append(SessionOpened(session_id=id, user_id=user_id))
        return session

    def live_at(self, now: datetime) -> bool:
        return self.ended_at is None and now < self.idle_expires_at and now < self.expires_at

    def refresh(self, *, limits: SessionLimits, now: datetime, log_all: bool = True) -> None:
        """Its refresh token was exchanged: the session is in use, and its idle end moves.

        Without `log_all`, only the first refresh of a UTC day is an event, and none on the day of the login.
        """
        first_today = now.astimezone(UTC).date() != self.last_seen_at.astimezone(UTC).date()
        self.last_seen_at = now
        self.idle_expires_at = min(now + limits.idle, self.expires_at)
        if log_all or first_today:
            self.events.append(SessionRefreshed(session_id=self.id, user_id=self.user_id))

    def end(self, cause: SecurityEvent, *, now: datetime) -> None:
        """End the session permanently. A second call does nothing."""
        if self.ended_at is not None:
            return
        self.ended_at = now
        if cause is SecurityEvent.TOKEN_REUSED:
            self.events.append(TokenReused(session_id=self.id, user_id=self.user_id))
        self.events.append(SessionRevoked(session_id=self.id, user_id=self.user_id, cause=cause.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """One token in a session's chain, identified by its digest.

    `spent_at` is None until it is spent. `successor` is the next token, encrypted under a key that only the spent
    token yields: it can be returned again within the retry window, and is erased afterwards. `names_session` is
    true if the token itself proves that it belonged to the session, so that its row can be deleted after its use.
    """

    digest: TokenDigest
    session_id: SessionId
    issued_at: datetime
    spent_at: datetime | None = None
    names_session: bool = False
    successor: bytes | None = field(default=None, repr=False)
