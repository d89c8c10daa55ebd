"""The credentials of this process in AWS: from its environment, or from the agent of its container (ECS, EKS).

Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ubr.application.ports.system import Clock

_AGENT: Final = "http://169.254.170.2"
"""The address of the agent of ECS, for a relative address."""
_LOCAL: Final = frozenset({"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost", "127.0.0.1", "::1"})
"""The hosts to which plain HTTP is allowed: they never leave the machine."""
_DEADLINE: Final = 2.0
_EARLY: Final = timedelta(minutes=5)
"""Credentials are renewed this long before their end, so that what they sign does not end at once."""


class NoCredentials(Exception):
    """There are no credentials, or no region. The message says what is missing, and contains no secret."""


@dataclass(frozen=True, slots=True)
class Credentials:
    key_id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    expires: datetime | None = None
    """None: they do not expire."""


class CredentialSource:
    """The credentials of the process, renewed before they end. Concurrent callers share one request."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        """`environ` has the variables of AWS; `clock` is that of this machine."""
        self._environ = environ
        self.clock = clock
        self._known: Credentials | None = None
        self._renewing: asyncio.Task[Credentials] | None = None

    @property
    def region(self) -> str:
        """Errors: `NoCredentials`."""
        region = self._environ.get("AWS_REGION") or self._environ.get("AWS_DEFAULT_REGION")
        if not region:
            raise NoCredentials("AWS_REGION is not set")
        return region

    @property
    def endpoint(self) -> str | None:
        """The address of another S3 than that of AWS."""
        return self._environ.get("AWS_ENDPOINT_URL_S3") or None

    async def current(self) -> Credentials:
        """Errors: `NoCredentials`."""
        known, now = self._known, self.clock()
        if known is not None and (known.expires is None or now < known.expires - _EARLY):
            return known
        loop = asyncio.get_running_loop()
        renewing = self._renewing
        if renewing is None or renewing.done() or renewing.get_loop() is not loop:
            renewing = self._renewing = loop.create_task(self._renew(now))
        return await asyncio.shield(renewing)

    async def _renew(self, now: datetime) -> Credentials:
        try:
            self._known = await asyncio.to_thread(self._read)
        except NoCredentials:
            # The agent may be away for a moment: what it gave is good until its end.
            if self._known is None or self._known.expires is None or now >= self._known.expires:
                raise
        return self._known

    def _read(self) -> Credentials:
        environ = self._environ
        if key_id := environ.get("AWS_ACCESS_KEY_ID"):
            secret = environ.get("AWS_SECRET_ACCESS_KEY")
            if not secret:
                raise NoCredentials("AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY")
            return Credentials(key_id, secret, environ.get("AWS_SESSION_TOKEN", ""))
        if relative := environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
            return _from_agent(_AGENT + relative, "")
        if full := environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
            return _from_agent(full, self._authorization())
        raise NoCredentials(
            "there are no credentials of AWS: neither AWS_ACCESS_KEY_ID nor AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor "
            "AWS_CONTAINER_CREDENTIALS_FULL_URI is set"
        )

    def _authorization(self) -> str:
        if path := self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
            try:
                return Path(path).read_text(encoding="utf-8").strip()
            except (OSError, ValueError):
                raise NoCredentials("the file of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read") from None
        return self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")


def _from_agent(address: str, authorization: str) -> Credentials:
    """Ask the agent of the container. Errors: `NoCredentials`."""
    url = urlsplit(address)
    secure = url.scheme == "https"
    if not url.hostname or not (secure or (url.scheme == "http" and url.hostname in _LOCAL)):
        raise NoCredentials("AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or an address of this machine")
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(url.hostname, url.port, timeout=_DEADLINE)
    try:
        connection.request(
            "GET",
            f"{url.path}?{url.query}" if url.query else url.path,
            headers={"Authorization": authorization} if authorization else {},
        )
        with connection.getresponse() as answer:
            body = answer.read(64 * 1024)
    except (OSError, http.client.HTTPException):
        raise NoCredentials("the agent of the container does not answer") from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise NoCredentials(f"the agent of the container answers with the status {answer.status}")
    return _parsed(body)


def _parsed(body: bytes) -> Credentials:
    try:
        given: dict[str, Any] = json.loads(body)
        expires = datetime.fromisoformat(given["Expiration"]) if "Expiration" in given else None
        if expires is not None and expires.tzinfo is None:
            expires = expires.replace(tzinfo=UTC)
        return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given.get("Token", ""), expires)
    except (ValueError, KeyError, TypeError):
        raise NoCredentials("the answer of the agent of the container cannot be read") from None


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - a signature has the time of this machine


PROCESS: Final = CredentialSource(os.environ, _now)  # noqa: TID251 - AWS sets its own variables for every program
"""The credentials of this process."""
