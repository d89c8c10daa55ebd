"""Sessions, their refresh tokens and principals, on drafts of the tables."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from ubr.adapters.memory.paging import cut
from ubr.adapters.memory.store import Drafts, copy_user
from ubr.application.ports.paging import After
from ubr.application.ports.sessions import TOKENS_EACH, ForgottenSessions, Principal
from ubr.domain.events import Event
from ubr.domain.ids import SessionId, TokenDigest, UserId
from ubr.domain.machines.key import MachineKey
from ubr.domain.sessions.session import RefreshToken, Session
from ubr.domain.sessions.termination import SecurityEvent


def forget_sessions(drafts: Drafts, session_ids: set[SessionId]) -> None:
    """Delete sessions with their refresh tokens."""
    for session_id in session_ids:
        drafts.sessions.drop(session_id)
    for token in list(drafts.refresh_tokens):
        if token.session_id in session_ids:
            drafts.refresh_tokens.drop(token.digest)


class MemorySessions:
    def __init__(self, drafts: Drafts, events: list[Event]) -> None:
        self._drafts = drafts
        self._events = events

    async def get(self, session_id: SessionId) -> Session | None:
        session = self._drafts.sessions.get(session_id)
        return None if session is None else replace(session, events=[])

    async def page(self, user_id: UserId, now: datetime, after: After[datetime] | None, limit: int) -> list[Session]:
        rows = ((session.created_at, session.id, session) for session in self._live(user_id, now))
        return [replace(session, events=[]) for session in cut(rows, after, limit, newest=True)]

    async def count(self, user_id: UserId, now: datetime) -> int:
        return len(self._live(user_id, now))

    async def add(self, session: Session) -> None:
        self._write(session)

    async def open(self, session: Session, token: RefreshToken) -> None:
        self._write(session)
        self._drafts.refresh_tokens.put(token.digest, token)

    async def save(self, session: Session) -> None:
        if self._drafts.sessions.get(session.id) is not None:
            self._write(session)

    async def end_of(
        self, user_id: UserId, cause: SecurityEvent, now: datetime, *, spared: SessionId | None = None
    ) -> int:
        return self._end([session for session in self._live(user_id, now) if session.id != spared], cause, now)

    async def of_key(self, key: MachineKey, scope: str | None, now: datetime) -> SessionId | None:
        found = [session for session in self._live_of_key(key, now) if session.scope == scope]
        return max(found, key=_age).id if found else None

    async def end_of_key(self, key: MachineKey, cause: SecurityEvent, now: datetime) -> int:
        return self._end(self._live_of_key(key, now), cause, now)

    async def shorten(self, key: MachineKey, until: datetime, now: datetime) -> None:
        for session in self._live_of_key(key, now):
            if session.expires_at > until:
                idle = min(session.idle_expires_at, until)
                self._write(replace(session, expires_at=until, idle_expires_at=idle, events=[]))

    def _live_of_key(self, key: MachineKey, now: datetime) -> list[Session]:
        return [session for session in self._live(key.user_id, now) if session.key_id == key.id]

    async def evict(self, user_id: UserId, now: datetime, *, keep: int, limit: int) -> int:
        return self._evict(self._live(user_id, now), now, keep, limit)

    async def evict_of_key(self, key: MachineKey, now: datetime, *, keep: int, limit: int) -> int:
        return self._evict(self._live_of_key(key, now), now, keep, limit)

    def _evict(self, live: list[Session], now: datetime, keep: int, limit: int) -> int:
        used = sorted(live, key=lambda session: (session.last_seen_at, session.id))
        return self._end(used[: max(0, len(used) - keep)][:limit], SecurityEvent.EVICTED, now)

    def _end(self, which: list[Session], cause: SecurityEvent, now: datetime) -> int:
        for session in sorted(which, key=_age):
            ended = replace(session, events=[])
            ended.end(cause, now=now)
            self._write(ended)
        return len(which)

    async def end_any(self, now: datetime, limit: int, *, after: SessionId | None = None) -> list[SessionId]:
        live = [
            session.id
            for session in self._drafts.sessions
            if session.ended_at is None and (after is None or session.id > after)
        ]
        ending = sorted(live)[:limit]
        for session_id in ending:
            session = self._drafts.sessions.get(session_id)
            assert session is not None  # noqa: S101 - just found
            self._drafts.sessions.put(session_id, replace(session, ended_at=now, events=[]))
        return ending

    async def forget(
        self, expired_before: datetime, limit: int, *, reached: datetime | None = None
    ) -> ForgottenSessions:
        expired = [
            session
            for session in self._drafts.sessions
            if session.expires_at < expired_before and (reached is None or session.expires_at >= reached)
        ]
        expired = sorted(expired, key=lambda session: session.expires_at)[:limit]
        if not expired:
            return ForgottenSessions(0, more=False, reached=reached)
        ids = {session.id for session in expired}
        tokens = [token for token in self._drafts.refresh_tokens if token.session_id in ids]
        for token in tokens[: TOKENS_EACH * limit]:
            self._drafts.refresh_tokens.drop(token.digest)
        kept = {token.session_id for token in tokens[TOKENS_EACH * limit :]}
        forget_sessions(self._drafts, ids - kept)
        whole = len(tokens) < TOKENS_EACH * limit
        return ForgottenSessions(
            len(ids - kept),
            more=not whole or len(expired) == limit,
            reached=expired[-1].expires_at if whole else reached,
        )

    def _live(self, user_id: UserId, now: datetime) -> list[Session]:
        return [session for session in self._drafts.sessions if session.user_id == user_id and session.live_at(now)]

    def _write(self, session: Session) -> None:
        self._events += session.events
        session.events.clear()
        self._drafts.sessions.put(session.id, replace(session, events=[]))


def _age(session: Session) -> tuple[datetime, SessionId]:
    return session.created_at, session.id


class MemoryRefreshTokens:
    def __init__(self, drafts: Drafts) -> None:
        self._tokens = drafts.refresh_tokens

    async def add(self, token: RefreshToken) -> None:
        self._tokens.put(token.digest, token)

    async def spend(self, digest: TokenDigest, *, successor: bytes | None, now: datetime) -> SessionId | None:
        token = self._tokens.get(digest)
        if token is None or token.spent_at is not None:
            return None
        self._tokens.put(digest, replace(token, spent_at=now, successor=successor))
        return token.session_id

    async def get(self, digest: TokenDigest) -> RefreshToken | None:
        return self._tokens.get(digest)

    async def reseal(self, digest: TokenDigest, *, successor: bytes) -> None:
        token = self._tokens.get(digest)
        if token is not None and token.spent_at is not None:
            self._tokens.put(digest, replace(token, successor=successor))

    async def forget_successors(self, spent_before: datetime, limit: int) -> int:
        sealed = (token for token in self._tokens if token.successor is not None)
        found = [token for token in sealed if token.spent_at is not None and token.spent_at < spent_before][:limit]
        for token in found:
            if token.names_session:
                self._tokens.drop(token.digest)
            else:
                self._tokens.put(token.digest, replace(token, successor=None))
        return len(found)


class MemoryPrincipals:
    def __init__(self, drafts: Drafts) -> None:
        self._drafts = drafts

    async def get(self, session_id: SessionId) -> Principal | None:
        session = self._drafts.sessions.get(session_id)
        user = None if session is None else self._drafts.users.get(session.user_id)
        if session is None or user is None:
            return None
        roles = (self._drafts.roles.get(role_id) for role_id in user.grants)
        return Principal(
            user=copy_user(user),
            session=replace(session, events=[]),
            roles=tuple(replace(role, events=[]) for role in roles if role is not None),
        )

    async def many(self, session_ids: Collection[SessionId]) -> dict[SessionId, Principal]:
        found = [(session_id, await self.get(session_id)) for session_id in session_ids]
        return {session_id: principal for session_id, principal in found if principal is not None}
