"""Browsers: the cookie of a session, and the requests that other origins make a browser send."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from ubr.application.kernel.representations import SessionCookieResult
from ubr.domain.errors import InvalidToken
from ubr.entrypoints.http.fields import Fields
from ubr.entrypoints.http.problems.errors import CrossOriginRequest
from ubr.settings import origin_of

COOKIE: Final = "__Host-ubr"
"""Browsers accept this prefix only with Secure, with `Path=/` and without Domain: no subdomain can set the cookie."""
DEVELOPMENT_COOKIE: Final = "ubr-dev"
"""For a service without TLS, from which not every browser takes a cookie with Secure."""

_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_OWN_SITE: Final = (b"same-origin", b"none")
"""`Sec-Fetch-Site` of a page of the service, and of an address that the user typed."""


class Browsers:
    """The cookie and the rules of one service. Without a public URL, it counts as one with TLS.

    Errors: `ValueError` for a trusted origin that is none, or that a service with TLS must not trust.
    """

    def __init__(self, public_url: str | None = None, trusted_origins: Iterable[str] = ()) -> None:
        secure = public_url is None or urlsplit(public_url).scheme == "https"
        self.cookie_name: Final = COOKIE if secure else DEVELOPMENT_COOKIE
        self._name = self.cookie_name.encode()
        self._attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
        self._origin = None if public_url is None else origin_of(public_url).encode()
        self._trusted = frozenset(_trusted(origin, secure=secure) for origin in trusted_origins)

    def cookie(self, fields: Fields) -> str | None:
        """The value of the session cookie; None if there is none.

        Errors: `InvalidToken` if there is more than one: then one of them may be from another site.
        """
        found = self.cookies(fields)
        if len(found) > 1:
            raise InvalidToken("There is more than one session cookie")
        return found[0] if found else None

    def cookies(self, fields: Fields) -> list[str]:
        """All values of the session cookie."""
        return [
            value.decode("latin-1")
            for field in fields.get(b"cookie", ())  # HTTP/2 may split the field (RFC 9113, 8.2.3)
            for name, sign, value in (pair.strip(b" \t").partition(b"=") for pair in field.split(b";"))
            if sign and name == self._name
        ]

    def set_cookie(self, cookie: SessionCookieResult) -> str:
        """The `Set-Cookie` field that gives a browser its cookie."""
        return f"{self.cookie_name}={cookie.value}; Max-Age={cookie.max_age}{self._attributes}"

    @property
    def clear_cookie(self) -> str:
        """The `Set-Cookie` field that takes it away."""
        return f"{self.cookie_name}=; Max-Age=0{self._attributes}"

    def check_origin(self, method: str, fields: Fields) -> None:
        """Reject a request that changes something, unless a page of the service or of a trusted origin sent it.

        Browsers send `Sec-Fetch-Site` with every request over TLS, and `Origin` with every unsafe one; no page can
        change them. A request with neither proves nothing, and is rejected. Errors: `CrossOriginRequest`; its detail
        names the remedy for a page of this very host under an address that is not the public URL.
        """
        if method in _SAFE:
            return
        sites, origins = fields.get(b"sec-fetch-site", ()), fields.get(b"origin", ())
        origin = origins[0] if len(origins) == 1 else None
        if origin is not None and origin in self._trusted:
            return
        if sites:
            if len(sites) == 1 and sites[0] in _OWN_SITE:
                return
        elif origin is not None:
            own = self._own_origin(fields)
            if origin == own:
                return
            if own is not None and fields.get(b"host", ()) == [origin.partition(b"://")[2]]:
                raise CrossOriginRequest(
                    f"Open the service at {own.decode('latin-1')}, or set UBR_PUBLIC_URL to the address in the browser"
                )
        raise CrossOriginRequest

    def _own_origin(self, fields: Fields) -> bytes | None:
        """The origin of the service; without a public URL, that of its host with TLS."""
        if self._origin is not None:
            return self._origin
        hosts = fields.get(b"host", ())
        return b"https://" + hosts[0].lower() if len(hosts) == 1 else None


def _trusted(origin: str, *, secure: bool) -> bytes:
    schemes = ("https",) if secure else ("https", "http")
    if urlsplit(origin).scheme not in schemes or origin_of(origin) != origin:
        raise ValueError(f"{origin} is not an origin of {' or '.join(schemes)}")
    return origin.encode()
