"""Queued mails."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, literal, or_, select, tuple_, update

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import Values, queued_mail_from_row, queued_mail_to_row
from ubr.adapters.sql.statements import Statement, inserting, updating
from ubr.adapters.sql.tables import Timestamp, outbox
from ubr.application.ports.mail import MailBacklog
from ubr.application.ports.paging import After
from ubr.domain.accounts.email import Email
from ubr.domain.ids import UserId
from ubr.domain.mail.kinds import LINK_MAILS, MailKind
from ubr.domain.mail.queued_mail import QueuedMail

_ENDED: Final = and_(
    or_(*(outbox.c.kind == kind.value for kind in LINK_MAILS)),
    or_(outbox.c.user_id == bindparam("user_id"), outbox.c.email_key == bindparam("email_key")),
)
_UNDOING: Final = and_(
    outbox.c.kind == MailKind.EMAIL_CHANGED.value,
    outbox.c.user_id == bindparam("user_id"),
    outbox.c.created_at >= bindparam("since", type_=Timestamp),
)
# A mail that is unchanged since the caller claimed or read it.
_UNCHANGED: Final = and_(outbox.c.id == bindparam("its_id"), outbox.c.next_try_at == bindparam("its_time"))

_ADD: Final = inserting(outbox)
_WAITING: Final = and_(outbox.c.dead.is_(False), outbox.c.next_try_at <= bindparam("now"))
_DUE: Final = Statement(select(outbox.c.id).where(_WAITING).limit(1))
_BACKLOG: Final = Statement(
    select(
        select(func.count()).select_from(outbox).where(_WAITING).scalar_subquery().label("due"),
        select(func.count()).select_from(outbox).where(outbox.c.dead.is_(True)).scalar_subquery().label("dead"),
        select(func.min(outbox.c.next_try_at)).where(_WAITING).scalar_subquery().label("oldest"),
    )
)
_GET: Final = Statement(select(outbox).where(outbox.c.id == bindparam("id")))
_GET_LOCKED: Final = Statement(select(outbox).where(outbox.c.id == bindparam("id")).with_for_update())
_SAVE: Final = updating(outbox, _UNCHANGED)
_REMOVE: Final = Statement(delete(outbox).where(_UNCHANGED))
_FORGET_LINKS: Final = Statement(delete(outbox).where(_ENDED))
_FORGET_LINKS_AND_UNDOS: Final = Statement(delete(outbox).where(or_(_ENDED, _UNDOING)))
_FORGET_EMAIL: Final = Statement(
    delete(outbox).where(
        outbox.c.email_key == bindparam("email_key"),
        or_(outbox.c.user_id.is_(None), outbox.c.user_id == bindparam("user_id")),
    )
)


class SqlOutbox:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def add(self, queued: QueuedMail) -> None:
        await self._connection.write(_ADD, queued_mail_to_row(queued))

    async def due(self, now: datetime, *, without: Collection[str] = ()) -> bool:
        if not without:
            return await self._connection.row(_DUE, {"now": now}) is not None
        return await self._connection.row(select(outbox.c.id).where(*_due(now, without)).limit(1)) is not None

    async def backlog(self, now: datetime) -> MailBacklog:
        [(due, dead, oldest)] = await self._connection.rows(_BACKLOG, {"now": now})
        return MailBacklog(due=due, dead=dead, oldest=oldest)

    async def claim(
        self, now: datetime, until: datetime, limit: int, *, without: Collection[str] = ()
    ) -> list[QueuedMail]:
        due = select(outbox.c.id).where(*_due(now, without))
        due = due.order_by(outbox.c.next_try_at, outbox.c.id).limit(limit)
        if self._connection.locking:
            due = due.with_for_update(skip_locked=True)
        some = due.cte("due")  # evaluated once; a repeated subquery would apply `limit` to other rows
        taken = update(outbox).where(outbox.c.id.in_(select(some.c.id))).values(next_try_at=until).returning(*outbox.c)
        queued_mails = [queued_mail_from_row(row) for row in await self._connection.change(taken)]
        return sorted(queued_mails, key=lambda queued: (queued.created_at, queued.id))

    async def get(self, mail_id: UUID) -> QueuedMail | None:
        row = await self._connection.row(_GET_LOCKED if self._connection.locking else _GET, {"id": mail_id})
        return None if row is None else queued_mail_from_row(row)

    async def page(self, after: After[datetime] | None, limit: int, *, dead: bool | None = None) -> list[QueuedMail]:
        found = select(outbox)
        if dead is not None:
            found = found.where(outbox.c.dead.is_(dead))
        if after is not None:
            there = tuple_(literal(after.key, outbox.c.created_at.type), literal(after.id, outbox.c.id.type))
            found = found.where(tuple_(outbox.c.created_at, outbox.c.id) > there)
        rows = await self._connection.rows(found.order_by(outbox.c.created_at, outbox.c.id).limit(limit))
        return [queued_mail_from_row(row) for row in rows]

    async def save(self, queued: QueuedMail, *, was: QueuedMail) -> bool:
        return await self._connection.write(_SAVE, {**queued_mail_to_row(queued), **_as(was)}) > 0

    async def remove(self, queued: QueuedMail) -> None:
        await self._connection.write(_REMOVE, _as(queued))

    async def forget_links(self, user_id: UserId, email: Email, *, changed_since: datetime | None) -> None:
        which = {"user_id": user_id, "email_key": email.key}
        if changed_since is None:
            await self._connection.write(_FORGET_LINKS, which)
        else:
            await self._connection.write(_FORGET_LINKS_AND_UNDOS, {**which, "since": changed_since})

    async def forget_email(self, email: Email, user_id: UserId) -> None:
        await self._connection.write(_FORGET_EMAIL, {"email_key": email.key, "user_id": user_id})

    async def forget_all(self, limit: int) -> int:
        return await self._connection.forget(outbox.c.id, select(outbox.c.id).limit(limit))

    async def forget(self, made_before: datetime, limit: int) -> int:
        """Skips a mail that another unit has locked; a later call deletes it."""
        old = select(outbox.c.id).where(outbox.c.created_at < made_before).order_by(outbox.c.created_at)
        return await self._connection.forget(outbox.c.id, old.limit(limit).with_for_update(skip_locked=True))


def _due(now: datetime, without: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    """Conditions for a mail that is due, to another domain than these."""
    others = (outbox.c.email_key.not_like(f"%@{_escaped(domain)}", escape="/") for domain in without)
    return outbox.c.dead.is_(False), outbox.c.next_try_at <= now, *others


def _escaped(text: str) -> str:
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")


def _as(queued: QueuedMail) -> Values:
    return {"its_id": queued.id, "its_time": queued.next_try_at}
