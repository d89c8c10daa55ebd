"""Every problem and its status. The only file that knows the status of an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from ubr.domain.errors import (
    Conflict,
    Contradictory,
    Forbidden,
    Invalid,
    NotFound,
    PreconditionFailed,
    RateLimited,
    UbrError,
    Unauthenticated,
    Unavailable,
)
from ubr.entrypoints.http.problems.errors import (
    BodyTooLarge,
    InternalError,
    MethodNotAllowed,
    RequestTimeout,
    UnsupportedMediaType,
    UriTooLong,
)

TYPE: Final = "/problems/{slug}"
"""A problem's `type`, and the path of the page about it."""

_STATUS: Final[Mapping[type[UbrError], int]] = {
    Invalid: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    MethodNotAllowed: 405,
    RequestTimeout: 408,
    Conflict: 409,
    PreconditionFailed: 412,
    BodyTooLarge: 413,
    UriTooLong: 414,
    UnsupportedMediaType: 415,
    Contradictory: 422,
    RateLimited: 429,
    InternalError: 500,
    Unavailable: 503,
}


def status_of(error: type[UbrError]) -> int:
    """The status of an error: that of its kind."""
    return next(_STATUS[kind] for kind in error.__mro__ if kind in _STATUS)


class Problem(msgspec.Struct, frozen=True):
    """A row of the table of problems. Another row may have the same slug with another status."""

    slug: str
    status: int
    title: str


def problems() -> list[Problem]:
    """Every problem that the service can answer with, by status and name."""
    return rows(_errors(UbrError))


def rows(errors: Iterable[type[UbrError]]) -> list[Problem]:
    """The table of these errors: one row for each name and status."""
    found = {(status_of(error), error.code): Problem(error.code, status_of(error), error.title) for error in errors}
    return [found[key] for key in sorted(found)]


def _errors(root: type[UbrError]) -> Iterator[type[UbrError]]:
    for error in root.__subclasses__():
        if error.__module__.startswith("ubr."):
            yield error
            yield from _errors(error)
