"""Sessions, their refresh tokens, and the principal of a session.

In PostgreSQL, a unit that touches a token locks its session first, as deleting a session does: all units lock in the
same order, so they never deadlock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    Update,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    select,
    tuple_,
    update,
)

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
from ubr.adapters.sql.statements import Locking, Parameters, Row, Statement, among, inserting, insertion, updating
from ubr.adapters.sql.tables import refresh_tokens, roles, sessions, user_roles, users
from ubr.application.ports.paging import After
from ubr.application.ports.sessions import TOKENS_EACH, ForgottenSessions, Principal
from ubr.domain.ids import SessionId, TokenDigest, UserId
from ubr.domain.machines.key import MachineKey
from ubr.domain.sessions.events import SessionRevoked
from ubr.domain.sessions.session import RefreshToken, Session
from ubr.domain.sessions.termination import SecurityEvent

_LIVE: Final = and_(
    sessions.c.user_id == bindparam("its_user"),
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


_COUNT: Final = Statement(select(func.count()).select_from(sessions).where(_LIVE))
_SESSION: Final = Locking(select(sessions).where(sessions.c.id == bindparam("id")))
_ADD_SESSION: Final = inserting(sessions)
_ADD_TOKEN: Final = inserting(refresh_tokens)
_OPEN: Final = Statement(insertion(refresh_tokens).add_cte(insertion(sessions).cte("opened")))
_SAVE_SESSION: Final = updating(sessions, sessions.c.id == bindparam("its_id"))


def _ending(which: ColumnElement[bool]) -> Update:
    ended = update(sessions).where(which).values(ended_at=bindparam("ended_at"))
    return ended.returning(sessions.c.created_at, sessions.c.id)


_END_ALL: Final = Statement(_ending(_LIVE))
_END_OTHERS: Final = Statement(_ending(and_(_LIVE, sessions.c.id != bindparam("spared"))))
_OF_KEY: Final = and_(_LIVE, sessions.c.key_id == bindparam("its_key"))
_SESSION_OF_KEY: Final = Statement(
    select(sessions.c.id)
    .where(_OF_KEY, sessions.c.scope.is_not_distinct_from(bindparam("its_scope", type_=sessions.c.scope.type)))
    .order_by(sessions.c.created_at.desc(), sessions.c.id.desc())
    .limit(1)
)
_END_OF_KEY: Final = Statement(_ending(_OF_KEY))
_SHORTEN: Final = Statement(
    update(sessions)
    .where(_OF_KEY, sessions.c.expires_at > bindparam("until"))
    .values(
        expires_at=bindparam("until"),
        idle_expires_at=case(
            (sessions.c.idle_expires_at > bindparam("until"), bindparam("until")), else_=sessions.c.idle_expires_at
        ),
    )
)


def _evicting(which: ColumnElement[bool]) -> Statement:
    beyond = (
        select(sessions.c.id, sessions.c.last_seen_at)
        .where(which)
        .order_by(sessions.c.last_seen_at.desc(), sessions.c.id.desc())
        .offset(bindparam("keep", type_=Integer))
        .cte("beyond")
    )
    evicted = (
        select(beyond.c.id)
        .order_by(beyond.c.last_seen_at, beyond.c.id)
        .limit(bindparam("limit", type_=Integer))
        .cte("some")
    )
    return Statement(_ending(and_(sessions.c.ended_at.is_(None), sessions.c.id.in_(select(evicted.c.id)))))


_EVICT: Final = _evicting(_LIVE)
_EVICT_OF_KEY: Final = _evicting(_OF_KEY)


class SqlSessions:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def get(self, session_id: SessionId) -> Session | None:
        row = await self._connection.row(_SESSION.on(self._connection), {"id": session_id})
        return None if row is None else session_from_row(row)

    async def page(self, user_id: UserId, now: datetime, after: After[datetime] | None, limit: int) -> list[Session]:
        which = {"its_user": user_id, "now": now, "limit": limit}
        if after is None:
            rows = await self._connection.rows(_FIRST_PAGE, which)
        else:
            rows = await self._connection.rows(_NEXT_PAGE, {**which, "key": after.key, "id": after.id})
        return [session_from_row(row) for row in rows]

    async def count(self, user_id: UserId, now: datetime) -> int:
        [(count,)] = await self._connection.rows(_COUNT, {"its_user": user_id, "now": now})
        return int(count)

    async def add(self, session: Session) -> None:
        await self._connection.write(_ADD_SESSION, session_to_row(session))
        self._connection.note(session.events)

    async def open(self, session: Session, token: RefreshToken) -> None:
        if self._connection.dialect == "sqlite":
            await self._connection.write(_ADD_SESSION, session_to_row(session))
            await self._connection.write(_ADD_TOKEN, token_to_row(token))
        else:
            await self._connection.write(_OPEN, session_to_row(session) | token_to_row(token))
        self._connection.note(session.events)

    async def save(self, session: Session) -> None:
        """If the session no longer exists, this stores and records nothing."""
        if await self._connection.write(_SAVE_SESSION, {**session_to_row(session), "its_id": session.id}):
            self._connection.note(session.events)

    async def end_of(
        self, user_id: UserId, cause: SecurityEvent, now: datetime, *, spared: SessionId | None = None
    ) -> int:
        which = {"its_user": user_id, "now": now, "ended_at": now}
        if spared is None:
            return await self._end(_END_ALL, which, cause)
        return await self._end(_END_OTHERS, {**which, "spared": spared}, cause)

    async def of_key(self, key: MachineKey, scope: str | None, now: datetime) -> SessionId | None:
        row = await self._connection.row(_SESSION_OF_KEY, {**_of_key(key, now), "its_scope": scope})
        return None if row is None else SessionId(row[0])

    async def end_of_key(self, key: MachineKey, cause: SecurityEvent, now: datetime) -> int:
        return await self._end(_END_OF_KEY, {**_of_key(key, now), "ended_at": now}, cause)

    async def shorten(self, key: MachineKey, until: datetime, now: datetime) -> None:
        await self._connection.write(_SHORTEN, {**_of_key(key, now), "until": until})

    async def evict(self, user_id: UserId, now: datetime, *, keep: int, limit: int) -> int:
        which = {"its_user": user_id, "now": now, "ended_at": now, "keep": keep, "limit": limit}
        return await self._end(_EVICT, which, SecurityEvent.EVICTED)

    async def evict_of_key(self, key: MachineKey, now: datetime, *, keep: int, limit: int) -> int:
        which = {"its_user": key.user_id, "its_key": key.id, "now": now, "ended_at": now, "keep": keep, "limit": limit}
        return await self._end(_EVICT_OF_KEY, which, SecurityEvent.EVICTED)

    async def _end(self, statement: Statement, which: Parameters, cause: SecurityEvent) -> int:
        found = sorted((row[0], row[1]) for row in await self._connection.change(statement, which))
        self._connection.note(
            [
                SessionRevoked(session_id=session_id, user_id=which["its_user"], cause=cause.value)
                for _, session_id in found
            ]
        )
        return len(found)

    async def end_any(self, now: datetime, limit: int, *, after: SessionId | None = None) -> list[SessionId]:
        live = sessions.c.ended_at.is_(None)
        some = select(sessions.c.id).where(live).order_by(sessions.c.id).limit(limit)
        if after is not None:
            some = some.where(sessions.c.id > after)
        found = some.with_for_update().cte("found")
        ended = update(sessions).where(live, sessions.c.id.in_(select(found.c.id))).values(ended_at=now)
        return sorted(row[0] for row in await self._connection.change(ended.returning(sessions.c.id)))

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
        ids = [row[0] for row in rows]
        c = refresh_tokens.c
        tokens = await self._connection.forget(
            c.digest, select(c.digest).where(c.session_id.in_(ids)).limit(TOKENS_EACH * limit)
        )
        # If tokens are left, only sessions without any are deleted: the cascade could be of any length.
        empty = sessions.c.id.in_(ids) & ~exists().where(c.session_id == sessions.c.id)
        deleted = await self._connection.write(delete(sessions).where(empty))
        whole = tokens < TOKENS_EACH * limit
        return ForgottenSessions(
            deleted, more=not whole or len(rows) == limit, reached=rows[-1][1] if whole else reached
        )


def _of_key(key: MachineKey, now: datetime) -> Parameters:
    return {"its_user": key.user_id, "its_key": key.id, "now": now}


_SPEND: Final = Statement(
    update(refresh_tokens)
    .where(refresh_tokens.c.digest == bindparam("its_digest"), refresh_tokens.c.spent_at.is_(None))
    .values(spent_at=bindparam("spent_at"), successor=bindparam("successor"))
    .returning(refresh_tokens.c.session_id)
)
_RESEAL: Final = Statement(
    update(refresh_tokens)
    .where(refresh_tokens.c.digest == bindparam("its_digest"), refresh_tokens.c.spent_at.is_not(None))
    .values(successor=bindparam("successor"))
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

    async def spend(self, digest: TokenDigest, *, successor: bytes | None, now: datetime) -> SessionId | None:
        await self._lock_session(digest)
        spent = await self._connection.change(_SPEND, {"its_digest": digest, "spent_at": now, "successor": successor})
        return spent[0][0] if spent else None

    async def get(self, digest: TokenDigest) -> RefreshToken | None:
        await self._lock_session(digest)
        row = await self._connection.row(_TOKEN, {"digest": digest})
        return None if row is None else token_from_row(row)

    async def reseal(self, digest: TokenDigest, *, successor: bytes) -> None:
        await self._lock_session(digest)
        await self._connection.write(_RESEAL, {"its_digest": digest, "successor": successor})

    async def _lock_session(self, digest: TokenDigest) -> None:
        """Lock the session of a token, instead of the token: spending a token and ending its chain need this lock."""
        if self._connection.locking:
            await self._connection.row(_LOCK_SESSION, {"digest": digest})

    async def forget_successors(self, spent_before: datetime, limit: int) -> int:
        """Skips tokens that another unit has locked; a later call forgets them."""
        c = refresh_tokens.c
        sealed = (
            select(c.digest, c.names_session)
            .where(c.successor.is_not(None), c.spent_at < spent_before)
            .order_by(c.spent_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        found = await self._connection.rows(sealed)
        deleted = [row[0] for row in found if row[1]]
        if deleted:
            await self._connection.write(delete(refresh_tokens).where(c.digest.in_(deleted)))
        erased = [row[0] for row in found if not row[1]]
        if erased:
            await self._connection.write(update(refresh_tokens).where(c.digest.in_(erased)).values(successor=None))
        return len(found)


_PRINCIPALS: Final = (
    select(sessions, users, user_roles, roles)
    .select_from(
        sessions.join(users, users.c.id == sessions.c.user_id)
        .outerjoin(user_roles, user_roles.c.user_id == users.c.id)
        .outerjoin(roles, and_(roles.c.id == user_roles.c.role_id, roles.c.deleted_at.is_(None)))
    )
    .order_by(roles.c.name)
)
_PRINCIPAL: Final = Statement(_PRINCIPALS.where(sessions.c.id == bindparam("id")))
_MANY_PRINCIPALS: Final = Statement(lambda dialect: _PRINCIPALS.where(among(dialect, sessions.c.id, "ids")))
_IN_PRINCIPAL: Final = slices(sessions, users, user_roles, roles)
"""The parts of its rows."""


class SqlPrincipals:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def get(self, session_id: SessionId) -> Principal | None:
        rows = await self._connection.rows(_PRINCIPAL, {"id": session_id})
        return _principal_from_rows(rows) if rows else None

    async def many(self, session_ids: Collection[SessionId]) -> dict[SessionId, Principal]:
        session, *_ = _IN_PRINCIPAL
        rows_of: dict[SessionId, list[Row]] = {}
        for row in await self._connection.rows(_MANY_PRINCIPALS, {"ids": list(session_ids)}):
            rows_of.setdefault(row[session][0], []).append(row)
        return {session_id: _principal_from_rows(rows) for session_id, rows in rows_of.items()}


def _principal_from_rows(rows: Sequence[Row]) -> Principal:
    """The principal of a session, from a row for each grant."""
    session, user, grant, role = _IN_PRINCIPAL
    held = [row for row in rows if row[role][0] is not None]
    grants = [grant_from_row(row[grant]) for row in held]
    return Principal(
        user=user_from_row(rows[0][user], {each.role_id: each for each in grants}),
        session=session_from_row(rows[0][session]),
        roles=tuple(role_from_row(row[role]) for row in held),
    )
