"""Pages of stored rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar
from uuid import UUID

from ubr.application.ports.paging import After

T = TypeVar("T")


def cut(rows: Iterable[tuple[Any, UUID, T]], after: After[Any] | None, limit: int, *, newest: bool) -> list[T]:
    """One page of rows, each given with its sort key and id."""
    ordered = sorted(rows, key=lambda row: row[:2], reverse=newest)
    if after is not None:
        start = (after.key, after.id)
        ordered = [row for row in ordered if (row[:2] < start if newest else row[:2] > start)]
    return [row[2] for row in ordered[:limit]]
