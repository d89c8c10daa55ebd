"""Values of the log that this service cannot have written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from sqlalchemy.exc import DBAPIError

from ubr.domain.errors import LogDamaged

T = TypeVar("T")

UNREADABLE: Final = (ValueError, TypeError, AttributeError, OverflowError, DBAPIError)
"""Errors caused by values that this service cannot have written. Errors of the driver with any other meaning are
translated earlier.
"""


@contextmanager
def readable() -> Iterator[None]:
    """Errors: `LogDamaged` for a value that this service cannot have written."""
    try:
        yield
    except UNREADABLE:
        raise LogDamaged("A part of the stored log cannot be read") from None


def typed(kind: type[T], value: object) -> T:
    """The value, if it has this type. Errors: `TypeError`. SQLite stores any type in any column."""
    if not isinstance(value, kind):
        raise TypeError
    return value
