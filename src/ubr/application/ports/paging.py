"""Pages of a list."""

from __future__ import annotations

from typing import Generic, TypeVar
from uuid import UUID

import msgspec

Key = TypeVar("Key")
Item = TypeVar("Item")


class After(msgspec.Struct, Generic[Key], frozen=True):
    """The start of a page: just after the item with this sort key and id."""

    key: Key
    id: UUID


class Found(msgspec.Struct, Generic[Item, Key], frozen=True):
    """The items of a page that a search has found.

    A search reads a bounded number of rows. `reached` is the place at which it stopped before it had found as many
    items as were asked for: the list may go on there. None if they were found, or the list has ended.
    """

    items: list[Item]
    reached: After[Key] | None = None
