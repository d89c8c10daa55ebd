"""Which pages of other origins may read answers (the Fetch standard, 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

Headers = Iterable[tuple[bytes, bytes]]

_ASKED: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "X-Request-ID",
)
"""What a page may send along."""
_TOLD: Final = (
    "ETag",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
)
"""What a page may read beside the body."""
_KEPT_SECONDS: Final = 7200
"""How long a browser need not ask again: the most that all of them grant."""


class Cors:
    """Headers for pages of origins that an operator named, and for nobody else.

    Never with credentials: what a browser would send by itself counts for nothing here.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, method: str, request: Headers, response: Headers) -> Iterator[tuple[bytes, bytes]]:
        """What this response to a request has beside its own headers.

        To a preflight, which is what a browser asks before it lets a page do something, the methods of the route: they
        stand in `Allow`. A path that is not there has none, and so nothing is let through.
        """
        if not self._origins:
            return
        # Whoever asks: what a cache keeps for one origin must not be given to another.
        yield b"vary", b"Origin"
        origins = [value for name, value in request if name == b"origin"]
        if len(origins) != 1 or origins[0] not in self._origins:
            return
        yield b"access-control-allow-origin", origins[0]
        if method != "OPTIONS" or not any(name == b"access-control-request-method" for name, _ in request):
            yield b"access-control-expose-headers", _joined(_TOLD)
            return
        for name, value in response:
            if name.lower() == b"allow":
                yield b"access-control-allow-methods", value
                yield b"access-control-allow-headers", _joined(_ASKED)
                yield b"access-control-max-age", str(_KEPT_SECONDS).encode()


def _joined(names: Iterable[str]) -> bytes:
    return ", ".join(names).encode()
