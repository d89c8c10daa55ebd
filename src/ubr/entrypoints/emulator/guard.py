"""Which requests the emulator answers. A web page in a browser of this machine must not drive it.

A page of any site can send requests to this machine, and with a name of its own that leads here (DNS rebinding) it can
read the answers too. Both name the site: the first in `Origin`, the second in `Host`.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from ubr.domain.errors import Invalid
from ubr.entrypoints.http.fields import Fields
from ubr.entrypoints.http.problems.errors import CrossOriginRequest

_LOCAL: Final = "localhost"
_SAME_SITE: Final = (b"same-origin", b"same-site", b"none")


class Guard:
    """`names` are further host names of the emulator, such as that of its container."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(name.lower() for name in names)

    def check_host(self, fields: Fields) -> None:
        """Errors: `Invalid` unless the request names an IP address, this machine, or a further name.

        No name of another site is among them, and no site can make a browser send an address as the host.
        """
        hosts = fields.get(b"host", ())
        host = hosts[0].decode("latin-1") if len(hosts) == 1 else ""
        if not self._is_own(_hostname(f"//{host}")):
            raise Invalid(
                f"The emulator is for tests, and does not answer for {host or 'a request without one host'}: start it "
                "with --allow-host for another name"
            )

    def check_origin(self, fields: Fields) -> None:
        """For the calls that control it. Errors: `CrossOriginRequest` for those of a page of another machine."""
        if any(not self._is_here(_hostname(origin.decode("latin-1"))) for origin in fields.get(b"origin", ())):
            raise CrossOriginRequest
        if b"origin" not in fields and any(site not in _SAME_SITE for site in fields.get(b"sec-fetch-site", ())):
            raise CrossOriginRequest

    def _is_own(self, name: str) -> bool:
        return self._is_here(name) or _is_address(name)

    def _is_here(self, name: str) -> bool:
        """True for this machine, whose pages are those of its user."""
        if name == _LOCAL or name.endswith(f".{_LOCAL}") or name in self._names:
            return True
        return _is_address(name) and ip_address(name).is_loopback


def _hostname(url: str) -> str:
    """The host in lower case; empty if the URL has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
