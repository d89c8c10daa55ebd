"""Roles."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, delete, insert, literal, or_, select, tuple_, update

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import role_from_row, role_to_row
from ubr.adapters.sql.tables import former_role_names, roles, user_roles
from ubr.application.ports.paging import After
from ubr.domain.ids import RoleId
from ubr.domain.roles.role import Role, RoleName


class SqlRoles:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def get(self, role_id: RoleId) -> Role | None:
        return await self._one(roles.c.id == role_id)

    async def by_name(self, name: RoleName) -> Role | None:
        return await self._one(roles.c.name == str(name))

    async def _one(self, condition: ColumnElement[bool]) -> Role | None:
        statement = select(roles).where(condition)
        if self._connection.locking:
            statement = statement.with_for_update(key_share=True)
        row = await self._connection.row(statement)
        return None if row is None else role_from_row(row)

    async def many(self, role_ids: Collection[RoleId]) -> list[Role]:
        statement = select(roles).where(roles.c.id.in_(role_ids)).order_by(roles.c.name)
        return [role_from_row(row) for row in await self._connection.rows(statement)]

    async def page(self, after: After[datetime] | None, limit: int) -> list[Role]:
        statement = select(roles)
        if after is not None:
            there = tuple_(literal(after.key, roles.c.created_at.type), literal(after.id, roles.c.id.type))
            statement = statement.where(tuple_(roles.c.created_at, roles.c.id) > there)
        statement = statement.order_by(roles.c.created_at, roles.c.id).limit(limit)
        return [role_from_row(row) for row in await self._connection.rows(statement)]

    async def add(self, role: Role) -> None:
        await self._connection.write(insert(roles), role_to_row(role))
        self._connection.note(role.events)

    async def save(self, role: Role) -> None:
        """If the role no longer exists, this stores and records nothing."""
        if await self._connection.write(update(roles).where(roles.c.id == role.id).values(role_to_row(role))):
            self._connection.note(role.events)

    async def remove(self, role: Role) -> None:
        await self._connection.write(delete(roles).where(roles.c.id == role.id))
        self._connection.note(role.events)

    async def held(self, role_id: RoleId, now: datetime) -> bool:
        c = user_roles.c
        in_force = select(c.user_id).where(c.role_id == role_id, or_(c.expires_at.is_(None), c.expires_at > now))
        return await self._connection.row(in_force.limit(1)) is not None

    async def give_up_name(self, role: Role, until: datetime) -> None:
        # The lock on the role, which has the name until now, excludes every other unit that gives it up.
        await self._connection.write(delete(former_role_names).where(former_role_names.c.name == str(role.name)))
        row = {"name": str(role.name), "role_id": role.id, "until": until}
        await self._connection.write(insert(former_role_names), row)

    async def name_given_up(self, role: Role, now: datetime) -> bool:
        c = former_role_names.c
        former = select(c.name).where(c.name == str(role.name), c.role_id != role.id, c.until > now)
        return await self._connection.row(former) is not None

    async def forget_names(self, ended_before: datetime, limit: int) -> int:
        c = former_role_names.c
        ended = select(c.name).where(c.until < ended_before).order_by(c.until).limit(limit)
        return await self._connection.forget(c.name, ended.with_for_update(skip_locked=True))
