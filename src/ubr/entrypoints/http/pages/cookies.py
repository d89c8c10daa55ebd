"""The small cookies of pages: the chosen language, and the notice that the next page shows."""

from __future__ import annotations

from typing import Final

from ubr.entrypoints.http.fields import Fields

LANGUAGE: Final = "ubr-language"
NOTICE: Final = "ubr-notice"
A_YEAR: Final = 365 * 24 * 60 * 60
A_MINUTE: Final = 60

MAX_BYTES: Final = 4096
"""The longest cookie that every browser keeps (RFC 6265bis, 5.6)."""

_MAX_LENGTH: Final = 64


def read(fields: Fields, name: str, *, secure: bool, longest: int = _MAX_LENGTH) -> str | None:
    """The value of a cookie; None if there is none, or several, or a longer one."""
    wanted = _named(name, secure=secure)
    found = [
        value.strip()
        for line in fields.get(b"cookie", ())
        for part in line.decode("latin-1").split(";")
        for given, _, value in [part.partition("=")]
        if given.strip() == wanted
    ]
    return found[0] if len(found) == 1 and len(found[0]) <= longest else None


def beginning(fields: Fields, name: str, *, secure: bool) -> dict[str, int]:
    """The cookies whose names begin so: the length of each by its name. Browsers send the oldest first."""
    wanted = _named(name, secure=secure)
    return {
        given.strip().removeprefix(_named("", secure=secure)): len(value.strip())
        for line in fields.get(b"cookie", ())
        for part in line.decode("latin-1").split(";")
        for given, _, value in [part.partition("=")]
        if given.strip().startswith(wanted)
    }


def write(name: str, value: str, *, seconds: int, secure: bool) -> str:
    """The value of `Set-Cookie`. With 0 seconds the browser deletes the cookie."""
    flags = "; Secure" if secure else ""
    return f"{_named(name, secure=secure)}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{flags}"


def _named(name: str, *, secure: bool) -> str:
    """With the prefix, no other host of the same domain can set the cookie (RFC 6265bis, 4.1.3)."""
    return f"__Host-{name}" if secure else name
