"""Roles."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import Integer, bindparam, delete, or_, select, tuple_, update

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import role_from_row, role_to_row
from ubr.adapters.sql.statements import Locking, Parameters, Row, Statement, among, inserting, updating
from ubr.adapters.sql.tables import former_role_names, roles, user_roles
from ubr.application.ports.paging import After
from ubr.application.ports.roles import GRANTS_AT_ONCE, ForgottenGrants
from ubr.domain.ids import RoleId, UserId
from ubr.domain.roles.grant import Grant
from ubr.domain.roles.role import Role, RoleName

_THERE: Final = roles.c.deleted_at.is_(None)
"""The condition that a role is not removed."""

_ROLES: Final = select(roles).where(_THERE)
_BY_ID: Final = Locking(_ROLES.where(roles.c.id == bindparam("id")))
_BY_NAME: Final = Locking(_ROLES.where(roles.c.name == bindparam("name")))
_MANY: Final = Statement(lambda dialect: _ROLES.where(among(dialect, roles.c.id, "ids")).order_by(roles.c.name))
_PAGE: Final = (
    select(roles).where(_THERE).order_by(roles.c.created_at, roles.c.id).limit(bindparam("limit", type_=Integer))
)
_FIRST_PAGE: Final = Statement(_PAGE)
_NEXT_PAGE: Final = Statement(
    _PAGE.where(
        tuple_(roles.c.created_at, roles.c.id)
        > tuple_(bindparam("key", type_=roles.c.created_at.type), bindparam("id", type_=roles.c.id.type))
    )
)
_GRANTS: Final = select(user_roles).join(roles, roles.c.id == user_roles.c.role_id).where(_THERE)
_STORED: Final = [column for column in roles.columns if column is not roles.c.deleted_at]
_ADD: Final = inserting(roles, _STORED)
_SAVE: Final = updating(roles, roles.c.id == bindparam("its_id"), _THERE, columns=_STORED)
_GIVE_UP_NAME: Final = inserting(former_role_names)
_REMOVE: Final = Statement(delete(roles).where(roles.c.id == bindparam("id"), _THERE))


class SqlRoles:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def get(self, role_id: RoleId) -> Role | None:
        return await self._one(_BY_ID, {"id": role_id})

    async def by_name(self, name: RoleName) -> Role | None:
        return await self._one(_BY_NAME, {"name": str(name)})

    async def _one(self, find: Locking, parameters: Parameters) -> Role | None:
        row = await self._connection.row(find.on(self._connection), parameters)
        return None if row is None else role_from_row(row)

    async def many(self, role_ids: Collection[RoleId]) -> list[Role]:
        return [role_from_row(row) for row in await self._connection.rows(_MANY, {"ids": list(role_ids)})]

    async def page(self, after: After[datetime] | None, limit: int) -> list[Role]:
        if after is None:
            rows = await self._connection.rows(_FIRST_PAGE, {"limit": limit})
        else:
            rows = await self._connection.rows(_NEXT_PAGE, {"limit": limit, "key": after.key, "id": after.id})
        return [role_from_row(row) for row in rows]

    async def add(self, role: Role) -> None:
        await self._connection.write(_ADD, role_to_row(role))
        self._connection.note(role.events)

    async def save(self, role: Role) -> None:
        """If the role no longer exists, this stores and records nothing."""
        if await self._connection.write(_SAVE, {**role_to_row(role), "its_id": role.id}):
            self._connection.note(role.events)

    async def remove(self, role: Role) -> None:
        held = select(user_roles.c.user_id).where(user_roles.c.role_id == role.id)
        if await self._connection.row(held.offset(GRANTS_AT_ONCE).limit(1)) is None:
            await self._connection.write(_REMOVE, {"id": role.id})
        else:
            # No role can have this name: names begin with a letter.
            mark = {"deleted_at": self._connection.now, "name": f"-{role.id}"}
            await self._connection.write(update(roles).where(roles.c.id == role.id, _THERE).values(mark))
        self._connection.note(role.events)

    async def forget_removed(self, limit: int, *, reached: UserId | None = None) -> ForgottenGrants:
        """Skips a role that another unit is about to delete, and grants that another unit has locked."""
        removed = select(roles.c.id).where(roles.c.deleted_at.is_not(None)).order_by(roles.c.deleted_at).limit(1)
        row = await self._connection.row(removed.with_for_update(skip_locked=True))
        if row is None:
            return ForgottenGrants(0, more=False, reached=None)
        c, role_id = user_roles.c, row[0]
        some = select(c.user_id).where(c.role_id == role_id).order_by(c.user_id).limit(limit)
        if reached is not None:
            some = some.where(c.user_id > reached)
        found = some.with_for_update(skip_locked=True).cte("found")
        gone = delete(user_roles).where(c.role_id == role_id, c.user_id.in_(select(found.c.user_id)))
        users = [row[0] for row in await self._connection.change(gone.returning(c.user_id))]
        if len(users) == limit:
            return ForgottenGrants(limit, more=True, reached=max(users))
        last = await self._connection.row(select(c.user_id).where(c.role_id == role_id).limit(1)) is None
        if last:
            await self._connection.write(delete(roles).where(roles.c.id == role_id))
        return ForgottenGrants(len(users), more=last, reached=None)

    async def held(self, role_id: RoleId, now: datetime) -> bool:
        c = user_roles.c
        in_force = select(c.user_id).where(c.role_id == role_id, or_(c.expires_at.is_(None), c.expires_at > now))
        return await self._connection.row(in_force.limit(1)) is not None

    async def grants(
        self, role_id: RoleId, now: datetime, after: UserId | None, limit: int
    ) -> list[tuple[UserId, Grant]]:
        c = user_roles.c
        some = _GRANTS.where(c.role_id == role_id, or_(c.expires_at.is_(None), c.expires_at > now))
        if after is not None:
            some = some.where(c.user_id > after)
        rows = await self._connection.rows(some.order_by(c.user_id).limit(limit))
        return [(UserId(row[0]), _grant(row)) for row in rows]

    async def grant(self, role_id: RoleId, user_id: UserId) -> Grant | None:
        here = _GRANTS.where(user_roles.c.role_id == role_id, user_roles.c.user_id == user_id)
        row = await self._connection.row(here)
        return None if row is None else _grant(row)

    async def give_up_name(self, role: Role, until: datetime) -> None:
        # The lock on the role, which has the name until now, excludes every other unit that gives it up.
        await self._connection.write(delete(former_role_names).where(former_role_names.c.name == str(role.name)))
        row = {"name": str(role.name), "role_id": role.id, "until": until}
        await self._connection.write(_GIVE_UP_NAME, row)

    async def name_given_up(self, role: Role, now: datetime) -> bool:
        c = former_role_names.c
        former = select(c.name).where(c.name == str(role.name), c.role_id != role.id, c.until > now)
        return await self._connection.row(former) is not None

    async def forget_names(self, ended_before: datetime, limit: int) -> int:
        c = former_role_names.c
        ended = select(c.name).where(c.until < ended_before).order_by(c.until).limit(limit)
        return await self._connection.forget(c.name, ended.with_for_update(skip_locked=True))


def _grant(row: Row) -> Grant:
    _, role_id, granted_by, granted_at, expires_at = row
    return Grant(role_id=role_id, granted_by=granted_by, granted_at=granted_at, expires_at=expires_at)
