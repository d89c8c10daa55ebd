"""The statements that find a page of users.

No index covers both the filter and the requested order. So if few users match, the index of the filter finds all of
them, and they are sorted. If many match, matches are everywhere, and the statement scans the order until the page is
full. A count decides between the two, and not the statistics of the database: these know neither the rows added a
moment ago, nor matches that are clustered at one end of the order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import summary_columns, summary_json
from ubr.adapters.sql.statements import Statement, moment
from ubr.adapters.sql.tables import roles, user_field_values, user_roles, users
from ubr.application.ports.accounts import UserFilter
from ubr.application.ports.paging import After
from ubr.domain.accounts.search import behind
from ubr.domain.ids import RoleId

MAX_SORTED: Final = 20_000
"""Maximum number of matches that are all fetched and sorted for a page."""

MAX_SCANNED: Final = 30_000
"""Maximum number of users that a scan of the order reads for a page.

Both bounds keep a page below some 50 ms. With less, a search whose matches are at the other end of the order would take
more pages.
"""

_REMOVED: Final = select(roles.c.id).where(roles.c.deleted_at.is_not(None))
_HOLDS: Final = and_(user_roles.c.user_id == users.c.id, user_roles.c.role_id.not_in(_REMOVED))

WITH_GRANTS: Final = (
    select(users, user_roles)
    .select_from(users.outerjoin(user_roles, _HOLDS))
    .order_by(users.c.id, user_roles.c.role_id)
)
"""A user takes one row for each grant, or one row without grants. Grants of removed roles are not found."""

_ROLE_ID: Final = Statement(select(roles.c.id).where(roles.c.name == bindparam("name")))


class _Ends(msgspec.Struct, frozen=True):
    """By which prefixes have an end: the last ones of the order have none."""

    email: bool
    name: bool


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The statements for one form of a page: which conditions it has, and not their values."""

    sort: str
    status: bool
    after: bool
    prefix: _Ends | None
    role: bool
    terms: int = 0
    """The number of fields of the host that are searched."""

    @property
    def covered_by_order(self) -> bool:
        """True without a prefix, a role and a field: the indexes of the order then cover the whole filter."""
        return self.prefix is None and not self.role and not self.terms

    @property
    def down(self) -> bool:
        return self.sort.startswith("-")

    @property
    def by_email(self) -> bool:
        return self.sort.endswith("email")

    # --- the statements ----------------------------------------------------------------------------------------------

    @cached_property
    def by_order(self) -> Statement:
        """The users, from an index of the order, which covers the whole filter. Only for `covered_by_order`."""
        c = users.c
        ids = select(c.id).where(self._order_conditions(c)).order_by(*self._ordered(c))
        return self._page_of(lambda _: ids.limit(_integer("limit")))

    @cached_property
    def counts(self) -> Statement:
        """The number of matches that an index finds for each condition, counted to slightly more than are few.

        The fields are the first of the conditions.
        """
        counts = [_count(user_field_values.c.user_id, _has_term(at)) for at in range(self.terms)]
        if self.prefix is not None:
            emails, names = _begin(users.c, self.prefix)
            counts.append(_count(users.c.email_key, emails) + _count(users.c.full_name_key, names))
        if self.role:
            counts.append(_count(user_roles.c.user_id, user_roles.c.role_id == bindparam("role_id")))
        return Statement(union_all(*(select(count.label("count")) for count in counts)))

    def by_filter(self, condition: int) -> Statement:
        """The users, from all that match this one of the conditions of `counts`, found by its index and then sorted."""
        return self._by_filter[condition]

    @cached_property
    def _by_filter(self) -> list[Statement]:
        conditions = self.terms + (self.prefix is not None) + self.role
        return [self._beginning_with(at) for at in range(conditions)]

    def _beginning_with(self, condition: int) -> Statement:
        def ids(dialect: str) -> Select[Any]:
            # Separate from the order: in one query, a plan might scan the order after all. And from the other
            # conditions: SQLite has no statistics, and would read everyone with the status, or all users to look up
            # their roles.
            found = self._matching(condition, dialect).cte("found").prefix_with("MATERIALIZED").c
            others = self._filter_conditions(found, dialect)
            del others[condition]
            matches = select(found.id).where(self._order_conditions(found), *others)
            return matches.order_by(*self._ordered(found)).limit(_integer("limit"))

        return self._page_of(ids)

    def _matching(self, condition: int, dialect: str) -> Select[Any]:
        """Everyone who matches one of the conditions, by its index."""
        c = users.c
        columns = select(c.id, c.created_at, c.email_key, c.full_name_key, c.status)
        if condition < self.terms:
            holds = and_(user_field_values.c.user_id == c.id, _has_term(condition))
            return columns.join(user_field_values, holds)
        if self.prefix is not None and condition == self.terms:
            return columns.where(or_(*_begin(c, self.prefix)))
        return columns.join(user_roles, and_(user_roles.c.user_id == c.id, _has_role(dialect)))

    @cached_property
    def by_scan(self) -> Statement:
        """The users, from a scan of the next `MAX_SCANNED` in the order. It may find fewer than `limit`."""
        ahead = self._ahead().limit(_integer("ahead")).subquery("ahead").c

        def ids(dialect: str) -> Select[Any]:
            found = select(ahead.id).where(*self._filter_conditions(ahead, dialect))
            return found.order_by(*self._ordered(ahead)).limit(_integer("limit"))

        return self._page_of(ids)

    @cached_property
    def places(self) -> Statement:
        """Selects the place of the last scanned user, and that of the next one if the order continues."""
        key = users.c.email_key if self.by_email else users.c.created_at
        last = self._ahead().with_only_columns(key, users.c.id).offset(_integer("ahead") - 1)
        return Statement(last.limit(2))

    def _page_of(self, ids: Callable[[str], Select[Any]]) -> Statement:
        """These users in the order of the page.

        On PostgreSQL one row with all of them as JSON, which costs this process a third of what rows do. On SQLite a
        row for each role in force, or one without roles.
        """
        listed = users.alias("listed")
        c, held = listed.c, user_roles.c

        def statement(dialect: str) -> Select[Any]:
            in_force = and_(held.user_id == c.id, _in_force(dialect))
            there = and_(roles.c.id == held.role_id, roles.c.deleted_at.is_(None))
            if dialect == "sqlite":
                return (
                    select(*summary_columns(c), roles.c.name)
                    .select_from(listed.outerjoin(user_roles, in_force).outerjoin(roles, there))
                    .where(c.id.in_(ids(dialect)))
                    .order_by(*self._ordered(c))
                )
            names = (
                select(_json_array(aggregate_order_by(roles.c.name, roles.c.name)))
                .select_from(user_roles.join(roles, there))
                .where(in_force)
            )
            users_of_page = summary_json(c, names.correlate(listed).scalar_subquery())
            page = _json_array(aggregate_order_by(users_of_page, *self._ordered(c)))
            # As text, because the driver would decode JSON by the standard library.
            return select(cast(page, Text)).where(c.id.in_(ids(dialect)))

        return Statement(statement)

    # --- their parts -------------------------------------------------------------------------------------------------

    def _ordered(self, columns: Any) -> list[ColumnElement[Any]]:
        """The order, for any table with the columns of users."""
        # E-mails are unique: their own index provides the order, and there are no ties to break.
        order = [columns.email_key] if self.by_email else [columns.created_at, columns.id]
        return [column.desc() if self.down else column.asc() for column in order]

    def _order_conditions(self, columns: Any) -> ColumnElement[bool]:
        """The conditions that the indexes of the order cover: the status, and the place after the previous page."""
        conditions: list[ColumnElement[bool]] = []
        if self.status:
            conditions.append(columns.status == bindparam("status"))
        if self.after:
            key = columns.email_key if self.by_email else columns.created_at
            here = tuple_(key, columns.id)
            there = tuple_(bindparam("key", type_=key.type), bindparam("id", type_=columns.id.type))
            conditions.append(here < there if self.down else here > there)
        return and_(True, *conditions)

    def _filter_conditions(self, columns: Any, dialect: str) -> list[ColumnElement[bool]]:
        """The other conditions: the fields, the prefix and the role, in the order of `counts`."""
        conditions: list[ColumnElement[bool]] = []
        for at in range(self.terms):
            values = user_field_values.alias(f"term_{at}")
            has = select(true()).where(values.c.user_id == columns.id, _has_term(at, values.c))
            # Looked up for each user. PostgreSQL would turn an EXISTS into a join that reads every match.
            conditions.append(has.scalar_subquery())
        if self.prefix is not None:
            conditions.append(or_(*_begin(columns, self.prefix)))
        if self.role:
            conditions.append(exists().where(user_roles.c.user_id == columns.id, _has_role(dialect)))
        return conditions

    def _ahead(self) -> Select[Any]:
        c = users.c
        columns = select(c.id, c.created_at, c.email_key, c.full_name_key)
        return columns.where(self._order_conditions(c)).order_by(*self._ordered(c))


