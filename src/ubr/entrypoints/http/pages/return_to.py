"""Addresses to which a page may lead after an act: pages of this service, and those of origins that are listed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_MAX_LENGTH: Final = 2048
_PLAIN: Final = re.compile(r"[!#$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]+")
"""The characters of a URL (RFC 3986). A backslash, which browsers read as a slash, and controls are not among them."""
_OWN: Final = re.compile(r"/(?:account|console)(?:/[A-Za-z0-9_/-]*)?(?:\?[^#]*)?")
_PATH: Final = re.compile(r"/(?![/])[^\[\]@]*")


def checked(raw: str | None, origins: Iterable[str]) -> str | None:
    """The address, if it is a path of this origin or has a listed origin; None for any other.

    Compared as text: two parsers can disagree about the host of an unusual URL.
    """
    if raw is None or len(raw) > _MAX_LENGTH or not _PLAIN.fullmatch(raw):
        return None
    if raw.startswith("/"):
        return raw if _PATH.fullmatch(raw) else None
    return None if origin_of(raw, origins) is None else raw


def is_own(path: str) -> bool:
    """True for the path of a page of this service, below whatever path a proxy serves it."""
    return _OWN.fullmatch(path) is not None


def origin_of(address: str, origins: Iterable[str]) -> str | None:
    """The listed origin of an address; None for a path, and for any other origin."""
    # One origin may begin with another one, such as that of the same host without a port.
    return next(
        (each for each in origins if address == each or address.startswith((f"{each}/", f"{each}?", f"{each}#"))), None
    )
