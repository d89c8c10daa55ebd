"""The statements that find a page of users.

No index gives both who is sought and the order that is asked for. So few who are sought are all taken, by the index
that finds them, and put in order; of many there are some wherever one looks, and the order is walked until the page is
full. Which of the two it is, is found out by counting, and not left to statistics: those of a database know nothing of
what was added a moment ago, nor of who stands together at one end of the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Executable,
    Select,
    and_,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.tables import roles, user_roles, users
from ubr.application.ports.accounts import UserFilter
from ubr.application.ports.paging import After
from ubr.domain.accounts.search import Prefix, behind
from ubr.domain.ids import RoleId

FEW: Final = 1_000
"""How many are taken and put in order without another thought."""

AHEAD: Final = 5_000
"""How far the order is walked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One page that is asked for. `role_id` is that of the role in `which`."""

    which: UserFilter
    role_id: RoleId | None
    after: After[datetime] | After[str] | None
    limit: int

    @property
    def anybody(self) -> bool:
        """Whether nobody in particular is sought: all that is asked for is in the indexes of the order."""
        return self.which.prefix is None and self.role_id is None

    @property
    def down(self) -> bool:
        return self.which.sort.startswith("-")

    @property
    def by_email(self) -> bool:
        return self.which.sort.endswith("email")

    def ordered(self, columns: Any) -> list[ColumnElement[Any]]:
        """The order, of any table with the columns of users."""
        # No two users have one e-mail: its own index gives the order, and there are no ties to break.
        order = [columns.email_key] if self.by_email else [columns.created_at, columns.id]
        return [column.desc() if self.down else column.asc() for column in order]

    def everybody(self, columns: Any) -> ColumnElement[bool]:
        """Of this status, and behind the page before: what the indexes of the order know."""
        conditions: list[ColumnElement[bool]] = []
        if self.which.status is not None:
            conditions.append(columns.status == self.which.status.value)
        if self.after is not None:
            key = columns.email_key if self.by_email else columns.created_at
            here = tuple_(key, columns.id)
            there = tuple_(literal(self.after.key, key.type), literal(self.after.id, columns.id.type))
            conditions.append(here < there if self.down else here > there)
        return and_(True, *conditions)

    def sought(self, columns: Any) -> ColumnElement[bool]:
        """Of this role, and beginning like this."""
        conditions: list[ColumnElement[bool]] = []
        if self.which.prefix is not None:
            conditions.append(or_(*_begin(columns, self.which.prefix)))
        if self.role_id is not None:
            conditions.append(exists().where(user_roles.c.user_id == columns.id, *self._held(self.role_id)))
        return and_(True, *conditions)

    def _held(self, role_id: RoleId) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        c = user_roles.c
        return c.role_id == role_id, or_(c.expires_at.is_(None), c.expires_at > self.which.now)

    # --- the statements ----------------------------------------------------------------------------------------------

    def straight(self) -> Select[Any]:
        """The ids, where anybody will do."""
        listed = users.alias("listed").c
        return select(listed.id).where(self.everybody(listed)).order_by(*self.ordered(listed)).limit(self.limit)

    def counts(self) -> Executable:
        """How many an index finds by each of what is sought, up to some more than few."""
        counts = []
        if self.which.prefix is not None:
            emails, names = _begin(users.c, self.which.prefix)
            counts.append(_count(users.c.email_key, emails) + _count(users.c.full_name_key, names))
        if self.role_id is not None:
            counts.append(_count(user_roles.c.user_id, user_roles.c.role_id == self.role_id))
        return union_all(*(select(count.label("count")) for count in counts))

    @staticmethod
    def few(counts: Sequence[int]) -> bool:
        return min(counts) <= FEW

    def taken(self) -> Select[Any]:
        """The ids, out of all who are sought."""
        c = users.c
        everyone = select(c.id, c.created_at, c.email_key).where(self.everybody(c), self.sought(c))
        # Apart from the order: woven into it, that might be walked after all.
        found = everyone.cte("found").prefix_with("MATERIALIZED").c
        return select(found.id).order_by(*self.ordered(found)).limit(self.limit)

    def walked(self) -> Select[Any]:
        """The ids, out of those who come next in the order."""
        ahead = self._ahead().limit(AHEAD).subquery("ahead").c
        return select(ahead.id).where(self.sought(ahead)).order_by(*self.ordered(ahead)).limit(self.limit)

    def further(self) -> Select[Any]:
        """Whether the order goes on behind what is walked."""
        return self._ahead().with_only_columns(users.c.id).offset(AHEAD).limit(1)

    def _ahead(self) -> Select[Any]:
        c = users.c
        columns = select(c.id, c.created_at, c.email_key, c.full_name_key)
        return columns.where(self.everybody(c)).order_by(*self.ordered(c))


def _begin(columns: Any, prefix: Prefix) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return _range(columns.email_key, prefix.email), _range(columns.full_name_key, prefix.name)


def _range(column: ColumnElement[Any], prefix: str) -> ColumnElement[bool]:
    """Whether a text begins like this: a range of an index, and no pattern in which some characters mean others."""
    end = behind(prefix)
    return column >= prefix if end is None else and_(column >= prefix, column < end)


def _count(column: ColumnElement[Any], condition: ColumnElement[bool]) -> ColumnElement[int]:
    # Ordered, so that they are counted along the index, whatever statistics say.
    some = select(column).where(condition).order_by(column).limit(FEW + 1).subquery("counted")
    return select(func.count()).select_from(some).scalar_subquery()


async def role_id_of(connection: SqlConnection, which: UserFilter) -> RoleId | None:
    """By itself: where a plan knows which role it is, it knows how many hold it."""
    row = await connection.row(select(roles.c.id).where(roles.c.name == str(which.role)))
    return None if row is None else row[roles.c.id]
