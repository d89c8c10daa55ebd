"""The hosts in addresses."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit


def host_of(url: str) -> str:
    """The host of a URL, or the path of a socket."""
    parts = urlsplit(url)
    return parts.hostname or parse_qs(parts.query).get("host", [""])[0]


def is_this_machine(host: str) -> bool:
    """True for the path of a socket, and for a name or an address that no other machine has."""
    try:
        return host.startswith("/") or ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")
