"""Roles."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import Integer, bindparam, delete, select, tuple_

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import role_from_row, role_to_row
from ubr.adapters.sql.statements import Locking, Parameters, Statement, among, inserting, updating
from ubr.adapters.sql.tables import roles
from ubr.application.ports.paging import After
from ubr.domain.ids import RoleId
from ubr.domain.roles.role import Role, RoleName

_BY_ID: Final = Locking(select(roles).where(roles.c.id == bindparam("id")))
_BY_NAME: Final = Locking(select(roles).where(roles.c.name == bindparam("name")))
_MANY: Final = Statement(lambda dialect: select(roles).where(among(dialect, roles.c.id, "ids")).order_by(roles.c.name))
_PAGE: Final = select(roles).order_by(roles.c.created_at, roles.c.id).limit(bindparam("limit", type_=Integer))
_FIRST_PAGE: Final = Statement(_PAGE)
_NEXT_PAGE: Final = Statement(
    _PAGE.where(
        tuple_(roles.c.created_at, roles.c.id)
        > tuple_(bindparam("key", type_=roles.c.created_at.type), bindparam("id", type_=roles.c.id.type))
    )
)
_ADD: Final = inserting(roles)
_SAVE: Final = updating(roles, roles.c.id == bindparam("its_id"))
_REMOVE: Final = Statement(delete(roles).where(roles.c.id == bindparam("id")))


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
        await self._connection.write(_REMOVE, {"id": role.id})
        self._connection.note(role.events)