@cache
def _form(sort: str, prefix: _Ends | None, *, status: bool, after: bool, role: bool, terms: int) -> Listing:
    return Listing(sort=sort, status=status, after=after, prefix=prefix, role=role, terms=terms)


def listing_of(
    which: UserFilter,
    role_id: RoleId | None,
    after: After[datetime] | After[str] | None,
    limit: int,
) -> tuple[Listing, dict[str, Any]]:
    """The statements for a page, and their parameters except `now`. `role_id` is the id of the role in `which`."""
    prefix = which.prefix
    values: dict[str, Any] = {
        "limit": limit,
        "ahead": MAX_SCANNED,
        "counted": MAX_SORTED + 1,
        "role_id": role_id,
    }
    if which.status is not None:
        values["status"] = which.status.value
    if after is not None:
        values |= {"key": after.key, "id": after.id}
    for at, term in enumerate(which.terms):
        values |= {f"field_{at}": term.field, f"value_{at}": term.value}
    ends = None
    if prefix is not None:
        values |= _values("email", prefix.email) | _values("name", prefix.name)
        ends = _Ends(email=values["email_to"] is not None, name=values["name_to"] is not None)
    form = _form(
        which.sort,
        ends,
        status=which.status is not None,
        after=after is not None,
        role=role_id is not None,
        terms=len(which.terms),
    )
    return form, values


