"""Where a page of a list begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class After(Generic[Key]):
    """Where a page begins: just behind the thing with this sort key and id."""

    key: Key
    id: UUID
