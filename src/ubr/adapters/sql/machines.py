"""Machines and their keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Final

from sqlalchemy import Integer, and_, bindparam, func, or_, select, tuple_, update

from ubr.adapters.sql.accounts import SqlUsers
from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import (
    grant_from_row,
    machine_from_row,
    machine_key_from_row,
    machine_key_to_row,
    machine_to_row,
    slices,
    user_from_row,
)
from ubr.adapters.sql.statements import Locking, Row, Statement, inserting, updating
from ubr.adapters.sql.tables import machine_keys, machines, roles, user_roles, users
from ubr.application.ports.paging import After
from ubr.domain.ids import MachineKeyId, UserId
from ubr.domain.machines.key import MachineKey
from ubr.domain.machines.machine import Machine

_MACHINE: Final = Statement(select(machines).where(machines.c.user_id == bindparam("user_id")))
_ADD: Final = inserting(machines)
_SAVE: Final = updating(
    machines, machines.c.user_id == bindparam("its_id"), columns=[machines.c.name, machines.c.description]
)


def _page(*where: object) -> Statement:
    """The rows of a page: one for each grant of each machine."""
    found = (
        select(machines)
        .where(*where)  # type: ignore[arg-type]
        .order_by(machines.c.name)
        .limit(bindparam("limit", type_=Integer))
        .cte("found")
    )
    held = user_roles.join(roles, and_(roles.c.id == user_roles.c.role_id, roles.c.deleted_at.is_(None)))
    return Statement(
        select(found, users, user_roles)
        .select_from(
            found.join(users, users.c.id == found.c.user_id).outerjoin(held, user_roles.c.user_id == users.c.id)
        )
        .order_by(found.c.name)
    )


_FIRST_PAGE: Final = _page()
_NEXT_PAGE: Final = _page(
    tuple_(machines.c.name, machines.c.user_id)
    > tuple_(bindparam("key", type_=machines.c.name.type), bindparam("id", type_=machines.c.user_id.type))
)
_IN_PAGE: Final = slices(machines, users, user_roles)
"""The parts of its rows."""


class SqlMachines:
    def __init__(self, connection: SqlConnection, users: SqlUsers) -> None:
        self._connection = connection
        self._users = users

    async def get(self, user_id: UserId) -> Machine | None:
        user = await self._users.get(user_id)
        row = None if user is None else await self._connection.row(_MACHINE, {"user_id": user_id})
        return None if row is None or user is None else machine_from_row(row, user)

    async def page(self, after: After[str] | None, limit: int) -> list[Machine]:
        if after is None:
            rows = await self._connection.rows(_FIRST_PAGE, {"limit": limit})
        else:
            rows = await self._connection.rows(_NEXT_PAGE, {"limit": limit, "key": after.key, "id": after.id})
        return [_machine(list(group)) for _, group in groupby(rows, key=itemgetter(0))]

    async def add(self, machine: Machine) -> None:
        await self._users.add(machine.user)
        await self._connection.write(_ADD, machine_to_row(machine))

    async def save(self, machine: Machine) -> None:
        """If the machine no longer exists, this stores and records nothing."""
        await self._users.save(machine.user)
        await self._connection.write(_SAVE, {**machine_to_row(machine), "its_id": machine.id})


def _machine(rows: Sequence[Row]) -> Machine:
    machine, user, grant = _IN_PAGE
    grants = [grant_from_row(row[grant]) for row in rows if row[grant][0] is not None]
    return machine_from_row(rows[0][machine], user_from_row(rows[0][user], {each.role_id: each for each in grants}))


_KEY: Final = Locking(select(machine_keys).where(machine_keys.c.id == bindparam("id")))
_KEYS: Final = (
    select(machine_keys)
    .where(machine_keys.c.user_id == bindparam("user_id"))
    .order_by(machine_keys.c.created_at.desc(), machine_keys.c.id.desc())
    .limit(bindparam("limit", type_=Integer))
)
_FIRST_KEYS: Final = Statement(_KEYS)
_NEXT_KEYS: Final = Statement(
    _KEYS.where(
        tuple_(machine_keys.c.created_at, machine_keys.c.id)
        < tuple_(bindparam("key", type_=machine_keys.c.created_at.type), bindparam("id", type_=machine_keys.c.id.type))
    )
)
_COUNT_KEYS: Final = Statement(
    select(func.count())
    .select_from(machine_keys)
    .where(machine_keys.c.user_id == bindparam("user_id"), machine_keys.c.revoked_at.is_(None))
    .where(or_(machine_keys.c.expires_at.is_(None), machine_keys.c.expires_at > bindparam("now")))
)
_ADD_KEY: Final = inserting(machine_keys)
_SAVE_KEY: Final = updating(
    machine_keys,
    machine_keys.c.id == bindparam("its_id"),
    columns=[machine_keys.c.expires_at, machine_keys.c.revoked_at, machine_keys.c.last_used_at],
)
_EVERY_KEY: Final = select(machine_keys).order_by(machine_keys.c.id).limit(bindparam("limit", type_=Integer))
_FIRST_OF_ALL: Final = Statement(_EVERY_KEY)
_NEXT_OF_ALL: Final = Statement(_EVERY_KEY.where(machine_keys.c.id > bindparam("after")))
_REBIND: Final = Statement(
    update(machine_keys)
    .where(machine_keys.c.id == bindparam("its_id"), machine_keys.c.sealed == bindparam("before"))
    .values(sealed=bindparam("after"))
)


class SqlMachineKeys:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def get(self, key_id: MachineKeyId) -> MachineKey | None:
        row = await self._connection.row(_KEY.on(self._connection), {"id": key_id})
        return None if row is None else machine_key_from_row(row)

    async def page(self, user_id: UserId, after: After[datetime] | None, limit: int) -> list[MachineKey]:
        which = {"user_id": user_id, "limit": limit}
        if after is None:
            rows = await self._connection.rows(_FIRST_KEYS, which)
        else:
            rows = await self._connection.rows(_NEXT_KEYS, {**which, "key": after.key, "id": after.id})
        return [machine_key_from_row(row) for row in rows]

    async def count(self, user_id: UserId, now: datetime) -> int:
        [(count,)] = await self._connection.rows(_COUNT_KEYS, {"user_id": user_id, "now": now})
        return int(count)

    async def add(self, key: MachineKey) -> None:
        await self._connection.write(_ADD_KEY, machine_key_to_row(key))
        self._connection.note(key.events)

    async def save(self, key: MachineKey) -> None:
        """If the key no longer exists, this stores and records nothing."""
        values = {
            "expires_at": key.expires_at,
            "revoked_at": key.revoked_at,
            "last_used_at": key.last_used_at,
            "its_id": key.id,
        }
        if await self._connection.write(_SAVE_KEY, values):
            self._connection.note(key.events)

    async def every(self, after: MachineKeyId | None, limit: int) -> list[MachineKey]:
        if after is None:
            rows = await self._connection.rows(_FIRST_OF_ALL, {"limit": limit})
        else:
            rows = await self._connection.rows(_NEXT_OF_ALL, {"limit": limit, "after": after})
        return [machine_key_from_row(row) for row in rows]

    async def rebind(self, key: MachineKey, sealed: bytes) -> bool:
        return await self._connection.write(_REBIND, {"its_id": key.id, "before": key.sealed, "after": sealed}) > 0

    async def forget(self, ended_before: datetime, limit: int) -> int:
        """Skips a key that another unit has locked; a later call deletes it."""
        c = machine_keys.c
        ended = select(c.id).where(or_(c.revoked_at < ended_before, c.expires_at < ended_before)).limit(limit)
        return await self._connection.forget(c.id, ended.with_for_update(skip_locked=True))
