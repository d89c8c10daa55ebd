"""The processes that answer requests."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address

from ubr.settings.declaration import setting
from ubr.settings.values import duration, whole


def parse_host(raw: str) -> str:
    with suppress(ValueError):
        return str(ip_address(raw))
    if (
        not re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", raw)
        or raw.rpartition(".")[2].isdigit()
    ):
        raise ValueError("must be an IP address or a host name, without a port or brackets")
    return raw


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class ServerSettings:
    """The settings of the processes that answer requests."""

    host: str = setting(parse_host, "127.0.0.1", "The network interface to listen on, by address or name.")
    port: int = setting(whole(1, 65535), "8000", "The port to listen on.")
    shutdown_delay: timedelta = setting(
        duration("0s", "10m"),
        "0s",
        "How long the service goes on answering after SIGTERM while `/health/ready` is 503. A load balancer notices it "
        "and sends no more requests, before the service stops listening.",
    )
    keep_alive: timedelta = setting(
        duration("5s", "10m"),
        "75s",
        "How long an unused connection stays open. Set it longer than the idle timeout of your load balancer.",
    )
    max_connections: int = setting(
        whole(32, 65535),
        "1024",
        "The maximum number of open connections, shared evenly by the workers. Further ones wait. Each takes a file "
        "descriptor.",
    )
    max_connections_per_client: int = setting(
        whole(8, 65535),
        "256",
        "The maximum number of open connections, and of running requests, of one client IP in each worker; at most "
        "half of the worker's connections. Trusted proxies may open more connections.",
    )
    workers: int = setting(whole(1, 256), "1", "The number of worker processes. 1 on SQLite.")
