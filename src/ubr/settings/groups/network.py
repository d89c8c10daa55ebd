"""The network between clients and the service."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from ubr.settings.declaration import setting
from ubr.settings.urls import parse_http_url
from ubr.settings.values import as_text, items, whole

Network: TypeAlias = IPv4Network | IPv6Network
TrustedProxies: TypeAlias = tuple[Network, ...] | int
"""The trusted networks for `X-Forwarded-For`, or the number of proxies in front, in any network."""


def parse_proxies(raw: str) -> TrustedProxies:
    if raw.startswith("hops:"):
        try:
            return whole(1, 32)(raw.removeprefix("hops:"))
        except ValueError:
            raise ValueError("must have a whole number from 1 to 32 after hops:") from None
    networks = []
    for item in items(raw):
        try:
            network = ip_network(item, strict=False)
        except ValueError:
            raise ValueError("must be hops:N, or networks such as 10.0.0.0/8,fd00::/8") from None
        if str(network.network_address) != str(ip_address(item.partition("/")[0])):
            raise ValueError(f"must name networks by their first address: {item} is in {network}")
        if network.prefixlen == 0:
            raise ValueError(f"must not trust every address, as {item} does; hops:N counts proxies in any network")
        networks.append(network)
    return tuple(networks)


def _proxies_as_text(proxies: TrustedProxies) -> str:
    return f"hops:{proxies}" if isinstance(proxies, int) else as_text(proxies)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class NetworkSettings:
    """The settings of the network between clients and the service."""

    public_url: str | None = setting(
        parse_http_url,
        None,
        "The public URL of the service; links in mails begin with it.",
        otherwise="none; on the embedded default database `http://` with host and port",
        shown="url",
    )
    return_url: str | None = setting(
        parse_http_url,
        None,
        "The address of your application: the pages behind links in mails lead there when they are done.",
        shown="url",
    )
    trusted_proxies: TrustedProxies = setting(
        parse_proxies,
        "",
        "Proxies whose `X-Forwarded-For` is trusted: networks such as `10.0.0.0/8`, separated by commas, or `hops:N`.",
        text=_proxies_as_text,
    )
