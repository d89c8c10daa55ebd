"""The keys that sign the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select, text, update

from ubr.adapters.sql.audit.damage import readable
from ubr.adapters.sql.audit.rows import log_key_from_row, log_key_to_row
from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.statements import inserting
from ubr.adapters.sql.tables import log_keys
from ubr.domain.audit.checkpoint import LogKey, NoteKey

_KEYS_ALONE: Final = text("LOCK TABLE log_keys IN SHARE ROW EXCLUSIVE MODE")
_ADD_KEY: Final = inserting(log_keys)


class SqlLogKeys:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def all(self) -> Sequence[LogKey]:
        statement = select(log_keys).order_by(log_keys.c.number)
        with readable():
            keys = [log_key_from_row(row) for row in await self._connection.rows(statement)]
            return [key for key in keys if str(key)]

    async def note_keys(self) -> Sequence[NoteKey]:
        statement = select(log_keys.c.name, log_keys.c.public).order_by(log_keys.c.number)
        with readable():
            keys = [NoteKey(*row) for row in await self._connection.rows(statement)]
            return [key for key in keys if str(key)]

    async def all_to_change(self) -> Sequence[LogKey]:
        if self._connection.locking:
            await self._connection.write(_KEYS_ALONE)
        return await self.all()

    async def add(self, key: LogKey) -> None:
        await self._connection.write(_ADD_KEY, log_key_to_row(key))

    async def save(self, key: LogKey) -> None:
        here = log_keys.c.number == key.number
        await self._connection.write(update(log_keys).where(here).values(private=key.private))
