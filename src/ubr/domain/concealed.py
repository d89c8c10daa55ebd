"""Values that no output may show by accident."""

from __future__ import annotations

from typing import Any

import msgspec


class Concealed(msgspec.Struct, frozen=True):
    """Base of values that hold a secret or personal data. Their `repr` shows no field."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """For rich, which asks a struct for its fields and does not call `repr`."""
        return []
