"""What every command and every result has in common."""

from __future__ import annotations

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks for one thing. Its `repr` shows no field: commands hold passwords and tokens."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a use case answers: the representation of `docs/api`, field for field."""
