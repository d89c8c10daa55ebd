"""Signature Version 4 of AWS: in a URL, for passwords, and in the fields of a request.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode

from ubr.adapters.aws.credentials import Credentials

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
NOTHING: Final = hashlib.sha256(b"").hexdigest()
"""The checksum of an empty body."""


def signed_url(
    credentials: Credentials,
    *,
    service: str,
    region: str,
    host: str,
    parameters: Mapping[str, str],
    seconds: int,
    now: datetime,
) -> str:
    """`host/?…`: a GET request for `/`, signed in its query, without the scheme. `now` is in UTC."""
    scope, stamp = _scope(region, service, now), _stamp(now)
    query = {
        **parameters,
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.key_id}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.token:
        query["X-Amz-Security-Token"] = credentials.token
    encoded = _encoded(query)
    request = "\n".join(["GET", "/", encoded, f"host:{host}\n", "host", NOTHING])
    signature = _signature(credentials, region, service, now, request)
    return f"{host}/?{encoded}&X-Amz-Signature={signature}"


def signed_fields(
    credentials: Credentials,
    *,
    service: str,
    region: str,
    method: str,
    path: str,
    fields: Mapping[str, str],
    body: bytes,
    now: datetime,
) -> dict[str, str]:
    """The fields of a request with its signature. `path` is quoted; `fields` have names in lower case, with `host`."""
    signed = {
        **fields,
        "x-amz-date": _stamp(now),
        "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
    }
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
    request = "\n".join([method, path, "", lines, names, signed["x-amz-content-sha256"]])
    signature = _signature(credentials, region, service, now, request)
    scope = _scope(region, service, now)
    signed["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return signed


def _encoded(query: Mapping[str, str]) -> str:
    return urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")


def _stamp(now: datetime) -> str:
    return now.strftime("%Y%m%dT%H%M%SZ")


def _scope(region: str, service: str, now: datetime) -> str:
    return f"{now:%Y%m%d}/{region}/{service}/aws4_request"


def _signature(credentials: Credentials, region: str, service: str, now: datetime, request: str) -> str:
    checksum = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join([_ALGORITHM, _stamp(now), _scope(region, service, now), checksum])
    key = f"AWS4{credentials.secret}".encode()
    for part in (f"{now:%Y%m%d}", region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
