"""The effects of a migration on a running installation: each migration declares them as `effects`.

A test compares the declared locks with those that PostgreSQL takes.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Blocks(StrEnum):
    """The requests that wait while a table is locked in PostgreSQL. SQLite locks the whole database for writes."""

    WRITES = "writes"
    EVERYTHING = "reads and writes"


class Touched(msgspec.Struct, frozen=True):
    """An existing table that a migration locks until the end of the upgrade.

    `grows` is True if the duration grows with the size of the table: it is read, rewritten or indexed. Otherwise the
    migration changes only its description, in a moment.
    """

    table: str
    blocks: Blocks
    grows: bool = False


class Effects(msgspec.Struct, frozen=True):
    """`rolling` is True if the previous version of ubr works with the new schema: it may run during and after the
    upgrade.
    """

    rolling: bool
    tables: tuple[Touched, ...] = ()
