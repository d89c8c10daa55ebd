"""Reads everything that is stored about one person."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Integer, Table, and_, bindparam, func, or_, select

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import link_from_row, queued_mail_from_row, session_from_row
from ubr.adapters.sql.statements import Statement
from ubr.adapters.sql.tables import known_clients, links, outbox, replays, reserved_emails, sessions
from ubr.application.ports.personal_data import FormerEmail, PersonalRecords
from ubr.domain.accounts.user import User
from ubr.domain.ids import SessionId, UserId
from ubr.domain.sessions.session import Session


def _about(table: Table) -> Statement:
    """The rows of a user, and those to their e-mail that belong to no user."""
    unowned = and_(table.c.email_key == bindparam("email_key"), table.c.user_id.is_(None))
    of_user = or_(table.c.user_id == bindparam("user_id"), unowned)
    return Statement(select(table).where(of_user).order_by(table.c.created_at))


_FORMER_EMAILS: Final = Statement(
    select(reserved_emails.c.email_key, reserved_emails.c.until)
    .where(reserved_emails.c.user_id == bindparam("user_id"))
    .order_by(reserved_emails.c.until)
)
_KNOWN_CLIENTS: Final = Statement(
    select(known_clients.c.seen_at)
    .where(known_clients.c.user_id == bindparam("user_id"))
    .order_by(known_clients.c.seen_at)
)
_LINKS: Final = _about(links)
_MAILS: Final = _about(outbox)
_RESULTS: Final = Statement(
    select(func.count().label("count"), func.max(replays.c.expires_at).label("until")).where(
        or_(replays.c.actor_id == bindparam("user_id"), replays.c.user_id == bindparam("user_id"))
    )
)
_SESSIONS: Final = (
    select(sessions)
    .where(sessions.c.user_id == bindparam("user_id"))
    .order_by(sessions.c.id)
    .limit(bindparam("limit", type_=Integer))
)
_FIRST_SESSIONS: Final = Statement(_SESSIONS)
_NEXT_SESSIONS: Final = Statement(_SESSIONS.where(sessions.c.id > bindparam("after")))


class SqlPersonalData:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def of(self, user: User) -> PersonalRecords:
        which = {"user_id": user.id}
        wider = {**which, "email_key": user.email.key}
        former = await self._connection.rows(_FORMER_EMAILS, which)
        clients = await self._connection.rows(_KNOWN_CLIENTS, which)
        found_links = await self._connection.rows(_LINKS, wider)
        mails = await self._connection.rows(_MAILS, wider)
        [(results, until)] = await self._connection.rows(_RESULTS, which)
        return PersonalRecords(
            former_emails=[FormerEmail(key=row[0], until=row[1]) for row in former],
            known_clients=[row[0] for row in clients],
            links=[link_from_row(row) for row in found_links],
            mails=[queued_mail_from_row(row) for row in mails],
            results=results,
            results_until=until,
        )

    async def sessions(self, user_id: UserId, after: SessionId | None, limit: int) -> list[Session]:
        which = {"user_id": user_id, "limit": limit}
        if after is None:
            rows = await self._connection.rows(_FIRST_SESSIONS, which)
        else:
            rows = await self._connection.rows(_NEXT_SESSIONS, {**which, "after": after})
        return [session_from_row(row) for row in rows]
