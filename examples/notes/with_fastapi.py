"""The service with FastAPI."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Body, Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from examples.notes import store
from examples.notes.store import Note
from examples.notes.users import Invite, User
from ubr.contrib.fastapi import FastApiAuth

Who = TypeVar("Who", bound=User)


def create_app(auth: FastApiAuth[Who], invite: Invite, engine: AsyncEngine, *, mounted: bool = False) -> FastAPI:
    """The service. `mounted` also serves registration and login, below /users; that takes the library."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with auth.running():
            async with engine.begin() as connection:
                await connection.run_sync(store.create_tables)
            yield

    app = FastAPI(title="Notes", lifespan=lifespan)
    auth.install(app)
    if mounted:
        auth.mount(app, "/users", routes=["auth", "get_me"])

    @app.get("/notes")
    async def read_notes(user: Annotated[User, Depends(auth.actor)]) -> Sequence[Note]:
        async with engine.connect() as connection:
            return await store.readable_by(connection, user.user_id)

    @app.post("/notes", status_code=201)
    async def write_note(
        user: Annotated[User, Depends(auth.require("notes:edit"))], text: Annotated[str, Body(embed=True)]
    ) -> Note:
        async with engine.begin() as connection:
            return await store.write(connection, user.user_id, text)

    @app.post("/notes/{note_id}/readers", status_code=204)
    async def share_note(
        note_id: UUID,
        user: Annotated[User, Depends(auth.require("notes:edit"))],
        email: Annotated[str, Body(embed=True)],
    ) -> None:
        async with engine.begin() as connection:
            reader = await invite(connection, email)
            await store.share(connection, note_id, author=user.user_id, reader=reader)

    return app
