"""Copies and field names of values, whether they are structs or dataclasses."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import msgspec

_T = TypeVar("_T")


def replace(value: _T, /, **changes: Any) -> _T:
    """A copy with other values in some fields."""
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **changes)
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]


def names_of(kind: Any) -> tuple[str, ...]:
    """The names of the fields of a class or a value, in their order."""
    names: tuple[str, ...] | None = getattr(kind, "__struct_fields__", None)
    return tuple(field.name for field in dataclasses.fields(kind)) if names is None else names
