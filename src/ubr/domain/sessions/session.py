"""A session: one logged-in client of one user.

A chain of single-use refresh tokens keeps it alive, or, in a browser, requests with its cookie.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hmac import compare_digest
from typing import Final

import msgspec

from ubr.domain.event_kinds import Event
from ubr.domain.ids import MachineKeyId, SessionId, TokenDigest, UserId
from ubr.domain.sessions.events import SessionOpened, SessionRefreshed, SessionRevoked, TokenReused
from ubr.domain.sessions.termination import SecurityEvent

RETRY_WINDOW: Final = timedelta(seconds=10)
"""How long a new refresh token is returned again to a caller who has the token before it: a response may be lost."""


MAX_RENEWAL_INTERVAL: Final = timedelta(minutes=10)
"""A client with tokens refreshes as often, by default."""
_RENEWALS: Final = 10
"""A session with a cookie ends before its idle time by at most one part of so many."""


class SessionKind(StrEnum):
    """How a client shows that it is in the session. The values are stable: the log stores them."""

    TOKENS = "tokens"
    BROWSER = "browser"
    """With a cookie."""
    MACHINE = "machine"
    """With access tokens, for which a key was exchanged."""


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Idle timeout, maximum lifetime, and maximum number of sessions of one user."""

    idle: timedelta
    lifetime: timedelta
    per_user: int

    @property
    def renewal_interval(self) -> timedelta:
        """How old the last known use of a session with a cookie gets before another use is stored."""
        return min(MAX_RENEWAL_INTERVAL, self.idle / _RENEWALS)


@dataclass(slots=True, kw_only=True)
class Session:
    """State of a session. `expires_at` is its absolute end; `idle_expires_at` moves with each refresh.

    `cookie_digest` is the digest of its one valid cookie; None for a session with tokens.
    A machine's session has the key that opened it. `scope` limits the permissions of the session to these, separated
    by spaces; None does not limit them.
    """

    id: SessionId
    user_id: UserId
    created_at: datetime
    last_seen_at: datetime
    idle_expires_at: datetime
    expires_at: datetime
    ip: str | None
    user_agent: str | None
    ended_at: datetime | None = None
    cookie_digest: TokenDigest | None = field(default=None, repr=False)
    key_id: MachineKeyId | None = None
    scope: str | None = None
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
        cookie_digest: TokenDigest | None = None,
        key_id: MachineKeyId | None = None,
        scope: str | None = None,
        until: datetime | None = None,
    ) -> Session:
        """A user logged in. The session lasts until the given moment at most."""
        end = now + limits.lifetime if until is None else min(until, now + limits.lifetime)
        session = cls(
            id=id,
            user_id=user_id,
            created_at=now,
            last_seen_at=now,
            idle_expires_at=min(now + limits.idle, end),
            expires_at=end,
            ip=ip,
            user_agent=user_agent,
            cookie_digest=cookie_digest,
            key_id=key_id,
            scope=scope,
        )
        session.events.append(SessionOpened(session_id=id, user_id=user_id, kind=session.kind.value, key_id=key_id))
        return session

    @property
    def kind(self) -> SessionKind:
        if self.key_id is not None:
            return SessionKind.MACHINE
        return SessionKind.TOKENS if self.cookie_digest is None else SessionKind.BROWSER

    def has_cookie(self, digest: TokenDigest) -> bool:
        """True if this is the digest of its cookie. Takes the same time for every other digest."""
        return self.cookie_digest is not None and compare_digest(self.cookie_digest, digest)

    def due_for_renewal(self, *, limits: SessionLimits, now: datetime) -> bool:
        """True if a use of it now has to be stored."""
        return now - self.last_seen_at >= limits.renewal_interval

    @property
    def usable_until(self) -> datetime:
        """Its end, unless it is used before."""
        return min(self.idle_expires_at, self.expires_at)

    def live_at(self, now: datetime) -> bool:
        return self.ended_at is None and now < self.idle_expires_at and now < self.expires_at

    def refresh(self, *, limits: SessionLimits, now: datetime, log_all: bool = True) -> None:
        """It is in use, by an exchange of its refresh token or with its cookie: its idle end moves.

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
