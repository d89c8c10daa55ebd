"""The statements that find a page of users.

No index covers both the filter and the requested order. So if few users match, the index of the filter finds all of
them, and they are sorted. If many match, matches are everywhere, and the statement scans the order until the page is
full. A count decides between the two, and not the statistics of the database: these know neither the rows added a
moment ago, nor matches that are clustered at one end of the order.
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
"""Up to this many matches, all of them are fetched and sorted."""

AHEAD: Final = 5_000
"""Number of users that a scan of the order reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One requested page. `role_id` is the id of the role in `which`."""

    which: UserFilter
    role_id: RoleId | None
    after: After[datetime] | After[str] | None
    limit: int

    @property
    def anybody(self) -> bool:
        """True without a prefix and a role: the indexes of the order then cover the whole filter."""
        return self.which.prefix is None and self.role_id is None

    @property
    def down(self) -> bool:
        return self.which.sort.startswith("-")

    @property
    def by_email(self) -> bool:
        return self.which.sort.endswith("email")

    def ordered(self, columns: Any) -> list[ColumnElement[Any]]:
        """The order, for any table with the columns of users."""
        # E-mails are unique, so their index alone determines the order.
        order = [columns.email_key] if self.by_email else [columns.created_at, columns.id]
        return [column.desc() if self.down else column.asc() for column in order]

    def everybody(self, columns: Any) -> ColumnElement[bool]:
        """The conditions that the indexes of the order cover: the status, and the place after the previous page."""
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
        """The other conditions: the role and the prefix."""
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
        """The ids, for a filter without a prefix and a role."""
        listed = users.alias("listed").c
        return select(listed.id).where(self.everybody(listed)).order_by(*self.ordered(listed)).limit(self.limit)

    def counts(self) -> Executable:
        """The number of matches that an index finds for each condition, counted to slightly more than `FEW`."""
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
        """The ids, selected from all matches."""
        c = users.c
        everyone = select(c.id, c.created_at, c.email_key).where(self.everybody(c), self.sought(c))
        # Separate from the order: in one query, a plan might scan the order after all.
        found = everyone.cte("found").prefix_with("MATERIALIZED").c
        return select(found.id).order_by(*self.ordered(found)).limit(self.limit)

    def walked(self) -> Select[Any]:
        """The ids, selected from the next users in the order."""
        ahead = self._ahead().limit(AHEAD).subquery("ahead").c
        return select(ahead.id).where(self.sought(ahead)).order_by(*self.ordered(ahead)).limit(self.limit)

    def further(self) -> Select[Any]:
        """Selects a row if the order continues after the scanned users."""
        return self._ahead().with_only_columns(users.c.id).offset(AHEAD).limit(1)

    def _ahead(self) -> Select[Any]:
        c = users.c
        columns = select(c.id, c.created_at, c.email_key, c.full_name_key)
        return columns.where(self.everybody(c)).order_by(*self.ordered(c))


def _begin(columns: Any, prefix: Prefix) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return _range(columns.email_key, prefix.email), _range(columns.full_name_key, prefix.name)


def _range(column: ColumnElement[Any], prefix: str) -> ColumnElement[bool]:
    """True for a text with this prefix: a range of an index, not a pattern, in which some characters are special."""
    end = behind(prefix)
    return column >= prefix if end is None else and_(column >= prefix, column < end)


def _count(column: ColumnElement[Any], condition: ColumnElement[bool]) -> ColumnElement[int]:
    # Ordered, so that the plan uses the index even with poor statistics.
    some = select(column).where(condition).order_by(column).limit(FEW + 1).subquery("counted")
    return select(func.count()).select_from(some).scalar_subquery()


async def role_id_of(connection: SqlConnection, which: UserFilter) -> RoleId | None:
    """A separate query: a planner that knows the id of the role knows how many users hold it."""
    row = await connection.row(select(roles.c.id).where(roles.c.name == str(which.role)))
    return None if row is None else row[roles.c.id]
