"""The IP address of a client: the peer's, or the one that a trusted proxy reports."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

from ubr.entrypoints.http.fields import Fields
from ubr.settings import TrustedProxies

_Address: TypeAlias = IPv4Address | IPv6Address

_MAX_LENGTH: Final = 2048
_WITH_PORT: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


def client_ip(peer: str | None, fields: Fields, trusted: TrustedProxies) -> str | None:
    """The client's address in its shortest form; the peer's if the header is not trusted or not valid."""
    fallback = None if peer is None else _shortest(peer)
    if trusted == ():
        return fallback
    near = None if peer is None else _parse(peer)
    if not isinstance(trusted, int) and not _is_trusted(near, trusted):
        return fallback
    hops = _forwarded_for(fields)
    if isinstance(trusted, int):
        # The peer is the nearest proxy, and each proxy appended the address of its own peer.
        hop = _parse(hops[-trusted]) if len(hops) >= trusted else None
        return fallback if hop is None else str(hop)
    # Each proxy appended the address before it. The client itself wrote everything before the nearest untrusted
    # address. That part is not even parsed, or else a client could hide behind an invalid entry.
    client = near
    for text in reversed(hops):
        hop = _parse(text)
        if hop is None:
            break
        client = hop
        if not _is_trusted(hop, trusted):
            break
    return str(client)


def is_ignored(peer: str | None, fields: Fields, trusted: TrustedProxies) -> bool:
    """True if the peer reports a client's address and is not trusted: all clients behind it count as one."""
    if isinstance(trusted, int) or b"x-forwarded-for" not in fields:
        return False
    return not _is_trusted(None if peer is None else _parse(peer), trusted)


def is_proxy(peer: str, trusted: TrustedProxies) -> bool:
    """True if the peer may be a trusted proxy, whose connections carry the requests of many clients."""
    return isinstance(trusted, int) or _is_trusted(_parse(peer), trusted)


def _forwarded_for(fields: Fields) -> list[str]:
    """All entries of `X-Forwarded-For`, the farthest first.

    A client that names the header in `Connection` asks a proxy to drop the entry that the proxy wrote
    (CVE-2022-31813). The header of that request is ignored.
    """
    lines = fields.get(b"x-forwarded-for", ())
    raw = b",".join(lines)
    if any(b"x-forwarded-for" in value.lower() for value in fields.get(b"connection", ())):
        return []
    return [part.strip() for part in raw[-_MAX_LENGTH:].decode("latin-1").split(",")] if lines else []


@lru_cache(4096)
def _parse(text: str) -> _Address | None:
    if port := _WITH_PORT.fullmatch(text):
        text = port[1] or port[2]
    if "%" in text:  # a scope has a meaning on its own machine only
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(4096)
def _shortest(text: str) -> str | None:
    address = _parse(text)
    return None if address is None else str(address)


def _is_trusted(address: _Address | None, trusted: TrustedProxies) -> bool:
    return address is not None and not isinstance(trusted, int) and any(address in network for network in trusted)
