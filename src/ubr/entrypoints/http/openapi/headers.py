"""Headers of answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ubr.domain.errors import RateLimited, Unauthenticated, Unavailable
from ubr.entrypoints.http.call import NOT_KEPT
from ubr.entrypoints.http.openapi.schemas import Json
from ubr.entrypoints.http.problems.catalogue import status_of
from ubr.entrypoints.http.problems.errors import UnsupportedMediaType


def _header(text: str, *, required: bool = True, **schema: Any) -> Json:
    return {"description": text, "required": required, "schema": {"type": "string", **schema}}


HEADERS: Final[Mapping[str, Json]] = {
    "X-Request-ID": _header(
        "The id of this request, in all of its log lines and audit log entries.", pattern="^[A-Za-z0-9._-]{1,64}$"
    ),
    "ETag": _header("The revision, for conditional requests.", pattern='^"[^"]+"$'),
    "Location": _header("The created resource, relative to the path of the request.", format="uri-reference"),
    "Link": _header(
        'The next page, relative to the path of the request, as `rel="next"`, if there is one.', required=False
    ),
    "WWW-Authenticate": _header(
        "`Bearer`, with the error of the token if one was sent (RFC 6750); `Basic` for the login of a machine.",
        pattern="^(Bearer|Basic)",
    ),
    "Retry-After": {
        "description": "Seconds until a retry makes sense.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "Set-Cookie": _header("A new session cookie, or the removal of one, for a browser.", required=False),
    "Accept": _header("The accepted media types."),
    # Counts of an account are not revealed, so a 429 for an account may lack these headers.
    "RateLimit-Policy": _header(
        "Attempts (`q`) of a client IP in a window of seconds (`w`): draft-ietf-httpapi-ratelimit-headers-11.",
        required=False,
    ),
    "RateLimit": _header("Remaining attempts (`r`), and seconds until there are more (`t`).", required=False),
    "Cache-Control": _header("The answer must not be cached.", const=NOT_KEPT),
}

OF_LIMITS: Final = ("RateLimit-Policy", "RateLimit")
"""The headers of an operation with a rate limit."""

_OF_PROBLEMS: Final[Mapping[int, tuple[str, ...]]] = {
    status_of(Unauthenticated): ("WWW-Authenticate",),
    status_of(UnsupportedMediaType): ("Accept",),
    status_of(RateLimited): ("Retry-After", *OF_LIMITS),
    status_of(Unavailable): ("Retry-After",),
}


def headers(*names: str, cache_control: str = NOT_KEPT) -> Json:
    """These headers, and the headers of every answer."""
    named: Json = {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", "Cache-Control", *names)}
    if cache_control != NOT_KEPT:
        named["Cache-Control"] = _header("How long the answer may be cached.", const=cache_control)
    return named


def problem_headers(status: int) -> Json:
    """The headers of a problem with this status."""
    return headers(*_OF_PROBLEMS.get(status, ()))
