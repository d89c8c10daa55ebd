"""The origin of a call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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
        if self.ip is None:
            return None
        try:
            address = ip_address(self.ip)
        except ValueError:
            return self.ip
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if isinstance(address, IPv6Address):
            return str(IPv6Network((int(address), _CLIENT_BITS), strict=False))
        return str(address)


_CLIENT_BITS: Final = 64

_NOWHERE: Final = Origin()

_origin: ContextVar[Origin] = ContextVar("ubr_origin", default=_NOWHERE)


def current_origin() -> Origin:
    """The origin of the current call."""
    return _origin.get()


@contextmanager
def calling_from(origin: Origin) -> Iterator[None]:
    """Set the origin of the calls within the context."""
    token = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(token)
