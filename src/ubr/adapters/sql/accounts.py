"""Users, their grants, and one-time links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Final

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    delete,
    or_,
    select,
    tuple_,
    update,
)

from ubr.adapters.sql import field_indexes
from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import (
    grant_from_row,
    grant_to_row,
    link_from_row,
    link_to_row,
    slices,
    summaries_from_json,
    summaries_from_rows,
    term_to_row,
    user_from_row,
    user_to_row,
)
from ubr.adapters.sql.statements import Locking, Parameters, Row, Statement, among, inserting, updating
from ubr.adapters.sql.tables import (
    Timestamp,
    links,
    reserved_emails,
    roles,
    user_field_values,
    user_roles,
    users,
)
from ubr.adapters.sql.user_search import WITH_GRANTS, Listing, listing_of, role_id_of
from ubr.application.ports.accounts import ReservedEmail, UserFilter
from ubr.application.ports.paging import After, Found
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.one_time_link import UNDO_LIFETIME, LinkKind, OneTimeLink
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.accounts.user import User, UserKind, UserStatus, UserSummary
from ubr.domain.accounts.user_field import NO_VALUES, FieldValues, Terms
from ubr.domain.accounts.user_fields import FieldIndex
from ubr.domain.errors import EmailTaken
from ubr.domain.ids import TokenDigest, UserId
from ubr.domain.roles.grant import Grants
from ubr.domain.roles.role import ADMIN_ROLE_ID

_, _GRANT = slices(users, user_roles)


class _Find:
    """Statements that find one user. Locking and loading are two, because one that waited for its lock would still see
    the old grants.
    """

    def __init__(self, condition: ColumnElement[bool]) -> None:
        self.lock: Final = Statement(select(users.c.id).where(condition).with_for_update(key_share=True))
        self.load: Final = Statement(WITH_GRANTS.where(condition))


_BY_ID: Final = _Find(users.c.id == bindparam("id"))
_BY_EMAIL: Final = _Find(users.c.email_key == bindparam("email_key"))
_MARKS: Final = Locking(select(users.c.version, users.c.password_hash).where(users.c.id == bindparam("id")))
_ADD: Final = inserting(users)
_SAVE: Final = updating(
    users, users.c.id == bindparam("its_id"), columns=[each for each in users.c if each.name != "field_index"]
)
_SAVE_WITH_TERMS: Final = updating(users, users.c.id == bindparam("its_id"))
_HASHES: Final = select(users.c.id, users.c.password_hash).order_by(users.c.id)
_REBIND: Final = Statement(
    update(users)
    .where(users.c.id == bindparam("its_id"), users.c.password_hash == bindparam("before"))
    .values(password_hash=bindparam("password_hash"))
)
_ADD_TERMS: Final = inserting(user_field_values)
_REMOVE_TERMS: Final = Statement(
    lambda dialect: delete(user_field_values).where(among(dialect, user_field_values.c.user_id, "user_ids"))
)
_FIELDS: Final = select(users.c.id, users.c.fields).where(users.c.kind == UserKind.PERSON.value).order_by(users.c.id)
_REMOVE: Final = Statement(delete(users).where(users.c.id == bindparam("id")))
_RESERVED: Final = Statement(
    select(reserved_emails.c.email_key).where(
        reserved_emails.c.email_key == bindparam("email_key"),
        reserved_emails.c.user_id != bindparam("user_id"),
        reserved_emails.c.until > bindparam("now"),
    )
)
_RESERVATION: Final = Statement(
    select(reserved_emails.c.user_id, reserved_emails.c.until).where(
        reserved_emails.c.email_key == bindparam("email_key"), reserved_emails.c.until > bindparam("now")
    )
)
_RESERVE: Final = inserting(reserved_emails)
_RELEASE_EMAIL: Final = Statement(delete(reserved_emails).where(reserved_emails.c.email_key == bindparam("email_key")))
_RELEASE: Final = Statement(
    delete(reserved_emails).where(
        reserved_emails.c.user_id == bindparam("user_id"), reserved_emails.c.until >= bindparam("until")
    )
)
_LOCK_ADMINS: Final = Statement(select(roles.c.id).where(roles.c.id == ADMIN_ROLE_ID).with_for_update(key_share=True))
_OTHER_ADMIN: Final = Statement(
    select(users.c.id)
    .join(user_roles, user_roles.c.user_id == users.c.id)
    .where(user_roles.c.role_id == ADMIN_ROLE_ID, user_roles.c.expires_at.is_(None))
    .where(users.c.status == UserStatus.ACTIVE.value, users.c.kind == UserKind.PERSON.value)
    .where(users.c.id != bindparam("id"))
    .limit(1)
)
_ADD_GRANT: Final = inserting(user_roles)
_THE_GRANT: Final = and_(user_roles.c.user_id == bindparam("its_user"), user_roles.c.role_id == bindparam("its_role"))
_SAVE_GRANT: Final = updating(user_roles, _THE_GRANT)
_REMOVE_GRANTS: Final = Statement(
    lambda dialect: delete(user_roles).where(
        user_roles.c.user_id == bindparam("user_id"), among(dialect, user_roles.c.role_id, "role_ids")
    )
)


class SqlUsers:
    """Users of one unit of work. Keeps the grants of each user as read, so that saving writes only the difference."""

    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection
        self._emails: dict[UserId, str] = {}
        self._grants: dict[UserId, Grants] = {}

    async def get(self, user_id: UserId) -> User | None:
        return await self._one(_BY_ID, {"id": user_id})

    async def again(self, user: User) -> User | None:
        row = await self._connection.row(_MARKS.on(self._connection), {"id": user.id})
        if row is None:
            return None
        hashed = None if user.password_hash is None else user.password_hash.encoded
        # A hash that is encrypted with another secret raises no version.
        if tuple(row) != (user.version, hashed):
            found = await self._load(_BY_ID.load, {"id": user.id})
            return found[0] if found else None
        self._read([user])
        return user

    async def by_email(self, email: Email) -> User | None:
        return await self._one(_BY_EMAIL, {"email_key": email.key})

    async def _one(self, find: _Find, parameters: Parameters) -> User | None:
        if self._connection.locking and await self._connection.row(find.lock, parameters) is None:
            return None
        found = await self._load(find.load, parameters)
        return found[0] if found else None

    async def search(
        self, which: UserFilter, after: After[datetime] | After[str] | None, limit: int
    ) -> Found[UserSummary, datetime | str]:
        role_id = None
        if which.role is not None and (role_id := await role_id_of(self._connection, which)) is None:
            return Found([])
        listing, values = listing_of(which, role_id, after, limit)
        return await self._bounded(listing, {**values, "now": self._connection.moment})

    async def _bounded(self, listing: Listing, values: Parameters) -> Found[UserSummary, datetime | str]:
        if listing.covered_by_order:
            return Found(await self._summaries(listing.by_order, values))
        counts = [count for (count,) in await self._connection.rows(listing.counts, values)]
        if min(counts) < values["counted"]:
            return Found(await self._summaries(listing.by_filter(counts.index(min(counts))), values))
        found = await self._summaries(listing.by_scan, values)
        if len(found) == values["limit"]:
            return Found(found)
        places = await self._connection.rows(listing.places, values)
        return Found(found, After(*places[0]) if len(places) > 1 else None)

    async def _summaries(self, statement: Statement, values: Parameters) -> list[UserSummary]:
        rows = await self._connection.rows(statement, values)
        return summaries_from_rows(rows) if self._connection.dialect == "sqlite" else summaries_from_json(rows[0][0])

    async def add(self, user: User) -> None:
        terms = user.terms or Terms()
        await self._connection.write(_ADD, {**user_to_row(user), "field_index": terms.index})
        await self._check_reserved(user)
        await self._write_grants(user, {})
        await self._add_terms({user.id: terms})
        self._connection.note(user.events)

    async def save(self, user: User) -> None:
        """If the user no longer exists, this stores and records nothing."""
        if user.id not in self._grants:
            await self._load(_BY_ID.load, {"id": user.id})
        row = {**user_to_row(user), "its_id": user.id}
        if user.terms is None:
            saved = await self._connection.write(_SAVE, row)
        else:
            saved = await self._connection.write(_SAVE_WITH_TERMS, {**row, "field_index": user.terms.index})
        if saved == 0:
            return
        if user.email.key != self._emails[user.id]:
            await self._check_reserved(user)
        await self._write_grants(user, self._grants[user.id])
        if user.terms is not None:
            await self._replace_terms({user.id: user.terms})
        self._connection.note(user.events)

    async def remove(self, user: User) -> None:
        await self._connection.write(_REMOVE, {"id": user.id})
        self._connection.note(user.events)

    async def field_values(self, after: UserId | None, limit: int) -> list[tuple[UserId, FieldValues]]:
        which = _FIELDS if after is None else _FIELDS.where(users.c.id > after)
        if self._connection.locking:
            which = which.with_for_update(key_share=True)
        return [(UserId(row[0]), row[1] or NO_VALUES) for row in await self._connection.rows(which.limit(limit))]

    async def index(self, terms: Mapping[UserId, Terms]) -> None:
        await self._replace_terms(terms)
        for name in sorted({made.index for made in terms.values()}):
            these = [user_id for user_id, made in terms.items() if made.index == name]
            await self._connection.write(field_indexes.SET_INDEX, {"user_ids": these, "field_index": name})

    async def declare_index(self, index: FieldIndex) -> None:
        await self._connection.write(field_indexes.DECLARE, {"name": index.name, "forms": dict(index.forms)})

    async def indexes(self) -> list[FieldIndex]:
        return [FieldIndex(name, forms or {}) for name, forms in await self._connection.rows(field_indexes.INDEXES)]

    async def indexed_under(self, name: str, limit: int) -> list[tuple[UserId, FieldValues]]:
        statement = field_indexes.INDEXED_UNDER_LOCKED if self._connection.locking else field_indexes.INDEXED_UNDER
        rows = await self._connection.rows(statement, {"name": name, "limit": limit})
        return [(UserId(row[0]), row[1] or NO_VALUES) for row in rows]

    async def _replace_terms(self, terms: Mapping[UserId, Terms]) -> None:
        await self._connection.write(_REMOVE_TERMS, {"user_ids": list(terms)})
        await self._add_terms(terms)

    async def _add_terms(self, terms: Mapping[UserId, Terms]) -> None:
        if rows := [term_to_row(user_id, term) for user_id, made in terms.items() for term in sorted(made.found_by)]:
            await self._connection.write(_ADD_TERMS, rows)

    async def _check_reserved(self, user: User) -> None:
        """Call this after writing the row: the write waits for a unit that gives up the e-mail at the same moment."""
        kept = {"email_key": user.email.key, "user_id": user.id, "now": self._connection.now}
        if await self._connection.row(_RESERVED, kept) is not None:
            raise EmailTaken

    async def reserve(self, email: Email, user_id: UserId, until: datetime) -> None:
        # This user had the e-mail until now, so no reservation for another user can be in force.
        await self._connection.write(_RELEASE_EMAIL, {"email_key": email.key})
        row = {"email_key": email.key, "user_id": user_id, "until": until}
        await self._connection.write(_RESERVE, row)

    async def reserved(self, email: Email, now: datetime) -> ReservedEmail | None:
        row = await self._connection.row(_RESERVATION, {"email_key": email.key, "now": now})
        return None if row is None else ReservedEmail(UserId(row[0]), row[1])

    async def release(self, user_id: UserId, until: datetime) -> None:
        await self._connection.write(_RELEASE, {"user_id": user_id, "until": until})

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

    async def hashes(
        self, after: UserId | None, limit: int, *, among: int | None = None
    ) -> list[tuple[UserId, PasswordHash]]:
        statement = _HASHES if after is None else _HASHES.where(users.c.id > after)
        if among is None:
            statement = statement.where(users.c.password_hash.is_not(None))
        else:
            found = statement.limit(among).subquery("found")
            statement = select(found).where(found.c.password_hash.is_not(None)).order_by(found.c.id)
        return [(UserId(row[0]), PasswordHash(row[1])) for row in await self._connection.rows(statement.limit(limit))]

    async def rebind(self, user_id: UserId, before: PasswordHash, after: PasswordHash) -> bool:
        values = {"its_id": user_id, "before": before.encoded, "password_hash": after.encoded}
        return await self._connection.write(_REBIND, values) > 0

    async def another_admin_stays(self, user_id: UserId) -> bool:
        if self._connection.locking:
            await self._connection.row(_LOCK_ADMINS)
        return await self._connection.row(_OTHER_ADMIN, {"id": user_id}) is not None

    async def _load(self, statement: Statement, parameters: Parameters) -> list[User]:
        rows = await self._connection.rows(statement, parameters)
        found = [_user(list(group)) for _, group in groupby(rows, key=itemgetter(0))]
        self._read(found)
        return found

    def _read(self, found: Sequence[User]) -> None:
        self._grants.update((user.id, dict(user.grants)) for user in found)
        self._emails.update((user.id, user.email.key) for user in found)

    async def _write_grants(self, user: User, before: Grants) -> None:
        gone = [role_id for role_id in before if role_id not in user.grants]
        moved = [grant for role_id, grant in user.grants.items() if role_id in before and before[role_id] != grant]
        fresh = [grant for role_id, grant in user.grants.items() if role_id not in before]
        if gone:
            await self._connection.write(_REMOVE_GRANTS, {"user_id": user.id, "role_ids": gone})
        for grant in moved:
            # An update: deleting and inserting would lock the role, and in a different order.
            which = {"its_user": user.id, "its_role": grant.role_id}
            await self._connection.write(_SAVE_GRANT, {**grant_to_row(user.id, grant), **which})
        if fresh:
            await self._connection.write(_ADD_GRANT, [grant_to_row(user.id, grant) for grant in fresh])
        self._grants[user.id] = dict(user.grants)
        self._emails[user.id] = user.email.key


def _user(rows: Sequence[Row]) -> User:
    held = (row[_GRANT] for row in rows)
    grants = [grant_from_row(grant) for grant in held if grant[0] is not None]
    return user_from_row(rows[0], {grant.role_id: grant for grant in grants})


_NOT_UNDO: Final = links.c.kind != LinkKind.EMAIL_UNDO.value
_ADD_LINK: Final = inserting(links)
_REMOVE_OLDER_BY_EMAIL: Final = Statement(
    delete(links).where(links.c.kind == bindparam("kind"), links.c.email_key == bindparam("email_key"))
)
_REMOVE_OLDER_BY_USER: Final = Statement(
    delete(links).where(links.c.kind == bindparam("kind"), links.c.user_id == bindparam("user_id"))
)
_LINK: Final = Statement(select(links).where(links.c.digest == bindparam("digest")))
_REDEEM: Final = Statement(
    delete(links)
    .where(links.c.digest == bindparam("digest"), links.c.expires_at > bindparam("now"))
    .returning(*links.c)
)
_PENDING: Final = Statement(
    select(links)
    .where(
        links.c.email_key == bindparam("email_key"),
        links.c.kind == bindparam("kind"),
        links.c.user_id.is_(None),
        links.c.expires_at > bindparam("now"),
    )
    .order_by(links.c.created_at.desc())
    .limit(1)
)
_FORGET_LINKS: Final = Statement(delete(links).where(links.c.user_id == bindparam("user_id"), _NOT_UNDO))
_FORGET_UNOWNED: Final = Statement(
    delete(links).where(links.c.email_key == bindparam("email_key"), links.c.user_id.is_(None))
)
_FORGET_LINKS_AND_UNDOS: Final = Statement(
    delete(links).where(
        links.c.user_id == bindparam("user_id"),
        or_(_NOT_UNDO, links.c.expires_at >= bindparam("undo_until", type_=Timestamp)),
    )
)


class SqlLinks:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def add(self, link: OneTimeLink, *, keep_older: bool = False) -> None:
        if not keep_older:
            await self._drop_others(link)
        await self._connection.write(_ADD_LINK, link_to_row(link))

    async def _drop_others(self, link: OneTimeLink) -> None:
        if link.kind is not LinkKind.EMAIL_UNDO:
            kind = link.kind.value
            if link.user_id is None:
                await self._connection.write(_REMOVE_OLDER_BY_EMAIL, {"kind": kind, "email_key": link.email.key})
            else:
                await self._connection.write(_REMOVE_OLDER_BY_USER, {"kind": kind, "user_id": link.user_id})

    async def get(self, digest: TokenDigest) -> OneTimeLink | None:
        row = await self._connection.row(_LINK, {"digest": digest})
        return None if row is None else link_from_row(row)

    async def redeem(self, digest: TokenDigest, now: datetime) -> OneTimeLink | None:
        rows = await self._connection.change(_REDEEM, {"digest": digest, "now": now})
        if not rows:
            return None
        link = link_from_row(rows[0])
        await self._drop_others(link)
        return link

    async def pending(self, kind: LinkKind, email: Email, now: datetime) -> OneTimeLink | None:
        which = {"email_key": email.key, "kind": kind.value, "now": now}
        rows = await self._connection.rows(_PENDING, which)
        return link_from_row(rows[0]) if rows else None

    async def forget_of(self, user_id: UserId, *, changed_since: datetime | None) -> None:
        if changed_since is None:
            await self._connection.write(_FORGET_LINKS, {"user_id": user_id})
        else:
            undo_until = changed_since + UNDO_LIFETIME
            await self._connection.write(_FORGET_LINKS_AND_UNDOS, {"user_id": user_id, "undo_until": undo_until})

    async def forget_unowned(self, email: Email) -> None:
        await self._connection.write(_FORGET_UNOWNED, {"email_key": email.key})

    async def forget_all(self, limit: int) -> int:
        return await self._connection.forget(links.c.digest, select(links.c.digest).limit(limit))

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """Skips a link that another unit has locked; a later call deletes it."""
        expired = select(links.c.digest).where(links.c.expires_at < expired_before).order_by(links.c.expires_at)
        return await self._connection.forget(links.c.digest, expired.limit(limit).with_for_update(skip_locked=True))
