"""The origin of a call."""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

import msgspec


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of a call: stored in sessions and log entries, and used by no decision except rate limits."""

    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    request_id_given: bool = False
    trace_id: str | None = None
    """The trace that the caller's request belongs to; only for the service's own log."""

    @property
    def network(self) -> str | None:
        """The network that counts as one client: an IPv4 address, or an IPv6 /64, which one client owns as a whole."""
        return None if self.ip is None else _network(self.ip)


_CLIENT_BITS: Final = 64


@lru_cache(4096)
def _network(ip: str) -> str:
    try:
        address = ip_address(ip)
    except ValueError:
        return ip
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address), _CLIENT_BITS), strict=False))
    return str(address)


_NOWHERE: Final = Origin()

_origin: ContextVar[Origin] = ContextVar("ubr_origin", default=_NOWHERE)


def current_origin() -> Origin:
    """The origin of the current call."""
    return _origin.get()


def calling_from(origin: Origin) -> AbstractContextManager[None]:
    """Set the origin of the calls within the context."""
    return _Calling(origin)


class _Calling:
    """Every request enters one: a generator would take twice as long."""

    __slots__ = ("_before", "_origin")

    _before: Token[Origin]

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def __enter__(self) -> None:
        self._before = _origin.set(self._origin)

    def __exit__(self, *_: object) -> None:
        _origin.reset(self._before)
