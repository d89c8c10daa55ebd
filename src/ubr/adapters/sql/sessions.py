"""Sessions, their refresh tokens, and the principal of a session.

In PostgreSQL, a unit that touches a token locks its session first, as deleting a session does: all units lock in the
same order, so they never deadlock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, exists, insert, literal, select, tuple_, update

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import (
    grant_from_row,
    role_from_row,
    session_from_row,
    session_to_row,
    token_from_row,
    token_to_row,
    user_from_row,
)
from ubr.adapters.sql.tables import refresh_tokens, roles, sessions, user_roles, users
from ubr.application.ports.paging import After
from ubr.application.ports.sessions import TOKENS_EACH, ForgottenSessions, Principal
from ubr.domain.ids import SessionId, TokenDigest, UserId
from ubr.domain.sessions.events import SessionRevoked
from ubr.domain.sessions.session import RefreshToken, Session
from ubr.domain.sessions.termination import SecurityEvent


def _live(user_id: UserId, now: datetime) -> ColumnElement[bool]:
    c = sessions.c
    return and_(c.user_id == user_id, c.ended_at.is_(None), c.idle_expires_at > now, c.expires_at > now)


class SqlSessions:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def get(self, session_id: SessionId) -> Session | None:
        statement = select(sessions).where(sessions.c.id == session_id)
        if self._connection.locking:
            statement = statement.with_for_update(key_share=True)
        row = await self._connection.row(statement)
        return None if row is None else session_from_row(row)

    async def page(self, user_id: UserId, now: datetime, after: After[datetime] | None, limit: int) -> list[Session]:
        statement = select(sessions).where(_live(user_id, now))
        if after is not None:
            there = tuple_(literal(after.key, sessions.c.created_at.type), literal(after.id, sessions.c.id.type))
            statement = statement.where(tuple_(sessions.c.created_at, sessions.c.id) < there)
        statement = statement.order_by(sessions.c.created_at.desc(), sessions.c.id.desc()).limit(limit)
        return [session_from_row(row) for row in await self._connection.rows(statement)]

    async def add(self, session: Session) -> None:
        await self._connection.write(insert(sessions), session_to_row(session))
        self._connection.note(session.events)

    async def save(self, session: Session) -> None:
        """If the session no longer exists, this stores and records nothing."""
        statement = update(sessions).where(sessions.c.id == session.id).values(session_to_row(session))
        if await self._connection.write(statement):
            self._connection.note(session.events)

    async def end_of(
        self, user_id: UserId, cause: SecurityEvent, now: datetime, *, spared: SessionId | None = None
    ) -> int:
        live = _live(user_id, now)
        return await self._end(user_id, cause, now, live if spared is None else and_(live, sessions.c.id != spared))

    async def evict(self, user_id: UserId, now: datetime, *, keep: int, limit: int) -> int:
        c = sessions.c
        used = select(c.id, c.last_seen_at).where(_live(user_id, now)).order_by(c.last_seen_at.desc(), c.id.desc())
        beyond = used.offset(keep).cte("beyond").c
        some = select(beyond.id).order_by(beyond.last_seen_at, beyond.id).limit(limit).cte("some").c
        which = and_(c.ended_at.is_(None), c.id.in_(select(some.id)))
        return await self._end(user_id, SecurityEvent.EVICTED, now, which)

    async def _end(self, user_id: UserId, cause: SecurityEvent, now: datetime, which: ColumnElement[bool]) -> int:
        ended = update(sessions).where(which).values(ended_at=now).returning(sessions.c.created_at, sessions.c.id)
        found = sorted((row["created_at"], row["id"]) for row in await self._connection.change(ended))
        self._connection.note(
            [SessionRevoked(session_id=session_id, user_id=user_id, cause=cause.value) for _, session_id in found]
        )
        return len(found)

    async def end_any(self, now: datetime, limit: int, *, after: SessionId | None = None) -> list[SessionId]:
        live = sessions.c.ended_at.is_(None)
        some = select(sessions.c.id).where(live).order_by(sessions.c.id).limit(limit)
        if after is not None:
            some = some.where(sessions.c.id > after)
        found = some.with_for_update().cte("found")
        ended = update(sessions).where(live, sessions.c.id.in_(select(found.c.id))).values(ended_at=now)
        return sorted(row["id"] for row in await self._connection.change(ended.returning(sessions.c.id)))

    async def forget(
        self, expired_before: datetime, limit: int, *, reached: datetime | None = None
    ) -> ForgottenSessions:
        """Skips a session that another unit has locked; a later call deletes it."""
        expired = select(sessions.c.id, sessions.c.expires_at).where(sessions.c.expires_at < expired_before)
        if reached is not None:
            expired = expired.where(sessions.c.expires_at >= reached)
        expired = expired.order_by(sessions.c.expires_at).limit(limit).with_for_update(skip_locked=True)
        rows = await self._connection.rows(expired)
        if not rows:
            return ForgottenSessions(0, more=False, reached=reached)
        ids = [row["id"] for row in rows]
        c = refresh_tokens.c
        tokens = await self._connection.forget(
            c.digest, select(c.digest).where(c.session_id.in_(ids)).limit(TOKENS_EACH * limit)
        )
        # If tokens are left, only sessions without any are deleted: the cascade could be of any length.
        empty = sessions.c.id.in_(ids) & ~exists().where(c.session_id == sessions.c.id)
        deleted = await self._connection.write(delete(sessions).where(empty))
        whole = tokens < TOKENS_EACH * limit
        return ForgottenSessions(
            deleted, more=not whole or len(rows) == limit, reached=rows[-1]["expires_at"] if whole else reached
        )


class SqlRefreshTokens:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def add(self, token: RefreshToken) -> None:
        await self._connection.write(insert(refresh_tokens), token_to_row(token))

    async def spend(self, digest: TokenDigest, *, successor: bytes, now: datetime) -> SessionId | None:
        statement = (
            update(refresh_tokens)
            .where(refresh_tokens.c.digest == digest, refresh_tokens.c.spent_at.is_(None))
            .values(spent_at=now, successor=successor)
            .returning(refresh_tokens.c.session_id)
        )
        await self._lock_session(digest)
        spent = await self._connection.change(statement)
        return spent[0][refresh_tokens.c.session_id] if spent else None

    async def get(self, digest: TokenDigest) -> RefreshToken | None:
        await self._lock_session(digest)
        row = await self._connection.row(select(refresh_tokens).where(refresh_tokens.c.digest == digest))
        return None if row is None else token_from_row(row)

    async def _lock_session(self, digest: TokenDigest) -> None:
        """Lock the session of a token, instead of the token: spending a token and ending its chain need this lock."""
        if self._connection.locking:
            session_id = select(refresh_tokens.c.session_id).where(refresh_tokens.c.digest == digest).scalar_subquery()
            await self._connection.row(
                select(sessions.c.id).where(sessions.c.id == session_id).with_for_update(key_share=True)
            )

    async def forget_successors(self, spent_before: datetime, limit: int) -> int:
        """Skips tokens that another unit has locked; a later call erases their successors."""
        c = refresh_tokens.c
        sealed = (
            select(c.digest)
            .where(c.successor.is_not(None), c.spent_at < spent_before)
            .order_by(c.spent_at)
            .limit(limit)
            .with_for_update(key_share=True, skip_locked=True)
            .cte("sealed")
        )
        erased = update(refresh_tokens).where(c.digest.in_(select(sealed.c.digest))).values(successor=None)
        return len(await self._connection.change(erased.returning(c.digest)))


_PRINCIPAL: Final = (
    select(sessions, users, user_roles, roles)
    .select_from(
        sessions.join(users, users.c.id == sessions.c.user_id)
        .outerjoin(user_roles, user_roles.c.user_id == users.c.id)
        .outerjoin(roles, and_(roles.c.id == user_roles.c.role_id, roles.c.deleted_at.is_(None)))
    )
    .order_by(roles.c.name)
)


class SqlPrincipals:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def get(self, session_id: SessionId) -> Principal | None:
        rows = await self._connection.rows(_PRINCIPAL.where(sessions.c.id == session_id))
        if not rows:
            return None
        held = [row for row in rows if row[roles.c.id] is not None]
        grants = [grant_from_row(row) for row in held]
        return Principal(
            user=user_from_row(rows[0], {grant.role_id: grant for grant in grants}),
            session=session_from_row(rows[0]),
            roles=tuple(map(role_from_row, held)),
        )
