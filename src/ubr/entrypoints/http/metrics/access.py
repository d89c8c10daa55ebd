"""Who may read `/metrics`."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from ipaddress import ip_address

from ubr.application.app import Application
from ubr.domain.actor import Actor
from ubr.domain.errors import InvalidToken, UbrError, Unauthenticated
from ubr.domain.roles.permissions import METRICS_READ
from ubr.entrypoints.http.bearer import bearer_token
from ubr.entrypoints.http.client_ip import client_ip
from ubr.entrypoints.http.fields import Fields

_FORWARDED = frozenset({b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"true-client-ip"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsAccess:
    """Holders of `metrics:read`, with an access token. With a token of the operator, everyone who has it too.

    Without one, also this machine itself, if no other can reach the service.
    """

    token: str | None = field(default=None, repr=False)
    local: bool = False
    """True if the service listens on a loopback address only, and trusts no proxy."""

    def permits(self, peer: str | None, fields: Fields) -> bool:
        """True if the sender of a request may read the metrics without being a user."""
        if self.token is not None:
            try:
                given = bearer_token(fields)
            except UbrError:
                return False
            return hmac.compare_digest(given.encode(), self.token.encode())
        # A proxy on this machine forwards requests of other machines.
        return self.local and is_loopback(client_ip(peer, fields, ())) and not any(map(_forwarded, fields))


async def scraper(ubr: Application, fields: Fields) -> Actor | None:
    """The user of the access token of a request, such as a machine, if the user may read the metrics; None otherwise.

    Errors: `StoreUnavailable`.
    """
    try:
        actor = await ubr.authenticate(bearer_token(fields))
        permitted = await ubr.permits(actor, METRICS_READ)
    except (Unauthenticated, InvalidToken):
        return None
    return actor if permitted else None


def is_loopback(address: str | None) -> bool:
    """True for an IP address of the machine itself."""
    return address is not None and ip_address(address).is_loopback


def _forwarded(name: bytes) -> bool:
    return name in _FORWARDED or name.startswith(b"x-forwarded-")
