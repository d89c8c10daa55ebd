"""The service with Litestar."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from litestar import Litestar, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncEngine

from examples.notes import store
from examples.notes.store import Note
from examples.notes.users import Invite, User
from ubr.contrib.litestar import LitestarAuth

Who = TypeVar("Who", bound=User)


@dataclass
class NewNote:
    text: str


@dataclass
class NewReader:
    email: str


def create_app(auth: LitestarAuth[Who], invite: Invite, engine: AsyncEngine, *, mounted: bool = False) -> Litestar:
    """The service. `mounted` also serves registration and login, below /users; that takes the library."""

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(store.create_tables)
        yield

    if mounted:
        auth.mount("/users", routes=["auth", "get_me"])

    @get("/notes")
    async def read_notes(actor: NamedDependency[Any]) -> Sequence[Note]:
        async with engine.connect() as connection:
            return await store.readable_by(connection, actor.user_id)

    @post("/notes", guards=[auth.require("notes:edit")])
    async def write_note(actor: NamedDependency[Any], data: JSONBody[NewNote]) -> Note:
        async with engine.begin() as connection:
            return await store.write(connection, actor.user_id, data.text)

    @post("/notes/{note_id:uuid}/readers", guards=[auth.require("notes:edit")], status_code=204)
    async def share_note(actor: NamedDependency[Any], note_id: FromPath[UUID], data: JSONBody[NewReader]) -> None:
        async with engine.begin() as connection:
            reader = await invite(connection, data.email)
            await store.share(connection, note_id, author=actor.user_id, reader=reader)

    return Litestar([read_notes, write_note, share_note], plugins=[auth], lifespan=[lifespan])
