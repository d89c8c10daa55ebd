"""Keyset pagination: an item that exists throughout a walk appears in it exactly once."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

import msgspec

from ubr.application.ports.paging import After
from ubr.application.ports.secrets import Signer
from ubr.domain.errors import Invalid, InvalidCursor

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
_TAG: Final = 32
_MAX_CURSOR_LENGTH: Final = 2048

T = TypeVar("T")
K = TypeVar("K", datetime, str)


async def walk(
    page: Callable[[After[K] | None], Awaitable[Sequence[T]]], place: Callable[[T], After[K]], *, limit: int
) -> AsyncIterator[T]:
    """All items of a list, read in pages of `limit` items. `place` is the place of an item in the list."""
    after: After[K] | None = None
    while True:
        items = await page(after)
        for item in items:
            yield item
        if len(items) < limit:
            return
        after = place(items[-1])


def check_limit(limit: int) -> int:
    """Errors: `Invalid` outside 1 to 200."""
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid.at("/limit", f"must be between 1 and {MAX_LIMIT}")
    return limit


class Pager(msgspec.Struct, frozen=True):
    """Parses and makes cursors: positions in one list, signed together with that list's filters and sort.

    Those are `bound_to`: the name of the list, and every filter and the sort of it.
    """

    signer: Signer

    def after(self, cursor: str | None, bound_to: Sequence[object], read: Callable[[str], K]) -> After[K] | None:
        """The start of the page; None for the first. `read` parses the sort key.

        Errors: `InvalidCursor` unless the cursor was made here, for this list, filter and sort.
        """
        if cursor is None:
            return None
        try:
            if len(cursor) > _MAX_CURSOR_LENGTH:
                raise InvalidCursor
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            if _text(raw) != cursor:  # a position has one cursor, although base64 has several encodings
                raise InvalidCursor
            tag, message = raw[:_TAG], raw[_TAG:]
            if not self.signer.verify("cursor", _bound(message, bound_to), tag):
                raise InvalidCursor
            key, id = json.loads(message)
            return After(read(key), UUID(id))
        except (binascii.Error, ValueError):
            raise InvalidCursor from None

    def cut(
        self,
        found: Sequence[T],
        limit: int,
        bound_to: Sequence[object],
        key: Callable[[T], tuple[datetime | str, UUID]],
        *,
        reached: After[datetime | str] | After[datetime] | None = None,
    ) -> tuple[list[T], str | None]:
        """At most `limit` of the found items, and the cursor after the last one if more were found.

        `reached` is the place at which a search stopped: the cursor leads there if no more items were found.
        """
        items = list(found[:limit])
        if len(found) > limit:
            position, id = key(items[-1])
        elif reached is not None:
            position, id = reached.key, reached.id
        else:
            return items, None
        text = str(position) if isinstance(position, str) else position.isoformat()
        message = msgspec.json.encode((text, id))
        raw = self.signer.sign("cursor", _bound(message, bound_to)) + message
        return items, _text(raw)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bound(message: bytes, bound_to: Sequence[object]) -> bytes:
    return message + b"\0" + json.dumps([None if part is None else str(part) for part in bound_to]).encode()
