"""A service with Litestar whose users are those of ubr. Run it with any ASGI server, one verifier for each process."""

import os

from litestar import Litestar, get, post
from litestar.di import NamedDependency

from ubr.contrib.litestar import LitestarAuth, Tokens
from ubr.verifier import ServiceKey, VerifiedToken, Verifier

verifier = Verifier(
    os.environ["USERS_URL"],
    ServiceKey(os.environ["USERS_KEY"]),
    issuer=os.environ["USERS_ISSUER"],
)
auth = LitestarAuth(Tokens(verifier))


@get("/notes")
async def read_notes(actor: NamedDependency[VerifiedToken]) -> dict[str, str]:
    return {"reader": str(actor.user_id)}


# ubr runs with UBR_PERMISSIONS=notes:edit, and a role holds it.
@post("/notes", guards=[auth.require("notes:edit")], status_code=200)
async def write_note(actor: NamedDependency[VerifiedToken]) -> dict[str, str]:
    return {"writer": str(actor.user_id)}


app = Litestar([read_notes, write_note], plugins=[auth])
