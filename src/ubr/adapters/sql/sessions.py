"""Sessions, their refresh tokens, and the principal of a session.

In PostgreSQL, a unit that touches a token locks its session first, as deleting a session does: all units lock in the
same order, so they never deadlock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Integer, and_, bindparam, select, tuple_, update

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import (
    grant_from_row,
    role_from_row,
    session_from_row,
    session_to_row,
    slices,
    token_from_row,
    token_to_row,
    user_from_row,
)
from ubr.adapters.sql.statements import Locking, Statement, inserting, updating
from ubr.adapters.sql.tables import refresh_tokens, roles, sessions, user_roles, users
from ubr.application.ports.paging import After
from ubr.application.ports.sessions import Principal
from ubr.domain.ids import SessionId, TokenDigest, UserId
from ubr.domain.sessions.session import RefreshToken, Session

_LIVE: Final = and_(
    sessions.c.user_id == bindparam("user_id"),
    sessions.c.ended_at.is_(None),
    sessions.c.idle_expires_at > bindparam("now"),
    sessions.c.expires_at > bindparam("now"),
)
_PAGE: Final = (
    select(sessions)
    .where(_LIVE)
    .order_by(sessions.c.created_at.desc(), sessions.c.id.desc())
    .limit(bindparam("limit", type_=Integer))
)
_FIRST_PAGE: Final = Statement(_PAGE)
_NEXT_PAGE: Final = Statement(
    _PAGE.where(
        tuple_(sessions.c.created_at, sessions.c.id)
        < tuple_(bindparam("key", type_=sessions.c.created_at.type), bindparam("id", type_=sessions.c.id.type))
    )
)


_SESSION: Final = Locking(select(sessions).where(sessions.c.id == bindparam("id")))
_LIVE_OF: Final = Locking(select(sessions).where(_LIVE).order_by(sessions.c.created_at, sessions.c.id))
_ADD_SESSION: Final = inserting(sessions)
_SAVE_SESSION: Final = updating(sessions, sessions.c.id == bindparam("its_id"))


class SqlSessions:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def get(self, session_id: SessionId) -> Session | None:
        row = await self._connection.row(_SESSION.on(self._connection), {"id": session_id})
        return None if row is None else session_from_row(row)

    async def live_of(self, user_id: UserId, now: datetime) -> list[Session]:
        rows = await self._connection.rows(_LIVE_OF.on(self._connection), {"user_id": user_id, "now": now})
        return [session_from_row(row) for row in rows]

    async def page(self, user_id: UserId, now: datetime, after: After[datetime] | None, limit: int) -> list[Session]:
        which = {"user_id": user_id, "now": now, "limit": limit}
        if after is None:
            rows = await self._connection.rows(_FIRST_PAGE, which)
        else:
            rows = await self._connection.rows(_NEXT_PAGE, {**which, "key": after.key, "id": after.id})
        return [session_from_row(row) for row in rows]

    async def add(self, session: Session) -> None:
        await self._connection.write(_ADD_SESSION, session_to_row(session))
        self._connection.note(session.events)

    async def save(self, session: Session) -> None:
        """If the session no longer exists, this stores and records nothing."""
        if await self._connection.write(_SAVE_SESSION, {**session_to_row(session), "its_id": session.id}):
            self._connection.note(session.events)

    async def end_any(self, now: datetime, limit: int) -> int:
        live = sessions.c.ended_at.is_(None)
        some = select(sessions.c.id).where(live).limit(limit).with_for_update().cte("some")
        ended = update(sessions).where(live, sessions.c.id.in_(select(some.c.id))).values(ended_at=now)
        return len(await self._connection.change(ended.returning(sessions.c.id)))

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """Skips a session that another unit has locked; a later call deletes it."""
        expired = (
            select(sessions.c.id)
            .where(sessions.c.expires_at < expired_before)
            .order_by(sessions.c.expires_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return await self._connection.forget(sessions.c.id, expired)


_ADD_TOKEN: Final = inserting(refresh_tokens)
_SPEND: Final = Statement(
    update(refresh_tokens)
    .where(refresh_tokens.c.digest == bindparam("its_digest"), refresh_tokens.c.spent_at.is_(None))
    .values(spent_at=bindparam("spent_at"), successor=bindparam("successor"))
    .returning(refresh_tokens.c.session_id)
)
_TOKEN: Final = Statement(select(refresh_tokens).where(refresh_tokens.c.digest == bindparam("digest")))
_LOCK_SESSION: Final = Statement(
    select(sessions.c.id)
    .where(
        sessions.c.id
        == select(refresh_tokens.c.session_id).where(refresh_tokens.c.digest == bindparam("digest")).scalar_subquery()
    )
    .with_for_update(key_share=True)
)


class SqlRefreshTokens:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def add(self, token: RefreshToken) -> None:
        await self._connection.write(_ADD_TOKEN, token_to_row(token))

    async def spend(self, digest: TokenDigest, *, successor: bytes, now: datetime) -> SessionId | None:
        await self._lock_session(digest)
        spent = await self._connection.change(_SPEND, {"its_digest": digest, "spent_at": now, "successor": successor})
        return spent[0][0] if spent else None

    async def get(self, digest: TokenDigest) -> RefreshToken | None:
        await self._lock_session(digest)
        row = await self._connection.row(_TOKEN, {"digest": digest})
        return None if row is None else token_from_row(row)

    async def _lock_session(self, digest: TokenDigest) -> None:
        """Lock the session of a token, instead of the token: spending a token and ending its chain need this lock."""
        if self._connection.locking:
            await self._connection.row(_LOCK_SESSION, {"digest": digest})

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """Skips tokens that another unit has locked; a later call deletes them."""
        c = refresh_tokens.c
        expired = (
            select(c.digest)
            .join_from(sessions, refresh_tokens, c.session_id == sessions.c.id)
            .where(sessions.c.expires_at < expired_before)
            .limit(limit)
            .with_for_update(of=refresh_tokens, skip_locked=True)
        )
        return await self._connection.forget(c.digest, expired)

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


_PRINCIPAL: Final = Statement(
    select(sessions, users, user_roles, roles)
    .select_from(
        sessions.join(users, users.c.id == sessions.c.user_id)
        .outerjoin(user_roles, user_roles.c.user_id == users.c.id)
        .outerjoin(roles, roles.c.id == user_roles.c.role_id)
    )
    .where(sessions.c.id == bindparam("id"))
    .order_by(roles.c.name)
)
_IN_PRINCIPAL: Final = slices(sessions, users, user_roles, roles)
"""The parts of its rows."""


class SqlPrincipals:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def get(self, session_id: SessionId) -> Principal | None:
        rows = await self._connection.rows(_PRINCIPAL, {"id": session_id})
        if not rows:
            return None
        session, user, grant, role = _IN_PRINCIPAL
        held = [row for row in rows if row[role][0] is not None]
        grants = [grant_from_row(row[grant]) for row in held]
        return Principal(
            user=user_from_row(rows[0][user], {each.role_id: each for each in grants}),
            session=session_from_row(rows[0][session]),
            roles=tuple(role_from_row(row[role]) for row in held),
        )
