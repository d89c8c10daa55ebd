"""The keys that sign access tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, select, text

from ubr.adapters.sql.connection import SqlConnection
from ubr.adapters.sql.rows import key_from_row, key_to_row
from ubr.adapters.sql.statements import Statement, inserting, updating
from ubr.adapters.sql.tables import signing_keys
from ubr.application.ports.keys import KeyDates
from ubr.domain.keys.signing_key import SigningKey

_ALL: Final = Statement(select(signing_keys).order_by(signing_keys.c.created_at.desc(), signing_keys.c.kid.desc()))
_DATES: Final = Statement(
    select(signing_keys.c.kid, signing_keys.c.created_at, signing_keys.c.revoked_at).order_by(
        signing_keys.c.created_at.desc(), signing_keys.c.kid.desc()
    )
)
_ADD: Final = inserting(signing_keys)
_SAVE: Final = updating(signing_keys, signing_keys.c.kid == bindparam("its_kid"))
_ALONE: Final = Statement(text("LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE"))
"""Row locks are not enough: another unit may add a key. Units that only read do not wait."""


class SqlSigningKeys:
    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def all(self) -> Sequence[SigningKey]:
        return [key_from_row(row) for row in await self._connection.rows(_ALL)]

    async def dates(self) -> Sequence[KeyDates]:
        return [KeyDates(*row) for row in await self._connection.rows(_DATES)]

    async def all_to_change(self) -> Sequence[SigningKey]:
        if self._connection.locking:
            await self._connection.write(_ALONE)
        return await self.all()

    async def add(self, key: SigningKey) -> None:
        await self._connection.write(_ADD, key_to_row(key))

    async def save(self, key: SigningKey) -> None:
        await self._connection.write(_SAVE, {**key_to_row(key), "its_kid": key.kid})
