"""A service with FastAPI whose users are those of ubr. Run it with any ASGI server, one verifier for each process."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request

from ubr.verifier import Credentials, NotFresh, Refused, VerifiedToken, Verifier

verifier = Verifier(
    os.environ["USERS_URL"],
    Credentials(os.environ["USERS_EMAIL"], os.environ["USERS_PASSWORD"]),
    issuer=os.environ["USERS_ISSUER"],
)


@asynccontextmanager
async def following(_: FastAPI) -> AsyncIterator[None]:
    async with verifier:
        yield


async def signed_in(request: Request) -> VerifiedToken:
    """Whose request this is."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    try:
        return await verifier.verify(token)
    except Refused:
        raise HTTPException(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}) from None
    except NotFresh:
        raise HTTPException(503, headers={"Retry-After": "1"}) from None


async def editor(token: Annotated[VerifiedToken, Depends(signed_in)]) -> VerifiedToken:
    """The same, where they may edit notes: ubr runs with UBR_PERMISSIONS=notes:edit, and a role holds it."""
    if not token.permits("notes:edit"):
        raise HTTPException(403)
    return token


app = FastAPI(lifespan=following)


@app.get("/notes")
async def read_notes(token: Annotated[VerifiedToken, Depends(signed_in)]) -> dict[str, str]:
    return {"reader": str(token.user_id)}


@app.post("/notes")
async def write_note(token: Annotated[VerifiedToken, Depends(editor)]) -> dict[str, str]:
    return {"writer": str(token.user_id)}
