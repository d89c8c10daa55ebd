"""The HTTP client for ubr."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
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

LOGIN_DEADLINE: Final = 60.0
"""Seconds for a login, which may be queued before its password is hashed. A retry would only lengthen that queue."""

_SPARE: Final = 5.0
"""An access token is no longer used this many seconds before its end."""
_KINDS: Final = {"session", "user", "role", "key"}
_LARGEST: Final = 2**63 - 1

MAX_FRESH_MS: Final = 10_000
"""Maximum number of milliseconds for which an answer is relied on. No installation has a longer bound."""


REVOCATIONS_READ: Final = "revocations:read"
"""The permission to follow revocations, and the scope of the tokens that a key is exchanged for."""


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A key of this service, which is a machine in ubr. A role of the machine has the permission `revocations:read`.

    The access tokens of the verifier have no other permission, whatever the machine and the key have. All processes
    with one key share one session, which they leave open.
    """

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user for this service in ubr, with a password. Its role has the permission `revocations:read` and no other."""

    email: str
    password: str = field(repr=False)


class Unreachable(Exception):
    """ubr did not answer, or not as expected."""


class Denied(Unreachable):
    """ubr answered that this service may not log in now, or lacks the permission."""


def plain(url: str) -> bool:
    """True for plain http to another machine: others can read and change that traffic."""
    parsed = httpx.URL(url)
    host = parsed.host.rstrip(".")
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost" or host.endswith(".localhost")  # RFC 6761, 6.3
    return parsed.scheme != "https" and not here


class Source:
    """The requests of a verifier to ubr."""

    def __init__(
        self,
        url: str,
        access: Access | ServiceKey | Credentials,
        elapsed: Callable[[], float],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._client = httpx.AsyncClient(
            base_url=url, transport=transport, timeout=_DEADLINE, headers={"user-agent": "ubr-verifier"}
        )
        self._account: _Account | None = None
        if isinstance(access, ServiceKey | Credentials):
            self._account = _Account(self._client, access, elapsed)
            self._access: Access = self._account.token
        else:
            self._access = access

    async def revocations(
        self, verifier: UUID, *, since: int | None = None, epoch: str | None = None, wait: float = 0
    ) -> Told:
        """The change records. Errors: `Unreachable`, `Denied`."""
        # Only an answer to this very request describes the present: a cache on the way may answer with an older one.
        nonce = secrets.token_urlsafe(16)
        query: dict[str, str] = {"verifier": str(verifier), "wait": str(int(wait * 1000)), "nonce": nonce}
        if since is not None and epoch is not None:
            query |= {"since": str(since), "epoch": epoch}
        async with _answering():
            headers = {"authorization": f"Bearer {await self._access()}"}
            answer = await self._client.get("/api/revocations", params=query, headers=headers)
            if answer.status_code == HTTPStatus.UNAUTHORIZED and self._account is not None:
                self._account.forget()
            return _told(_body(answer), nonce)

    async def ready(self) -> None:
        """Return when there is an access token to ask with. Errors: `Unreachable`, `Denied`."""
        if self._account is not None:
            await self._account.token()

    async def keys(self) -> list[object]:
        """The published keys. Errors: `Unreachable`."""
        async with _answering():
            # An intermediary may cache a response; a key may have been revoked since.
            answer = await self._client.get("/.well-known/jwks.json", headers={"cache-control": "no-cache"})
            keys: list[object] = _body(answer)["keys"]
            return list(keys)

    async def close(self, verifier: UUID) -> None:
        """Unregister a verifier, so that no unit waits for it, log out if this object has a session, and disconnect."""
        try:
            with suppress(Unreachable):
                if self._account is not None and not await self._account.leave():
                    return  # not registered, and a login only to unregister is pointless
                async with _answering(_GOODBYE):
                    headers = {"authorization": f"Bearer {await self._access()}"}
                    await self._client.delete("/api/revocations", params={"verifier": str(verifier)}, headers=headers)
                    if self._account is not None:
                        await self._account.sign_out()
        finally:
            await self._client.aclose()


class _Account:
    """Logs in on demand, and refreshes well before the token expires. With a key it logs in again instead.

    One login or refresh runs at a time. It continues if its callers give up, because another login would create a
    second session and take another place in the queue.
    """

    def __init__(
        self, client: httpx.AsyncClient, credentials: ServiceKey | Credentials, elapsed: Callable[[], float]
    ) -> None:
        self._client = client
        self._credentials = credentials
        self._elapsed = elapsed
        self._access: str | None = None
        self._refresh: str | None = None
        self._renew_at = self._ends_at = 0.0
        self._renewing: asyncio.Task[str] | None = None

    async def token(self) -> str:
        """Errors: `Unreachable`, `Denied`."""
        now = self._elapsed()
        good = self._access if now < self._ends_at - _SPARE else None
        if good is not None and now < self._renew_at:
            return good
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
            self._renewing.add_done_callback(lambda done: done.cancelled() or done.exception())
        # While the current token is valid, no caller waits for the next one.
        return await asyncio.shield(self._renewing) if good is None else good

    async def leave(self) -> bool:
        """Stop renewing. True if a session has to be ended."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
        return self._access is not None and self._elapsed() < self._ends_at

    def forget(self) -> None:
        """Drop a rejected access token. The refresh token may still be valid."""
        self._access = None

    async def _renew(self) -> str:
        async with _answering(2 * LOGIN_DEADLINE):
            return await self._renewed()

    async def _renewed(self) -> str:
        began = self._elapsed()
        answer: httpx.Response | None = None
        if self._refresh is not None:
            answer = await self._post("/api/auth/refresh", {"refresh_token": self._refresh})
            if answer.status_code == HTTPStatus.UNAUTHORIZED:
                self._refresh = answer = None
        if answer is None:
            answer = await self._logged_in()
        tokens = _body(answer)
        access = str(tokens["access_token"])
        refresh = None if isinstance(self._credentials, ServiceKey) else str(tokens["refresh_token"])
        self._access, self._refresh = access, refresh
        lifetime = float(tokens["expires_in"])
        self._renew_at, self._ends_at = began + lifetime / 2, began + lifetime
        return access

    async def _logged_in(self) -> httpx.Response:
        if isinstance(self._credentials, Credentials):
            body = {"email": self._credentials.email, "password": self._credentials.password}
            return await self._post("/api/auth/login", body)
        # RFC 6749, 4.4. The id of the machine is part of the key.
        form = {"grant_type": "client_credentials", "client_secret": self._credentials.text, "scope": REVOCATIONS_READ}
        answer = await self._client.post("/api/auth/token", data=form, timeout=LOGIN_DEADLINE)
        if answer.status_code == HTTPStatus.BAD_REQUEST:
            # `invalid_scope`: no role of the machine has the permission, or the key is limited to others.
            raise Denied(f"/api/auth/token answered {answer.status_code}")
        return answer

    async def _post(self, path: str, body: dict[str, str]) -> httpx.Response:
        return await self._client.post(path, json=body, timeout=LOGIN_DEADLINE)

    async def sign_out(self) -> None:
        """End the session, unless it is that of a key: other processes use it."""
        if self._access is not None and isinstance(self._credentials, Credentials):
            await self._client.post("/api/auth/logout", headers={"authorization": f"Bearer {self._access}"})


@asynccontextmanager
async def _answering(deadline: float = _DEADLINE) -> AsyncIterator[None]:
    """Convert every failure inside the context to `Unreachable`."""
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


def _told(body: dict[str, Any], nonce: str) -> Told:
    """Errors: `KeyError`, `TypeError` or `ValueError` for a response that ubr never gives; `Unreachable` for the answer
    to another request.
    """
    if body.get("nonce") != nonce:
        raise Unreachable("the answer belongs to another request: a cache on the way, or an earlier version of ubr")
    number, milliseconds = body["number"], body["fresh_for_ms"]
    rows = tuple(ChangeRecord(row["number"], Change(row["kind"], row["id"])) for row in body["rows"])
    if not all(
        type(row.number) is int
        and 0 <= row.number <= _LARGEST
        and row.change.kind in _KINDS
        and isinstance(row.change.id, str)
        for row in rows
    ):
        raise ValueError
    if type(number) is not int or type(milliseconds) is not int or not isinstance(body["epoch"], str):
        raise ValueError
    if not 0 <= number <= _LARGEST or milliseconds < 0:
        raise ValueError
    return Told(epoch=body["epoch"], number=number, rows=rows, fresh_for=min(milliseconds, MAX_FRESH_MS) / 1000)
