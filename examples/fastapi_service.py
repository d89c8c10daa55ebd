"""A service with FastAPI whose users are those of ubr. Run it with any ASGI server, one verifier for each process."""

import os
from typing import Annotated

from fastapi import Depends, FastAPI

from ubr.contrib.fastapi import FastApiAuth, Tokens
from ubr.verifier import ServiceKey, VerifiedToken, Verifier

verifier = Verifier(
    os.environ["USERS_URL"],
    ServiceKey(os.environ["USERS_KEY"]),
    issuer=os.environ["USERS_ISSUER"],
)
auth = FastApiAuth(Tokens(verifier))
Reader = Annotated[VerifiedToken, Depends(auth.actor)]
# ubr runs with UBR_PERMISSIONS=notes:edit, and a role holds it.
Editor = Annotated[VerifiedToken, Depends(auth.require("notes:edit"))]

app = FastAPI(lifespan=auth.lifespan)
auth.install(app)


@app.get("/notes")
async def read_notes(token: Reader) -> dict[str, str]:
    return {"reader": str(token.user_id)}


@app.post("/notes")
async def write_note(token: Editor) -> dict[str, str]:
    return {"writer": str(token.user_id)}
