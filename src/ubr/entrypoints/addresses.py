"""The addresses of a service that a browser does not find, or at which it drops the cookie of a login."""

from __future__ import annotations

from urllib.parse import urlsplit

from ubr.settings import WILDCARDS, Settings


def unclear_addresses(settings: Settings) -> list[str]:
    """A sentence about each, with the remedy, for the start and for `ubr doctor`."""
    found = []
    if settings.public_url is None and settings.pages != "off":
        found.append(
            "UBR_PUBLIC_URL is not set, so the cookie of a login is for https alone: a browser at an http:// address "
            "drops it without a word, and the login leads back to the login. Set UBR_PUBLIC_URL to the address that "
            "browsers use, or UBR_PAGES=off if there are none."
        )
    if settings.for_all_addresses and settings.public_url in {None, settings.address}:
        found.append(
            f"UBR_HOST is {settings.host}, which browsers cannot open: links name {settings.address}, which only this "
            "machine finds. Set UBR_PUBLIC_URL to the address that browsers use."
        )
    if urlsplit(settings.public_url or "").hostname in WILDCARDS:
        found.append(
            f"UBR_PUBLIC_URL is {settings.public_url}, which browsers cannot open: set it to the address that they use."
        )
    return found
