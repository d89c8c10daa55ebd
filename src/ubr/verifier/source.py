"""The HTTP client for ubr."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from uuid import UUID

import httpx

from ubr.domain.revocation.changes import Change, ChangeRecord
from ubr.verifier.revocation_cache import Told

Access: TypeAlias = Callable[[], Awaitable[str]]
"""Returns an access token whose user holds `revocations:read`. Called for each request."""

_DEADLINE: Final = 5.0
_GOODBYE: Final = 2.0
_KINDS: Final = {"session", "user", "role", "key"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user of ubr for this service alone, with a role that holds only `revocations:read`."""

    email: str
    password: str = field(repr=False)


class Unreachable(Exception):
    """ubr did not answer, or not as expected."""


class Denied(Unreachable):
    """ubr answered that this service lacks the permission."""


class Source:
    """The requests of a verifier to ubr."""

    def __init__(
        self,
        url: str,
        access: Access | Credentials,
        elapsed: Callable[[], float],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._client = httpx.AsyncClient(
            base_url=url, transport=transport, timeout=_DEADLINE, headers={"user-agent": "ubr-verifier"}
        )
        self._account: _Account | None = None
        if isinstance(access, Credentials):
            self._account = _Account(self._client, access, elapsed)
            self._access: Access = self._account.token
        else:
            self._access = access

    async def revocations(
        self, verifier: UUID, *, since: int | None = None, epoch: str | None = None, wait: float = 0
    ) -> Told:
        """The change records. Errors: `Unreachable`, `Denied`."""
        query: dict[str, str] = {"verifier": str(verifier), "wait": str(int(wait * 1000))}
        if since is not None and epoch is not None:
            query |= {"since": str(since), "epoch": epoch}
        async with _answering():
            headers = {"authorization": f"Bearer {await self._access()}"}
            answer = await self._client.get("/api/revocations", params=query, headers=headers)
            if answer.status_code == HTTPStatus.UNAUTHORIZED and self._account is not None:
                self._account.forget()
            return _told(_body(answer))

    async def keys(self) -> list[object]:
        """The published keys. Errors: `Unreachable`."""
        async with _answering():
            # An intermediary may cache a response; a key may have been revoked since.
            answer = await self._client.get("/.well-known/jwks.json", headers={"cache-control": "no-cache"})
            keys: list[object] = _body(answer)["keys"]
            return list(keys)

    async def close(self, verifier: UUID) -> None:
        """Unregister a verifier, so that no unit waits for it, log out if this object logged in, and disconnect."""
        try:
            with suppress(Unreachable):
                async with _answering(_GOODBYE):
                    headers = {"authorization": f"Bearer {await self._access()}"}
                    await self._client.delete("/api/revocations", params={"verifier": str(verifier)}, headers=headers)
                    if self._account is not None:
                        await self._account.sign_out()
        finally:
            await self._client.aclose()


class _Account:
    """Logs in on demand, and refreshes well before the token expires."""

    def __init__(self, client: httpx.AsyncClient, credentials: Credentials, elapsed: Callable[[], float]) -> None:
        self._client = client
        self._credentials = credentials
        self._elapsed = elapsed
        self._access: str | None = None
        self._refresh: str | None = None
        self._renew_at = 0.0

    async def token(self) -> str:
        if self._access is None or self._elapsed() >= self._renew_at:
            await self._renew()
        assert self._access is not None  # noqa: S101 - otherwise an error was raised
        return self._access

    def forget(self) -> None:
        """Drop a rejected access token. The refresh token may still be valid."""
        self._access = None

    async def _renew(self) -> None:
        began = self._elapsed()
        self._access = None
        answer: httpx.Response | None = None
        if self._refresh is not None:
            answer = await self._client.post("/api/auth/refresh", json={"refresh_token": self._refresh})
            if answer.status_code == HTTPStatus.UNAUTHORIZED:
                self._refresh = answer = None
        if answer is None:
            credentials = {"email": self._credentials.email, "password": self._credentials.password}
            answer = await self._client.post("/api/auth/login", json=credentials)
        tokens = _body(answer)
        self._access, self._refresh = str(tokens["access_token"]), str(tokens["refresh_token"])
        self._renew_at = began + float(tokens["expires_in"]) / 2

    async def sign_out(self) -> None:
        if self._access is not None:
            await self._client.post("/api/auth/logout", headers={"authorization": f"Bearer {self._access}"})


@asynccontextmanager
async def _answering(deadline: float = _DEADLINE) -> AsyncIterator[None]:
    """Convert every failure within to `Unreachable`."""
    try:
        async with asyncio.timeout(deadline):
            yield
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, KeyError, TypeError, ValueError) as error:
        # The library's texts can contain data that was sent.
        raise Unreachable(type(error).__name__) from None


def _body(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}:
        raise Denied(f"{answer.request.url.path} answered {answer.status_code}")
    if answer.status_code != HTTPStatus.OK:
        raise Unreachable(f"{answer.request.url.path} answered {answer.status_code}")
    body = answer.json()
    if not isinstance(body, dict):
        raise TypeError
    return body


def _told(body: dict[str, Any]) -> Told:
    """Errors: `KeyError`, `TypeError` or `ValueError` for a response that ubr never gives."""
    number, milliseconds = body["number"], body["fresh_for_ms"]
    rows = tuple(ChangeRecord(row["number"], Change(row["kind"], row["id"])) for row in body["rows"])
    if not all(
        type(row.number) is int and row.change.kind in _KINDS and isinstance(row.change.id, str) for row in rows
    ):
        raise ValueError
    if type(number) is not int or type(milliseconds) is not int or not isinstance(body["epoch"], str):
        raise ValueError
    return Told(epoch=body["epoch"], number=number, rows=rows, fresh_for=milliseconds / 1000)
