"""The base classes of commands and results."""

from __future__ import annotations

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request to a use case. Its `repr` shows no field: commands hold passwords and tokens."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of a use case: the representation of `docs/api`, field for field."""
