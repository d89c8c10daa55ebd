"""What this service needs of its users, and the three ways to have it.

| way      | the user of a request           | a user for an invited reader             |
| -------- | ------------------------------- | ---------------------------------------- |
| library  | ubr.authenticate                | ubr.within(connection).create_user       |
| http     | GET /api/users/me               | POST /api/users                          |
| verifier | ubr.verifier, without a request | POST /api/users                          |
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from uuid import UUID

import httpx
from sqlalchemy.ext.asyncio import AsyncConnection

from ubr import SYSTEM, Actor, CreateUserCommand, GetUserByEmailCommand, errors
from ubr.contrib.auth import Auth


class User(Protocol):
    """The user of a request. `Actor`, `VerifiedToken` and `Caller` are users."""

    @property
    def user_id(self) -> UUID: ...


class Invite(Protocol):
    async def __call__(self, connection: AsyncConnection, email: str, /) -> UUID:
        """The user with this e-mail, who is created and gets a mail if there is none. Errors: `UbrError`."""
        ...


class InviteInTransaction:
    """With the library: the user, the mail and the rows of this service are committed together, or none of them."""

    def __init__(self, auth: Auth[Actor]) -> None:
        self._auth = auth

    async def __call__(self, connection: AsyncConnection, email: str, /) -> UUID:
        users = self._auth.ubr.within(connection)
        try:
            return (await users.get_user_by_email(GetUserByEmailCommand(email=email), actor=SYSTEM)).id
        except errors.UserNotFound:
            return (await users.create_user(CreateUserCommand(email=email), actor=SYSTEM)).id


class Machine:
    """This service as an account of ubr. It logs in with its key when its token is about to expire."""

    def __init__(self, users: httpx.AsyncClient, key: str) -> None:
        self._users = users
        self._key = key
        self._token = ""
        self._renew_at = 0.0
        self._one_login = asyncio.Lock()

    async def token(self) -> str:
        """An access token. Errors: `httpx.HTTPError`."""
        async with self._one_login:
            if time.monotonic() >= self._renew_at:
                form = {"grant_type": "client_credentials", "client_secret": self._key}
                began = time.monotonic()
                answer = (await self._users.post("/api/auth/token", data=form)).raise_for_status().json()
                self._token = str(answer["access_token"])
                self._renew_at = began + float(answer["expires_in"]) / 2
            return self._token

    def forget(self, token: str) -> None:
        """ubr refused this token."""
        if token == self._token:
            self._renew_at = 0.0


class InviteOverHttp:
    """With ubr elsewhere: the user exists before the rows of this service do. A repeated call finds the same user."""

    def __init__(self, users: httpx.AsyncClient, machine: Machine) -> None:
        self._users = users
        self._machine = machine

    async def __call__(self, _: AsyncConnection, email: str, /) -> UUID:
        made = await self._asked("POST", "/api/users", json={"email": email})
        if made.status_code == HTTPStatus.CREATED:
            return UUID(made.json()["id"])
        if made.status_code == HTTPStatus.BAD_REQUEST:
            raise errors.Invalid.at("/email", "This is not an e-mail that can be invited")
        if made.status_code != HTTPStatus.CONFLICT:
            raise errors.Unavailable(f"The users cannot be reached: {made.status_code}")
        found = await self._asked("GET", "/api/users", params={"q": email, "limit": 100})
        for user in found.json().get("items", ()):
            if user["email"].casefold() == email.casefold():
                return UUID(user["id"])
        raise errors.Conflict("This e-mail belongs to no user who can be invited")

    async def _asked(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            token = await self._machine.token()
            headers = {"authorization": f"Bearer {token}"}
            answer = await self._users.request(method, path, headers=headers, **request)
        except httpx.HTTPError as error:
            raise errors.Unavailable("The users cannot be reached") from error
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            self._machine.forget(token)
        return answer


@dataclass(frozen=True)
class Caller:
    """The user of a request, as ubr described them a moment ago."""

    user_id: UUID
    permissions: frozenset[str]


class OverHttp:
    """A source of users for `ubr.contrib` that asks ubr about each request."""

    def __init__(self, users: httpx.AsyncClient) -> None:
        self._users = users

    @property
    def settings(self) -> None:
        return None

    @property
    def trusted_proxies(self) -> tuple[()]:
        return ()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator["OverHttp"]:
        yield self

    async def authenticate(self, token: str, /) -> Caller:
        """Errors: `InvalidToken`; `Unavailable` if ubr does not answer."""
        try:
            answer = await self._users.get("/api/users/me", headers={"authorization": f"Bearer {token}"})
        except httpx.HTTPError as error:
            raise errors.Unavailable("The users cannot be reached") from error
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise errors.InvalidToken
        if answer.status_code != HTTPStatus.OK:
            raise errors.Unavailable(f"The users cannot be reached: {answer.status_code}")
        me = answer.json()
        return Caller(UUID(me["id"]), frozenset(me["permissions"]))

    async def permits(self, who: Caller, permission: str, /) -> bool:
        return not who.permissions.isdisjoint({permission, "*"})
