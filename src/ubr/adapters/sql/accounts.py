"""Users, their grants, and one-time links."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, Select, and_, delete, insert, or_, select, tuple_, update

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import grant_from_row, grant_to_row, link_from_row, link_to_row, user_from_row, user_to_row
from ubr.adapters.sql.tables import links, reserved_emails, roles, user_roles, users
from ubr.adapters.sql.user_search import Listing, role_id_of
from ubr.application.ports.accounts import UserFilter
from ubr.application.ports.paging import After
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.one_time_link import UNDO_LIFETIME, LinkKind, OneTimeLink
from ubr.domain.accounts.user import User, UserStatus
from ubr.domain.errors import EmailTaken
from ubr.domain.ids import TokenDigest, UserId
from ubr.domain.roles.grant import Grants
from ubr.domain.roles.role import ADMIN_ROLE_ID

# A user takes one row for each grant, or one row without grants. Grants of removed roles are not found.
_REMOVED: Final = select(roles.c.id).where(roles.c.deleted_at.is_not(None))
_HOLDS: Final = and_(user_roles.c.user_id == users.c.id, user_roles.c.role_id.not_in(_REMOVED))
_WITH_GRANTS: Final = select(users, user_roles).select_from(users.outerjoin(user_roles, _HOLDS))


class SqlUsers:
    """Users of one unit of work. Keeps the grants of each user as read, so that saving writes only the difference."""

    def __init__(self, link: SqlConnection, now: datetime) -> None:
        self._connection = link
        self._now = now
        self._emails: dict[UserId, str] = {}
        self._grants: dict[UserId, Grants] = {}

    async def get(self, user_id: UserId) -> User | None:
        return await self._one(users.c.id == user_id)

    async def by_email(self, email: Email) -> User | None:
        return await self._one(users.c.email_key == email.key)

    async def _one(self, condition: ColumnElement[bool]) -> User | None:
        # Two statements, because a single one that waited for its lock would still see the old grants.
        if self._connection.locking:
            lock = select(users.c.id).where(condition).with_for_update(key_share=True)
            if await self._connection.row(lock) is None:
                return None
        found = await self._load(_WITH_GRANTS.where(condition))
        return found[0] if found else None

    async def page(self, which: UserFilter, after: After[datetime] | After[str] | None, limit: int) -> list[User]:
        role_id = None
        if which.role is not None and (role_id := await role_id_of(self._connection, which)) is None:
            return []
        listing = Listing(which=which, role_id=role_id, after=after, limit=limit)
        found = await self._list(listing)
        by_email = listing.by_email
        return sorted(
            found, key=lambda user: (user.email.key if by_email else user.created_at, user.id), reverse=listing.down
        )

    async def _list(self, listing: Listing) -> list[User]:
        if listing.anybody:
            return await self._listed(listing.straight())
        counts = [row["count"] for row in await self._connection.rows(listing.counts())]
        if not listing.few(counts):
            found = await self._listed(listing.walked())
            if len(found) == listing.limit or await self._connection.row(listing.further()) is None:
                return found
        return await self._listed(listing.taken())

    async def _listed(self, ids: Select[Any]) -> list[User]:
        return await self._load(_WITH_GRANTS.where(users.c.id.in_(ids)))

    async def add(self, user: User) -> None:
        await self._connection.write(insert(users), user_to_row(user))
        await self._check_reserved(user)
        await self._write_grants(user, {})
        self._connection.note(user.events)

    async def save(self, user: User) -> None:
        """If the user no longer exists, this stores and records nothing."""
        if user.id not in self._grants:
            await self._load(_WITH_GRANTS.where(users.c.id == user.id))
        if await self._connection.write(update(users).where(users.c.id == user.id).values(user_to_row(user))) == 0:
            return
        if user.email.key != self._emails[user.id]:
            await self._check_reserved(user)
        await self._write_grants(user, self._grants[user.id])
        self._connection.note(user.events)

    async def remove(self, user: User) -> None:
        await self._connection.write(delete(users).where(users.c.id == user.id))
        self._connection.note(user.events)

    async def _check_reserved(self, user: User) -> None:
        """Call this after writing the row: the write waits for a unit that gives up the e-mail at the same moment."""
        kept = select(reserved_emails.c.email_key).where(
            reserved_emails.c.email_key == user.email.key,
            reserved_emails.c.user_id != user.id,
            reserved_emails.c.until > self._now,
        )
        if await self._connection.row(kept) is not None:
            raise EmailTaken

    async def reserve(self, email: Email, user_id: UserId, until: datetime) -> None:
        # This user had the e-mail until now, so no reservation for another user can be in force.
        await self._connection.write(delete(reserved_emails).where(reserved_emails.c.email_key == email.key))
        row = {"email_key": email.key, "user_id": user_id, "until": until}
        await self._connection.write(insert(reserved_emails), row)

    async def release(self, user_id: UserId, until: datetime) -> None:
        kept = reserved_emails.c
        await self._connection.write(delete(reserved_emails).where(kept.user_id == user_id, kept.until >= until))

    async def forget_reservations(self, ended_before: datetime, limit: int) -> int:
        kept = reserved_emails.c
        ended = select(kept.email_key).where(kept.until < ended_before).order_by(kept.until).limit(limit)
        return await self._connection.forget(kept.email_key, ended.with_for_update(skip_locked=True))

    async def forget_grants(self, ended_before: datetime, limit: int) -> int:
        """Skips the grants of a user whom another unit is changing; a later call deletes them."""
        c = user_roles.c
        ended = (
            select(c.user_id, c.role_id)
            .join_from(user_roles, users, users.c.id == c.user_id)
            .where(c.expires_at < ended_before)
            .order_by(c.expires_at)
            .limit(limit)
            # A unit that changes grants locks their user before it reads them.
            .with_for_update(of=users, key_share=True, skip_locked=True)
            .cte("ended")
        )
        # Checks the end again: a unit that has committed since the statement began may have moved it.
        gone = delete(user_roles).where(
            tuple_(c.user_id, c.role_id).in_(select(ended.c.user_id, ended.c.role_id)), c.expires_at < ended_before
        )
        return len(await self._connection.change(gone.returning(c.role_id)))

    async def another_admin_stays(self, user_id: UserId) -> bool:
        if self._connection.locking:
            await self._connection.row(
                select(roles.c.id).where(roles.c.id == ADMIN_ROLE_ID).with_for_update(key_share=True)
            )
        others = (
            select(users.c.id)
            .join(user_roles, user_roles.c.user_id == users.c.id)
            .where(user_roles.c.role_id == ADMIN_ROLE_ID, user_roles.c.expires_at.is_(None))
            .where(users.c.status == UserStatus.ACTIVE.value, users.c.id != user_id)
            .limit(1)
        )
        return await self._connection.row(others) is not None

    async def _load(self, statement: Select[Any]) -> list[User]:
        rows = await self._connection.rows(statement.order_by(users.c.id, user_roles.c.role_id))
        found = [_user(list(group)) for _, group in groupby(rows, key=lambda row: row[users.c.id])]
        self._grants.update((user.id, dict(user.grants)) for user in found)
        self._emails.update((user.id, user.email.key) for user in found)
        return found

    async def _write_grants(self, user: User, before: Grants) -> None:
        gone = [role_id for role_id in before if role_id not in user.grants]
        moved = [grant for role_id, grant in user.grants.items() if role_id in before and before[role_id] != grant]
        fresh = [grant for role_id, grant in user.grants.items() if role_id not in before]
        if gone:
            where = and_(user_roles.c.user_id == user.id, user_roles.c.role_id.in_(gone))
            await self._connection.write(delete(user_roles).where(where))
        for grant in moved:
            # An update: deleting and inserting would lock the role, and in a different order.
            where = and_(user_roles.c.user_id == user.id, user_roles.c.role_id == grant.role_id)
            await self._connection.write(update(user_roles).where(where).values(grant_to_row(user.id, grant)))
        if fresh:
            await self._connection.write(insert(user_roles), [grant_to_row(user.id, grant) for grant in fresh])
        self._grants[user.id] = dict(user.grants)
        self._emails[user.id] = user.email.key


def _user(rows: Sequence[RowMapping]) -> User:
    grants = [grant_from_row(row) for row in rows if row[user_roles.c.role_id] is not None]
    return user_from_row(rows[0], {grant.role_id: grant for grant in grants})


class SqlLinks:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def add(self, link: OneTimeLink) -> None:
        if link.kind is not LinkKind.EMAIL_UNDO:
            whose = links.c.email_key == link.email.key if link.user_id is None else links.c.user_id == link.user_id
            older = delete(links).where(links.c.kind == link.kind.value, whose)
            await self._connection.write(older)
        await self._connection.write(insert(links), link_to_row(link))

    async def get(self, digest: TokenDigest) -> OneTimeLink | None:
        row = await self._connection.row(select(links).where(links.c.digest == digest))
        return None if row is None else link_from_row(row)

    async def redeem(self, digest: TokenDigest, now: datetime) -> OneTimeLink | None:
        taken = delete(links).where(links.c.digest == digest, links.c.expires_at > now).returning(*links.c)
        rows = await self._connection.change(taken)
        return link_from_row(rows[0]) if rows else None

    async def pending(self, kind: LinkKind, email: Email, now: datetime) -> OneTimeLink | None:
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
        """Skips a link that another unit has locked; a later call deletes it."""
        expired = select(links.c.digest).where(links.c.expires_at < expired_before).order_by(links.c.expires_at)
        return await self._connection.forget(links.c.digest, expired.limit(limit).with_for_update(skip_locked=True))
