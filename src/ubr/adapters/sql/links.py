"""One-time links."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, or_, select

from ubr.adapters.sql.link import Link as Connection
from ubr.adapters.sql.rows import link_from_row, link_to_row
from ubr.adapters.sql.tables import links
from ubr.domain.link import UNDO_LIFETIME, Link, LinkKind
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

    async def pending(self, kind: LinkKind, email: Email, now: datetime) -> Link | None:
        found = select(links).where(
            links.c.email_key == email.key,
            links.c.kind == kind.value,
            links.c.user_id.is_(None),
            links.c.expires_at > now,
        )
        rows = await self._connection.rows(found.order_by(links.c.created_at.desc()).limit(1))
        return link_from_row(rows[0]) if rows else None

    async def forget_of(self, user_id: UserId, *, changed_since: datetime | None) -> None:
        which = links.c.kind != LinkKind.EMAIL_UNDO.value
        if changed_since is not None:
            which = or_(which, links.c.expires_at >= changed_since + UNDO_LIFETIME)
        await self._connection.write(delete(links).where(links.c.user_id == user_id, which))

    async def forget_all(self, limit: int) -> int:
        return await self._connection.forget(links.c.digest, select(links.c.digest).limit(limit))

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """One that somebody has locked is left for the next time."""
        expired = select(links.c.digest).where(links.c.expires_at < expired_before).order_by(links.c.expires_at)
        return await self._connection.forget(links.c.digest, expired.limit(limit).with_for_update(skip_locked=True))
