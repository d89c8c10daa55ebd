"""The header fields of a request by their names, so that a check reads its own fields and no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

Fields: TypeAlias = Mapping[bytes, Sequence[bytes]]
"""The values of each field, in order. Names are in lower case."""


def fields_of(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in found:
            found[name].append(value)
        else:
            found[name] = [value]
    return found
