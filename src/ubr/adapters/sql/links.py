"""One-time links."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select

from ubr.adapters.sql.link import Link as Connection
from ubr.adapters.sql.rows import link_from_row, link_to_row
from ubr.adapters.sql.tables import links
from ubr.domain.link import Link, LinkKind
from ubr.domain.values import Email, TokenDigest, UserId


class SqlLinks:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, link: Link) -> None:
        if link.kind is not LinkKind.EMAIL_UNDO:
            whose = links.c.email_key == link.email.key if link.user_id is None else links.c.user_id == link.user_id
            older = delete(links).where(links.c.kind == link.kind.value, whose)
            await self._connection.write(older)
        await self._connection.write(insert(links), link_to_row(link))

    async def get(self, digest: TokenDigest) -> Link | None:
        row = await self._connection.row(select(links).where(links.c.digest == digest))
        return None if row is None else link_from_row(row)

    async def redeem(self, digest: TokenDigest, now: datetime) -> Link | None:
        taken = delete(links).where(links.c.digest == digest, links.c.expires_at > now).returning(*links.c)
        rows = await self._connection.change(taken)
        return link_from_row(rows[0]) if rows else None

    async def pending(self, kind: LinkKind, email: Email) -> Link | None:
        found = select(links).where(
            links.c.email_key == email.key, links.c.kind == kind.value, links.c.user_id.is_(None)
        )
        rows = await self._connection.rows(found.order_by(links.c.created_at.desc()).limit(1))
        return link_from_row(rows[0]) if rows else None

    async def forget_of(self, user_id: UserId, *, undoing: bool) -> None:
        which = delete(links).where(links.c.user_id == user_id)
        if not undoing:
            which = which.where(links.c.kind != LinkKind.EMAIL_UNDO.value)
        await self._connection.write(which)

    async def forget_all(self, limit: int) -> int:
        some = select(links.c.digest).limit(limit)
        return await self._connection.write(delete(links).where(links.c.digest.in_(some)))

    async def forget(self, expired_before: datetime, limit: int) -> int:
        expired = select(links.c.digest).where(links.c.expires_at < expired_before).limit(limit)
        return await self._connection.write(delete(links).where(links.c.digest.in_(expired)))
