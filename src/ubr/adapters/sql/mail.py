"""Queued mails."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, insert, literal, or_, select, tuple_, update

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import queued_mail_from_row, queued_mail_to_row
from ubr.adapters.sql.tables import outbox
from ubr.application.ports.paging import After
from ubr.domain.accounts.email import Email
from ubr.domain.ids import UserId
from ubr.domain.mail.kinds import LINK_MAILS, MailKind
from ubr.domain.mail.queued_mail import QueuedMail

_WITH_LINKS: Final = [kind.value for kind in LINK_MAILS]


class SqlOutbox:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def add(self, queued: QueuedMail) -> None:
        await self._connection.write(insert(outbox), queued_mail_to_row(queued))

    async def due(self, now: datetime, *, without: Collection[str] = ()) -> bool:
        waiting = select(outbox.c.id).where(*_due(now, without)).limit(1)
        return await self._connection.row(waiting) is not None

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
        found = select(outbox).where(outbox.c.id == mail_id)
        row = await self._connection.row(found.with_for_update() if self._connection.locking else found)
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
        return await self._connection.write(update(outbox).where(*_as(was)).values(queued_mail_to_row(queued))) > 0

    async def remove(self, queued: QueuedMail) -> None:
        await self._connection.write(delete(outbox).where(*_as(queued)))

    async def forget_links(self, user_id: UserId, email: Email, *, changed_since: datetime | None) -> None:
        c = outbox.c
        ended = and_(c.kind.in_(_WITH_LINKS), or_(c.user_id == user_id, c.email_key == email.key))
        if changed_since is not None:
            undoing = c.kind == MailKind.EMAIL_CHANGED.value
            ended = or_(ended, and_(undoing, c.user_id == user_id, c.created_at >= changed_since))
        await self._connection.write(delete(outbox).where(ended))

    async def forget_email(self, email: Email) -> None:
        await self._connection.write(delete(outbox).where(outbox.c.email_key == email.key))

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


def _as(queued: QueuedMail) -> tuple[ColumnElement[bool], ...]:
    """Conditions for a mail that is unchanged since the caller claimed or read it."""
    return outbox.c.id == queued.id, outbox.c.next_try_at == queued.next_try_at
