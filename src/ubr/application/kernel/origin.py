"""Where a call comes from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a call comes from: written into sessions and log entries, and a ground for no decision but the limits'."""

    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    request_id_given: bool = False

    @property
    def network(self) -> str | None:
        """What counts as one client: an IPv4 address, or an IPv6 network of 64 bits, of which one client has all."""
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
    """The origin of the call that is being served."""
    return _origin.get()


@contextmanager
def calling_from(origin: Origin) -> Iterator[None]:
    """Say where the calls within come from."""
    token = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(token)
