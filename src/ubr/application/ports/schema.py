"""The error for a database whose schema is not that of this version of ubr."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from ubr.domain.errors import StoreUnavailable

FoundSchema: TypeAlias = Literal["empty", "behind", "unknown"]
"""The schema that was found; `unknown` means that a newer version of ubr made it."""

BEHIND: Final = "The schema of the database is behind this version of ubr: run `ubr migrate`"
NEWER: Final = "A newer version of ubr has upgraded the database: use that version"

_DETAILS: Final[dict[FoundSchema, str]] = {
    "empty": "The database has no tables of ubr: run `ubr migrate`, or set UBR_MIGRATE=auto",
    "behind": f"{BEHIND}, or set UBR_MIGRATE=auto",
    "unknown": NEWER,
}


class WrongSchema(StoreUnavailable):
    """The database has no tables of ubr, or those of an older or a newer version. Nothing was changed.

    A retry succeeds once the schema was migrated.
    """

    def __init__(self, found: FoundSchema) -> None:
        super().__init__(_DETAILS[found])
        self.found = found
