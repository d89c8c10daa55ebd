"""The repositories, over drafts of the tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from ubr.adapters.memory.store import Drafts, Reservation
from ubr.application.ports.repositories import After, LogFilter, UserFilter
from ubr.application.ports.sessions import Principal
from ubr.domain.audit import LogEntry
from ubr.domain.errors import EmailTaken, RoleNameTaken, RoleNotFound
from ubr.domain.events import Event
from ubr.domain.link import EVER
from ubr.domain.role import Role
from ubr.domain.session import RefreshToken, Session
from ubr.domain.signing_key import SigningKey, newest_first
from ubr.domain.user import User
from ubr.domain.values import Email, LogEntryId, RoleId, RoleName, SessionId, TokenDigest, UserId

T = TypeVar("T")


def _copy(user: User) -> User:
    return replace(user, grants=dict(user.grants), events=[])


def _cut(rows: Iterable[tuple[Any, UUID, T]], after: After[Any] | None, limit: int, *, newest: bool) -> list[T]:
    """One page of rows, each given with its sort key and id."""
    ordered = sorted(rows, key=lambda row: row[:2], reverse=newest)
    if after is not None:
        start = (after.key, after.id)
        ordered = [row for row in ordered if (row[:2] < start if newest else row[:2] > start)]
    return [row[2] for row in ordered[:limit]]


class MemoryUsers:
    def __init__(self, drafts: Drafts, events: list[Event], now: datetime) -> None:
        self._drafts = drafts
        self._events = events
        self._now = now

    async def get(self, user_id: UserId) -> User | None:
        user = self._drafts.users.get(user_id)
        return None if user is None else _copy(user)

    async def by_email(self, email: Email) -> User | None:
        user_id = self._drafts.user_by_email.get(email.key)
        return None if user_id is None else await self.get(user_id)

    async def page(self, which: UserFilter, after: After[datetime] | After[str] | None, limit: int) -> list[User]:
        role_id = None
        if which.role is not None:
            role_id = self._drafts.role_by_name.get(which.role)
            if role_id is None:
                return []
        by_email = which.sort.endswith("email")
        rows = (
            (user.email.key if by_email else user.created_at, user.id, user)
            for user in self._drafts.users
            if (which.prefix is None or which.prefix.begins(user.email, user.full_name))
            and (which.status is None or user.status is which.status)
            and (role_id is None or role_id in user.roles_at(which.now))
        )
        return [_copy(user) for user in _cut(rows, after, limit, newest=which.sort.startswith("-"))]

    async def add(self, user: User) -> None:
        self._claim(user)
        self._write(user)

    async def save(self, user: User) -> None:
        before = self._drafts.users.get(user.id)
        if before is None:
            return
        if before.email.key != user.email.key:
            self._claim(user)
            self._drafts.user_by_email.drop(before.email.key)
        self._write(user)

    async def remove(self, user: User) -> None:
        self._note(user)
        if self._drafts.users.get(user.id) is None:
            return
        self._drafts.users.drop(user.id)
        self._drafts.user_by_email.drop(user.email.key)
        for link in [link for link in self._drafts.links if link.user_id == user.id]:
            self._drafts.links.drop(link.digest)
        for letter in [letter for letter in self._drafts.outbox if letter.user_id == user.id]:
            self._drafts.outbox.drop(letter.id)
        for (user_id, client), _ in list(self._drafts.known_clients.items()):
            if user_id == user.id:
                self._drafts.known_clients.drop((user_id, client))
        await self.release(user.id, EVER)
        gone = {session.id for session in self._drafts.sessions if session.user_id == user.id}
        _forget(self._drafts, gone)
        for replay in list(self._drafts.replays):
            if user.id in {replay.actor_id, replay.user_id}:
                self._drafts.replays.drop(replay.digest)

    async def reserve(self, email: Email, user_id: UserId, until: datetime) -> None:
        self._drafts.reserved_emails.put(email.key, Reservation(email.key, user_id, until))

    async def release(self, user_id: UserId, until: datetime) -> None:
        for kept in [k for k in self._drafts.reserved_emails if k.user_id == user_id and k.until >= until]:
            self._drafts.reserved_emails.drop(kept.email_key)

    async def forget_reservations(self, ended_before: datetime, limit: int) -> int:
        ended = [kept for kept in self._drafts.reserved_emails if kept.until < ended_before][:limit]
        for kept in ended:
            self._drafts.reserved_emails.drop(kept.email_key)
        return len(ended)

    async def forget_grants(self, ended_before: datetime, limit: int) -> int:
        ended = [
            (user.id, role_id)
            for user in self._drafts.users
            for role_id, grant in user.grants.items()
            if grant.expires_at is not None and grant.expires_at < ended_before
        ][:limit]
        for user_id, role_id in ended:
            user = self._drafts.users.get(user_id)
            assert user is not None  # noqa: S101 - just found
            grants = {held: grant for held, grant in user.grants.items() if held != role_id}
            self._drafts.users.put(user_id, replace(user, grants=grants))
        return len(ended)

    async def another_admin_stays(self, user_id: UserId) -> bool:
        return any(user.lasting_admin and user.id != user_id for user in self._drafts.users)

    def _claim(self, user: User) -> None:
        kept = self._drafts.reserved_emails.get(user.email.key)
        reserved = kept is not None and kept.user_id != user.id and kept.until > self._now
        if reserved or self._drafts.user_by_email.get(user.email.key) is not None:
            raise EmailTaken
        self._drafts.user_by_email.put(user.email.key, user.id)

    def _write(self, user: User) -> None:
        if any(self._drafts.roles.get(role_id) is None for role_id in user.grants):
            raise RoleNotFound
        self._note(user)
        self._drafts.users.put(user.id, _copy(user))

    def _note(self, user: User) -> None:
        self._events += user.events
        user.events.clear()


class MemoryRoles:
    def __init__(self, drafts: Drafts, events: list[Event]) -> None:
        self._drafts = drafts
        self._events = events

    async def get(self, role_id: RoleId) -> Role | None:
        role = self._drafts.roles.get(role_id)
        return None if role is None else replace(role, events=[])

    async def by_name(self, name: RoleName) -> Role | None:
        role_id = self._drafts.role_by_name.get(name)
        return None if role_id is None else await self.get(role_id)

    async def many(self, role_ids: Collection[RoleId]) -> list[Role]:
        found = (self._drafts.roles.get(role_id) for role_id in set(role_ids))
        return sorted((replace(role, events=[]) for role in found if role is not None), key=lambda role: role.name)

    async def page(self, after: After[datetime] | None, limit: int) -> list[Role]:
        rows = ((role.created_at, role.id, role) for role in self._drafts.roles)
        return [replace(role, events=[]) for role in _cut(rows, after, limit, newest=False)]

    async def add(self, role: Role) -> None:
        self._claim(role)
        self._write(role)

    async def save(self, role: Role) -> None:
        before = self._drafts.roles.get(role.id)
        if before is None:
            return
        if before.name != role.name:
            self._claim(role)
            self._drafts.role_by_name.drop(before.name)
        self._write(role)

    async def remove(self, role: Role) -> None:
        self._note(role)
        if self._drafts.roles.get(role.id) is None:
            return
        self._drafts.roles.drop(role.id)
        self._drafts.role_by_name.drop(role.name)
        for user in list(self._drafts.users):
            if role.id in user.grants:
                grants = {held: grant for held, grant in user.grants.items() if held != role.id}
                self._drafts.users.put(user.id, replace(user, grants=grants))

    def _claim(self, role: Role) -> None:
        if self._drafts.role_by_name.get(role.name) is not None:
            raise RoleNameTaken
        self._drafts.role_by_name.put(role.name, role.id)

    def _write(self, role: Role) -> None:
        self._note(role)
        self._drafts.roles.put(role.id, replace(role, events=[]))

    def _note(self, role: Role) -> None:
        self._events += role.events
        role.events.clear()


def _forget(drafts: Drafts, session_ids: set[SessionId]) -> None:
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

    async def live_of(self, user_id: UserId, now: datetime) -> list[Session]:
        return [replace(session, events=[]) for session in sorted(self._live(user_id, now), key=_age)]

    async def page(self, user_id: UserId, now: datetime, after: After[datetime] | None, limit: int) -> list[Session]:
        rows = ((session.created_at, session.id, session) for session in self._live(user_id, now))
        return [replace(session, events=[]) for session in _cut(rows, after, limit, newest=True)]

    async def add(self, session: Session) -> None:
        self._write(session)

    async def save(self, session: Session) -> None:
        if self._drafts.sessions.get(session.id) is not None:
            self._write(session)

    async def end_any(self, now: datetime, limit: int) -> int:
        live = [session for session in self._drafts.sessions if session.ended_at is None][:limit]
        for session in live:
            self._drafts.sessions.put(session.id, replace(session, ended_at=now, events=[]))
        return len(live)

    async def forget(self, expired_before: datetime, limit: int) -> int:
        expired = sorted((s for s in self._drafts.sessions if s.expires_at < expired_before), key=_age)[:limit]
        _forget(self._drafts, {session.id for session in expired})
        return len(expired)

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
        self._sessions = drafts.sessions

    async def add(self, token: RefreshToken) -> None:
        self._tokens.put(token.digest, token)

    async def spend(self, digest: TokenDigest, *, successor: bytes, now: datetime) -> SessionId | None:
        token = self._tokens.get(digest)
        if token is None or token.spent_at is not None:
            return None
        self._tokens.put(digest, replace(token, spent_at=now, successor=successor))
        return token.session_id

    async def get(self, digest: TokenDigest) -> RefreshToken | None:
        return self._tokens.get(digest)

    async def forget(self, expired_before: datetime, limit: int) -> int:
        expired = {session.id for session in self._sessions if session.expires_at < expired_before}
        found = [token for token in self._tokens if token.session_id in expired][:limit]
        for token in found:
            self._tokens.drop(token.digest)
        return len(found)

    async def forget_successors(self, spent_before: datetime, limit: int) -> int:
        sealed = (token for token in self._tokens if token.successor is not None)
        found = [token for token in sealed if token.spent_at is not None and token.spent_at < spent_before][:limit]
        for token in found:
            self._tokens.put(token.digest, replace(token, successor=None))
        return len(found)


class MemoryLogs:
    def __init__(self, drafts: Drafts) -> None:
        self._logs = drafts.logs

    async def page(self, which: LogFilter, after: After[datetime] | None, limit: int) -> list[LogEntry]:
        rows = ((entry.timestamp, entry.id, entry) for entry in self._logs if _fits(entry, which))
        return _cut(rows, after, limit, newest=True)

    async def get(self, entry_id: LogEntryId) -> LogEntry | None:
        return self._logs.get(entry_id)


def _fits(entry: LogEntry, which: LogFilter) -> bool:
    target_id = None if entry.target is None else entry.target.id
    return (
        which.level in {None, entry.level}
        and which.action in {None, entry.action}
        and which.actor_id in {None, entry.actor_id}
        and which.target_id in {None, target_id}
        and (which.since is None or entry.timestamp >= which.since)
        and (which.until is None or entry.timestamp < which.until)
    )


class MemorySigningKeys:
    def __init__(self, drafts: Drafts) -> None:
        self._keys = drafts.signing_keys

    async def all(self) -> Sequence[SigningKey]:
        return newest_first(self._keys)

    async def all_to_change(self) -> Sequence[SigningKey]:
        """Whoever writes is alone."""
        return await self.all()

    async def add(self, key: SigningKey) -> None:
        self._keys.put(key.kid, key)

    async def save(self, key: SigningKey) -> None:
        if self._keys.get(key.kid) is not None:
            self._keys.put(key.kid, key)


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
            user=_copy(user),
            session=replace(session, events=[]),
            roles=tuple(replace(role, events=[]) for role in roles if role is not None),
        )
