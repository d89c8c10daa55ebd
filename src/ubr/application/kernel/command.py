"""The base classes of commands and results."""

from __future__ import annotations

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The input of a use case. Its `repr` shows no field, because commands hold passwords and tokens."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The output of a use case: the representation in `docs/api`, field for field."""
