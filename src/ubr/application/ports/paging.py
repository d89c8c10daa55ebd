"""The start of a page of a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class After(Generic[Key]):
    """The start of a page: just after the item with this sort key and id."""

    key: Key
    id: UUID