def _values(name: str, prefix: str) -> dict[str, str | None]:
    return {f"{name}_from": prefix, f"{name}_to": behind(prefix)}


def _json_array(values: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(func.json_agg(values), literal_column("'[]'::json"))


def _integer(name: str) -> Any:
    return bindparam(name, type_=Integer)


def _begin(columns: Any, ends: _Ends) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    emails = _range(columns.email_key, "email", has_end=ends.email)
    return emails, _range(columns.full_name_key, "name", has_end=ends.name)


def _range(column: ColumnElement[Any], name: str, *, has_end: bool) -> ColumnElement[bool]:
    """True for a text with this prefix: a range of an index, not a pattern, in which some characters are special."""
    start = column >= bindparam(f"{name}_from", type_=column.type)
    return and_(start, column < bindparam(f"{name}_to", type_=column.type)) if has_end else start


def _has_term(at: int, columns: Any = user_field_values.c) -> ColumnElement[bool]:
    field, value = (bindparam(f"{name}_{at}", type_=columns[name].type) for name in ("field", "value"))
    return and_(columns.field == field, columns.value == value)


def _has_role(dialect: str) -> ColumnElement[bool]:
    return and_(user_roles.c.role_id == bindparam("role_id"), _in_force(dialect))


def _in_force(dialect: str) -> ColumnElement[bool]:
    """True for a grant that is in force at the moment of the unit, or of the query if the unit has none."""
    expires_at = user_roles.c.expires_at
    return or_(expires_at.is_(None), expires_at > moment(dialect, bindparam("now", type_=expires_at.type)))


def _count(column: ColumnElement[Any], condition: ColumnElement[bool]) -> ColumnElement[int]:
    # Ordered, so that the count follows the index, whatever the statistics say.
    some = select(column).where(condition).order_by(column).limit(_integer("counted")).subquery("counted")
    return select(func.count()).select_from(some).scalar_subquery()


async def role_id_of(connection: SqlConnection, which: UserFilter) -> RoleId | None:
    """A separate query: a planner that knows the id of the role knows how many users hold it."""
    row = await connection.row(_ROLE_ID, {"name": str(which.role)})
    return None if row is None else row[0]
