"""Small objects in S3, by single signed requests."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import re
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from ubr.adapters.aws.credentials import PROCESS, CredentialSource
from ubr.adapters.aws.signing import signed_fields

SCHEME: Final = "s3://"

_DEADLINE: Final = 30.0
_MAX_BYTES: Final = 1 << 20


class ObjectFailed(Exception):
    """S3 does not answer, or refuses. The message is a sentence without a full stop, and contains no secret."""


class S3Object(msgspec.Struct, frozen=True):
    """The place of an object. `str` of it is its URL."""

    bucket: str
    key: str

    @classmethod
    def parsed(cls, url: str) -> S3Object:
        """Errors: `ValueError`, with the form."""
        found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.*[^/])", url)
        if found is None:
            raise ValueError("must look like s3://bucket/name")
        return cls(found[1], found[2])

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


async def read_object(place: S3Object, source: CredentialSource = PROCESS) -> bytes | None:
    """The content of the newest version; None if there is no object. Errors: `ObjectFailed`, `NoCredentials`."""
    status, body = await _request("GET", place, b"", source)
    if status == http.client.NOT_FOUND and b"NoSuchKey" in body:
        return None
    if status != http.client.OK:
        raise ObjectFailed(_refusal(place, status, body))
    return body


async def write_object(place: S3Object, content: bytes, source: CredentialSource = PROCESS) -> None:
    """Write a new version, whose checksum S3 compares. Errors: `ObjectFailed`, `NoCredentials`."""
    status, body = await _request("PUT", place, content, source)
    if status != http.client.OK:
        raise ObjectFailed(_refusal(place, status, body))


async def _request(method: str, place: S3Object, content: bytes, source: CredentialSource) -> tuple[int, bytes]:
    credentials = await source.current()
    secure, host, path = _address(place, source)
    fields = {"host": host}
    if content:
        # A bucket with Object Lock demands a checksum.
        fields["x-amz-checksum-sha256"] = base64.b64encode(hashlib.sha256(content).digest()).decode()
    signed = signed_fields(
        credentials,
        service="s3",
        region=source.region,
        method=method,
        path=path,
        fields=fields,
        body=content,
        now=source.clock(),
    )
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(host, timeout=_DEADLINE)
    return await asyncio.to_thread(_exchange, connection, method, path, content, signed)


def _address(place: S3Object, source: CredentialSource) -> tuple[bool, str, str]:
    """True for TLS, then the host, and the path of an object."""
    key = quote(place.key, safe="/-_.~")
    if (endpoint := source.endpoint) is not None:
        url = urlsplit(endpoint)
        return url.scheme == "https", url.netloc, f"/{place.bucket}/{key}"
    if "." in place.bucket:  # the certificate of S3 does not match such a host
        return True, f"s3.{source.region}.amazonaws.com", f"/{place.bucket}/{key}"
    return True, f"{place.bucket}.s3.{source.region}.amazonaws.com", f"/{key}"


def _exchange(
    connection: http.client.HTTPConnection, method: str, path: str, content: bytes, fields: dict[str, str]
) -> tuple[int, bytes]:
    try:
        connection.request(method, path, body=content or None, headers=fields)
        with connection.getresponse() as answer:
            body = answer.read(_MAX_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise ObjectFailed(f"S3 does not answer ({type(error).__name__})") from None
    finally:
        connection.close()
    if len(body) > _MAX_BYTES:
        raise ObjectFailed("The object is larger than 1 MiB")
    return answer.status, body


def _refusal(place: S3Object, status: int, body: bytes) -> str:
    code = re.search(rb"<Code>([A-Za-z]+)</Code>", body)
    return f"S3 refuses {place}: {code[1].decode() if code else status}"
