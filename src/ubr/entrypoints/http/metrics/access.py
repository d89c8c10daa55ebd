"""Who may read `/metrics`."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from ipaddress import ip_address

from ubr.domain.errors import UbrError
from ubr.entrypoints.http.bearer import bearer_token
from ubr.entrypoints.http.client_ip import client_ip
from ubr.entrypoints.http.fields import Fields

_FORWARDED = frozenset({b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"true-client-ip"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsAccess:
    """With a token, everyone who has it. Without one, the machine itself if no other can reach the service.

    By default, no one.
    """

    token: str | None = field(default=None, repr=False)
    local: bool = False
    """True if the service listens on a loopback address only, and trusts no proxy."""

    def permits(self, peer: str | None, fields: Fields) -> bool:
        """True if the sender of a request may read the metrics."""
        if self.token is not None:
            try:
                given = bearer_token(fields)
            except UbrError:
                return False
            return hmac.compare_digest(given.encode(), self.token.encode())
        # A proxy on this machine forwards requests of other machines.
        return self.local and is_loopback(client_ip(peer, fields, ())) and not any(map(_forwarded, fields))


def is_loopback(address: str | None) -> bool:
    """True for an IP address of the machine itself."""
    return address is not None and ip_address(address).is_loopback


def _forwarded(name: bytes) -> bool:
    return name in _FORWARDED or name.startswith(b"x-forwarded-")
