"""Statements about the declaration of fields under which users are indexed."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Executable, Integer, Select, bindparam, literal, select, text, update

from ubr.adapters.sql.statements import Statement, among, upserting
from ubr.adapters.sql.tables import user_field_indexes, users

_PERSON: Final = text("users.kind = 'person'")
"""A literal: only from that does a planner know that `kind` has the value of the partial index."""

SET_INDEX: Final = Statement(
    lambda dialect: (
        update(users).where(among(dialect, users.c.id, "user_ids")).values(field_index=bindparam("field_index"))
    )
)


def _declaring(dialect: str) -> Executable:
    row = {"name": bindparam("name"), "forms": bindparam("forms", type_=user_field_indexes.c.forms.type)}
    statement: Executable = upserting(dialect, user_field_indexes).values(row).on_conflict_do_nothing()
    return statement


def _indexes() -> Select[Any]:
    """From each name that persons have to the next: a look into the index for each, however many persons there are."""
    own = users.c.field_index
    least = select(own).where(_PERSON).order_by(own).limit(1)
    walk = select(least.where(own >= literal("")).scalar_subquery().label("name")).cte("walk", recursive=True)
    further = least.where(own > walk.c.name).correlate(walk).scalar_subquery()
    walk = walk.union_all(select(further).where(walk.c.name.is_not(None)))
    kept = user_field_indexes.c
    found = select(walk.c.name, kept.forms).outerjoin_from(walk, user_field_indexes, kept.name == walk.c.name)
    return found.where(walk.c.name.is_not(None)).order_by(walk.c.name)


DECLARE: Final = Statement(_declaring)
INDEXES: Final = Statement(_indexes())
_UNDER: Final = (
    select(users.c.id, users.c.fields)
    .where(_PERSON, users.c.field_index == bindparam("name"))
    .limit(bindparam("limit", type_=Integer))
)
INDEXED_UNDER: Final = Statement(_UNDER)
INDEXED_UNDER_LOCKED: Final = Statement(_UNDER.with_for_update(key_share=True, skip_locked=True))
