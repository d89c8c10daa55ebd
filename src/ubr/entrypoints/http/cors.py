"""CORS: lets pages of other origins read responses (the Fetch standard, 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ubr.entrypoints.http.fields import Fields

Headers = Iterable[tuple[bytes, bytes]]

_REQUEST_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "X-Request-ID",
)
"""Request headers that a page may send."""
_RESPONSE_HEADERS: Final = (
    "ETag",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
)
"""Response headers that a page may read."""
_MAX_AGE_SECONDS: Final = 7200
"""Seconds for which a browser may cache a preflight: the longest time that all browsers accept."""


class Cors:
    """CORS headers for pages of the origins that an operator named, and for no others.

    Only pages of a trusted origin may make calls with the session cookie, and read the answers.
    """

    def __init__(self, origins: Iterable[str], trusted: Iterable[str] = ()) -> None:
        self._trusted = frozenset(origin.encode() for origin in trusted)
        self._origins = self._trusted.union(origin.encode() for origin in origins)

    def headers(self, method: str, request: Fields, response: Headers) -> Iterator[tuple[bytes, bytes]]:
        """The headers that CORS adds to this response.

        A preflight, which a browser sends before it lets a page make a call, gets the methods of the route, taken from
        `Allow`. The response for an unknown path has no `Allow`, so it permits nothing.
        """
        if not self._origins:
            return
        # For every request: a cache must not give the response for one origin to another.
        yield b"vary", b"Origin"
        origins = request.get(b"origin", ())
        if len(origins) != 1 or origins[0] not in self._origins:
            return
        yield b"access-control-allow-origin", origins[0]
        if origins[0] in self._trusted:
            yield b"access-control-allow-credentials", b"true"
        if method != "OPTIONS" or b"access-control-request-method" not in request:
            yield b"access-control-expose-headers", _joined(_RESPONSE_HEADERS)
            return
        for name, value in response:
            if name.lower() == b"allow":
                yield b"access-control-allow-methods", value
                yield b"access-control-allow-headers", _joined(_REQUEST_HEADERS)
                yield b"access-control-max-age", str(_MAX_AGE_SECONDS).encode()


def _joined(names: Iterable[str]) -> bytes:
    return ", ".join(names).encode()
