"""Notes of logged-in users, with accounts by ubr."""

from typing import Annotated

from fastapi import Depends, FastAPI

from ubr import Actor
from ubr.contrib.fastapi import FastApiAuth, Library

auth = FastApiAuth(Library(background=True))
app = FastAPI(lifespan=auth.lifespan)
auth.install(app)
auth.mount(app, "/users", routes=["auth"])


@app.get("/notes")
async def notes(actor: Annotated[Actor, Depends(auth.actor)]) -> dict[str, str]:
    return {"owner": str(actor.user_id)}
