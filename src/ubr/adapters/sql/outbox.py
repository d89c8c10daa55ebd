"""Letters that wait."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, insert, literal, select, tuple_, update

from ubr.adapters.sql.link import Link
from ubr.adapters.sql.rows import letter_from_row, letter_to_row
from ubr.adapters.sql.tables import outbox
from ubr.application.ports.repositories import After
from ubr.domain.letter import Letter
from ubr.domain.values import Email


class SqlOutbox:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def add(self, letter: Letter) -> None:
        await self._link.write(insert(outbox), letter_to_row(letter))

    async def due(self, now: datetime) -> bool:
        waiting = select(outbox.c.id).where(outbox.c.dead.is_(False), outbox.c.next_try_at <= now).limit(1)
        return await self._link.row(waiting) is not None

    async def claim(self, now: datetime, until: datetime, limit: int) -> list[Letter]:
        due = select(outbox.c.id).where(outbox.c.dead.is_(False), outbox.c.next_try_at <= now)
        due = due.order_by(outbox.c.next_try_at, outbox.c.id).limit(limit)
        if self._link.locking:
            due = due.with_for_update(skip_locked=True)
        taken = update(outbox).where(outbox.c.id.in_(due)).values(next_try_at=until).returning(*outbox.c)
        letters = [letter_from_row(row) for row in await self._link.change(taken)]
        return sorted(letters, key=lambda letter: (letter.created_at, letter.id))

    async def get(self, letter_id: UUID) -> Letter | None:
        found = select(outbox).where(outbox.c.id == letter_id)
        row = await self._link.row(found.with_for_update() if self._link.locking else found)
        return None if row is None else letter_from_row(row)

    async def page(self, after: After[datetime] | None, limit: int, *, dead: bool | None = None) -> list[Letter]:
        found = select(outbox)
        if dead is not None:
            found = found.where(outbox.c.dead.is_(dead))
        if after is not None:
            there = tuple_(literal(after.key, outbox.c.created_at.type), literal(after.id, outbox.c.id.type))
            found = found.where(tuple_(outbox.c.created_at, outbox.c.id) > there)
        rows = await self._link.rows(found.order_by(outbox.c.created_at, outbox.c.id).limit(limit))
        return [letter_from_row(row) for row in rows]

    async def save(self, letter: Letter) -> None:
        await self._link.write(update(outbox).where(outbox.c.id == letter.id).values(letter_to_row(letter)))

    async def remove(self, letter_id: UUID) -> None:
        await self._link.write(delete(outbox).where(outbox.c.id == letter_id))

    async def forget_email(self, email: Email) -> None:
        await self._link.write(delete(outbox).where(outbox.c.email_key == email.key))

    async def forget_all(self, limit: int) -> int:
        some = select(outbox.c.id).limit(limit)
        return await self._link.write(delete(outbox).where(outbox.c.id.in_(some)))

    async def forget(self, made_before: datetime, limit: int) -> int:
        old = select(outbox.c.id).where(outbox.c.created_at < made_before).limit(limit)
        return await self._link.write(delete(outbox).where(outbox.c.id.in_(old)))
