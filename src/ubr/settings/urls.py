"""URLs: their allowed forms, and how they are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit


def split_url(raw: str, allowed: str) -> SplitResult:
    """The parts of a URL. Errors: `ValueError`, with the form in `allowed`."""
    try:
        url = urlsplit(raw)
        _ = url.port  # parsed only on access
    except ValueError:
        raise ValueError(f"must look like {allowed}") from None
    if url.netloc.count("@") > 1 or "@" in url.path + url.query + url.fragment:
        raise ValueError("has more than one @: write %40 for an @ in the user name or password")
    return url


def parse_http_url(raw: str) -> str:
    allowed = "https://host, optionally with a port and a path"
    url = split_url(raw, allowed)
    if url.scheme not in {"http", "https"} or not url.hostname or any(mark in raw for mark in "@?#"):
        raise ValueError(f"must be {allowed}, and nothing else")
    return raw.rstrip("/")


def origin_of(url: str) -> str:
    """The origin of an HTTP URL as browsers send it: in lower case, without a default port."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in {None, usual} else "")


def masked(url: str) -> str:
    """A URL without the password in it."""
    scheme, colon, rest = url.partition("://")
    head, slash, tail = rest.partition("/")
    account, at, host = head.rpartition("@")
    user, _, password = account.partition(":")
    tail = re.sub(r"(?<=password=)[^&]*", "***", tail)
    return f"{scheme}{colon}{user}{':***' if password else ''}{at}{host}{slash}{tail}"


WILDCARDS: Final[Mapping[str, str]] = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared only
"""Addresses that stand for all of a machine, each with one that leads to it from this machine."""


def address(host: str, port: int) -> str:
    """The address of a service, as a URL."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def reachable(host: str, port: int) -> str:
    """The address under which a browser on this machine finds the service."""
    return address(WILDCARDS.get(host, host), port)
