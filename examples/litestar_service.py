"""A service with Litestar whose users are those of ubr. Run it with any ASGI server, one verifier for each process."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult, DefineMiddleware

from ubr.verifier import Credentials, NotFresh, Refused, VerifiedToken, Verifier

verifier = Verifier(
    os.environ["USERS_URL"],
    Credentials(os.environ["USERS_EMAIL"], os.environ["USERS_PASSWORD"]),
    issuer=os.environ["USERS_ISSUER"],
)


@asynccontextmanager
async def following(_: Litestar) -> AsyncIterator[None]:
    async with verifier:
        yield


class SignedIn(AbstractAuthenticationMiddleware):
    """Finds out whose request this is."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise HTTPException(status_code=401, headers={"WWW-Authenticate": "Bearer"})
        try:
            verified = await verifier.verify(token)
        except Refused:
            told = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise HTTPException(status_code=401, headers=told) from None
        except NotFresh:
            raise HTTPException(status_code=503, headers={"Retry-After": "1"}) from None
        return AuthenticationResult(user=verified, auth=None)


def editor(connection: ASGIConnection[Any, VerifiedToken, Any, Any], _: BaseRouteHandler) -> None:
    """Lets those pass who may edit notes: ubr runs with UBR_PERMISSIONS=notes:edit, and a role holds it."""
    if not connection.user.permits("notes:edit"):
        raise PermissionDeniedException


@get("/notes")
async def read_notes(request: Request[VerifiedToken, None, Any]) -> dict[str, str]:
    return {"reader": str(request.user.user_id)}


@post("/notes", guards=[editor], status_code=200)
async def write_note(request: Request[VerifiedToken, None, Any]) -> dict[str, str]:
    return {"writer": str(request.user.user_id)}


app = Litestar([read_notes, write_note], middleware=[DefineMiddleware(SignedIn)], lifespan=[following])
