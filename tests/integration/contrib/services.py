"""The same small service in each framework: notes that its users read and write."""

# Without `from __future__ import annotations`: the dependencies of FastAPI stand in annotations, and are local here.

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI
from litestar import Litestar, get, post
from litestar.di import NamedDependency
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from ubr.contrib.auth import Source
from ubr.contrib.fastapi import FastApiAuth
from ubr.contrib.litestar import LitestarAuth
from ubr.contrib.starlette import StarletteAuth

MOUNTED: Final = ("auth", "get_me")


def with_starlette(source: Source[Any], *, mounted: bool) -> tuple[Any, Any]:
    auth = StarletteAuth(source)
    editor = auth.require("notes:edit")

    async def read(request: Request) -> Response:
        return JSONResponse({"reader": str((await auth.actor(request)).user_id)})

    async def write(request: Request) -> Response:
        return JSONResponse({"writer": str((await editor(request)).user_id)})

    async def public(request: Request) -> Response:
        who = await auth.optional_actor(request)
        return JSONResponse({"reader": None if who is None else str(who.user_id)})

    async def follow(websocket: WebSocket) -> None:
        await auth.actor(websocket)
        await websocket.accept()
        await websocket.close()

    routes = [
        WebSocketRoute("/notes", follow),
        Route("/notes", read),
        Route("/notes", write, methods=["POST"]),
        Route("/public", public),
    ]
    app = Starlette(routes=routes, lifespan=auth.lifespan)
    auth.install(app)
    if mounted:
        auth.mount(app, "/users", routes=MOUNTED)
    return app, auth


def with_fastapi(source: Source[Any], *, mounted: bool) -> tuple[Any, Any]:
    auth = FastApiAuth(source)
    app = FastAPI(lifespan=auth.lifespan)
    auth.install(app)
    if mounted:
        auth.mount(app, "/users", routes=MOUNTED)

    @app.get("/notes")
    async def read(actor: Annotated[Any, Depends(auth.actor)]) -> dict[str, str]:
        return {"reader": str(actor.user_id)}

    @app.post("/notes")
    def write(actor: Annotated[Any, Depends(auth.require("notes:edit"))]) -> dict[str, str]:
        return {"writer": str(actor.user_id)}

    @app.get("/public")
    async def public(actor: Annotated[Any, Depends(auth.optional_actor)]) -> dict[str, str | None]:
        return {"reader": None if actor is None else str(actor.user_id)}

    return app, auth


def with_litestar(source: Source[Any], *, mounted: bool) -> tuple[Any, Any]:
    auth = LitestarAuth(source)
    if mounted:
        auth.mount("/users", routes=MOUNTED)

    @get("/notes")
    async def read(actor: NamedDependency[Any]) -> dict[str, str]:
        return {"reader": str(actor.user_id)}

    @post("/notes", guards=[auth.require("notes:edit")], status_code=200, sync_to_thread=False)
    def write(actor: NamedDependency[Any]) -> dict[str, str]:
        return {"writer": str(actor.user_id)}

    @get("/public")
    async def public(optional_actor: NamedDependency[Any]) -> dict[str, str | None]:
        return {"reader": None if optional_actor is None else str(optional_actor.user_id)}

    return Litestar([read, write, public], plugins=[auth]), auth


FRAMEWORKS: Final[dict[str, Callable[..., tuple[Any, Any]]]] = {
    "starlette": with_starlette,
    "fastapi": with_fastapi,
    "litestar": with_litestar,
}


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[None]:
    """The application, started and then stopped, as a server does."""
    async with app.lifespan() if isinstance(app, Litestar) else app.router.lifespan_context(app):
        yield
