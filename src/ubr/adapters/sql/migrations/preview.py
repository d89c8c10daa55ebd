"""Compares the schema of a database with this version of ubr, without a change and without a lock."""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import Connection, text

from ubr.adapters.sql.engine import ConnectionLimits
from ubr.adapters.sql.migrations import REVISIONS, SchemaState, UnknownSchema, effects_of, state_of
from ubr.adapters.sql.migrations.effects import Blocks
from ubr.adapters.sql.migrations.schema import check_server, find_place
from ubr.adapters.sql.one_connection import connected

RATE: Final = 20 * 1024 * 1024
"""Bytes of a table with its indexes that a migration is assumed to read, rewrite or index in a second.

Disks do several times as much, so that an estimate is rather too long.
"""

# A name is quoted by the server, because a schema may have any name.
_SIZE: Final = text(
    "SELECT coalesce(pg_total_relation_size(to_regclass(quote_ident(:schema) || '.' || quote_ident(:name))), 0)"
)
_FILE_SIZE: Final = text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")


class LockedTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table that a pending migration locks. `size` is in bytes, with its indexes; in SQLite that of the whole file.

    `seconds` is the estimated duration of the work on it; 0 for a change of its description only.
    """

    name: str
    blocks: Blocks
    size: int
    seconds: int


class PendingMigration(msgspec.Struct, frozen=True, kw_only=True):
    """`rolling` is True if the previous version works with the new schema."""

    revision: str
    rolling: bool
    tables: tuple[LockedTable, ...]


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """`revision` is that of the database, None if it has no tables. `revisions` are those of this version of ubr."""

    postgresql: bool
    revision: str | None
    revisions: tuple[str, ...]
    pending: tuple[PendingMigration, ...]

    @property
    def newest(self) -> str:
        return self.revisions[-1]


async def preview(url: str, *, schema: str | None = None) -> Preview:
    """The pending migrations of a database.

    Errors: `ValueError` for the URL, `UnknownSchema` if a newer version upgraded it, `StoreUnavailable`.
    """
    async with connected(url, ConnectionLimits(connections=1), schema=schema) as connection:
        return await connection.run_sync(lambda sync: _preview(sync, schema))


def _preview(connection: Connection, schema: str | None) -> Preview:
    check_server(connection)
    place = find_place(connection, schema)
    if state_of(place.revision) is SchemaState.UNKNOWN:
        raise UnknownSchema("unknown revision", "A newer version of ubr has upgraded this database")
    done = 0 if place.revision is None else REVISIONS.index(place.revision) + 1
    return Preview(
        postgresql=connection.dialect.name == "postgresql",
        revision=place.revision,
        revisions=REVISIONS,
        pending=tuple(_pending(connection, place.schema, revision) for revision in REVISIONS[done:]),
    )


def _pending(connection: Connection, schema: str | None, revision: str) -> PendingMigration:
    effects = effects_of(revision)
    tables = []
    for touched in effects.tables:
        if connection.dialect.name == "postgresql":
            size = int(connection.execute(_SIZE, {"schema": schema, "name": touched.table}).scalar_one())
        else:
            size = int(connection.execute(_FILE_SIZE).scalar_one())
        seconds = -(-size // RATE) if touched.grows else 0
        tables.append(LockedTable(name=touched.table, blocks=touched.blocks, size=size, seconds=seconds))
    return PendingMigration(revision=revision, rolling=effects.rolling, tables=tuple(tables))
