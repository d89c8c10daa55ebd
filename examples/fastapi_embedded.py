"""A service with FastAPI that has its users in this process: registration, login, and notes for those who may.

UBR_PERMISSIONS=notes:edit uvicorn examples.fastapi_embedded:app
"""

from typing import Annotated

from fastapi import Depends, FastAPI

from ubr import Actor
from ubr.contrib.fastapi import FastApiAuth, Library

auth = FastApiAuth(Library(background=True))
Reader = Annotated[Actor, Depends(auth.actor)]
Editor = Annotated[Actor, Depends(auth.require("notes:edit"))]

app = FastAPI(lifespan=auth.lifespan)
auth.install(app)
auth.mount(app, "/users", routes=["auth", "get_me"])  # POST /users/api/auth/register, …/login, …


@app.get("/notes")
async def read_notes(actor: Reader) -> dict[str, str]:
    return {"reader": str(actor.user_id)}


@app.post("/notes")
async def write_note(actor: Editor) -> dict[str, str]:
    return {"writer": str(actor.user_id)}
