"""Leases: rows that one process at a time extends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Executable, Interval, bindparam, delete, or_, select

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.statements import Statement, moment, upserting
from ubr.adapters.sql.tables import Timestamp, leases
from ubr.application.ports.revocation import WorkerId


def _around(dialect: str) -> tuple[ColumnElement[Any], ColumnElement[Any], ColumnElement[Any]]:
    """The moment, and the time `lasts` and twice `lasts` after it."""
    now: ColumnElement[Any] = moment(dialect, bindparam("now", type_=Timestamp))
    if dialect == "sqlite":  # it does not calculate with times
        return now, bindparam("until", type_=Timestamp), bindparam("ahead", type_=Timestamp)
    lasts = bindparam("lasts", type_=Interval)
    return now, now + lasts, now + lasts + lasts


def _taking(dialect: str) -> Executable:
    c = leases.c
    now, until, ahead = _around(dialect)
    upsert = upserting(dialect, leases).values(name=bindparam("name"), holder=bindparam("holder"), expires_at=until)
    statement: Executable = upsert.on_conflict_do_update(
        index_elements=[c.name],
        set_={"holder": upsert.excluded.holder, "expires_at": upsert.excluded.expires_at},
        where=or_(c.holder == upsert.excluded.holder, c.expires_at <= now, c.expires_at > ahead),
    ).returning(c.name)
    return statement


def _holding(dialect: str) -> Executable:
    c = leases.c
    now, _, ahead = _around(dialect)
    return select(c.holder).where(c.name == bindparam("name"), c.expires_at > now, c.expires_at <= ahead)


_TAKE: Final = Statement(_taking)
_HOLDER: Final = Statement(_holding)
_GIVE_BACK: Final = Statement(
    delete(leases).where(leases.c.name == bindparam("its_name"), leases.c.holder == bindparam("its_holder"))
)


class SqlLeases:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def holder(self, name: str, lasts: timedelta) -> WorkerId | None:
        row = await self._connection.row(_HOLDER, {"name": name, **self._around(lasts)})
        return None if row is None else WorkerId(row[0])

    async def take(self, name: str, holder: WorkerId, lasts: timedelta) -> bool:
        which = {"name": name, "holder": holder, **self._around(lasts)}
        return bool(await self._connection.change(_TAKE, which))

    async def give_back(self, name: str, holder: WorkerId) -> None:
        await self._connection.write(_GIVE_BACK, {"its_name": name, "its_holder": holder})

    def _around(self, lasts: timedelta) -> dict[str, Any]:
        now = self._connection.moment
        if now is None:
            return {"now": None, "lasts": lasts}
        return {"now": now, "lasts": lasts, "until": now + lasts, "ahead": now + 2 * lasts}
