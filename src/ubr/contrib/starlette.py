"""The users of a program with Starlette.

    auth = StarletteAuth(Library())
    app = Starlette(routes=[Route("/notes", read_notes)], lifespan=auth.lifespan)
    auth.install(app)

    async def read_notes(request: Request) -> Response:
        actor = await auth.actor(request)
        …

`docs/frameworks.md` describes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Generic, TypeVar, cast

from ubr.contrib.asgi import Mounted, Origins, fields_in
from ubr.contrib.auth import Auth, Library, Source, TokenGate, Tokens, Who
from ubr.contrib.problems import answer
from ubr.domain.errors import UbrError

try:
    from starlette.applications import Starlette
    from starlette.requests import HTTPConnection
    from starlette.responses import Response
    from starlette.routing import Mount
    from starlette.status import WS_1008_POLICY_VIOLATION
    from starlette.websockets import WebSocket
except ImportError as error:
    raise ImportError("ubr.contrib.starlette needs Starlette: install the package starlette") from error

__all__ = ["Auth", "Dependency", "Library", "Source", "StarletteAuth", "TokenGate", "Tokens"]

Found = TypeVar("Found")


class Dependency(Generic[Found]):
    """Called with a request, it returns its user. Errors: those of `Auth.identify` and `Auth.check`."""

    def __init__(self, look: Callable[[HTTPConnection], Awaitable[Found]], *permissions: str) -> None:
        self._look: Final = look
        self.permissions: Final = permissions
        """The permissions that the user holds."""

    async def __call__(self, request: HTTPConnection) -> Found:
        return await self._look(request)


class StarletteAuth(Auth[Who]):
    """The users of a program with Starlette."""

    def __init__(self, source: Source[Who]) -> None:
        super().__init__(source)
        self.actor: Final = self._dependency(self._identified)
        """The user of a request, who is logged in."""
        self.optional_actor: Final = self._optional(self._identified_if_given)
        """The user of a request, or None for a request without a token. An invalid token is an error here too."""

    def require(self, *permissions: str) -> Dependency[Who]:
        """The user of a request, who holds all of these permissions."""
        self._requires(permissions)

        async def permitted(request: HTTPConnection) -> Who:
            who = await self._identified(request)
            await self.check(who, *permissions)
            return who

        return self._dependency(permitted, *permissions)

    def lifespan(self, _: Any) -> AbstractAsyncContextManager[None]:
        """The source is open while the application runs: `Starlette(lifespan=auth.lifespan)`."""
        return self.running()

    def install(self, app: Starlette) -> None:
        """Answer errors of the catalogue as ubr does, and let its use cases know the client of a request."""
        app.add_middleware(Origins, auth=self)
        app.add_exception_handler(UbrError, cast("Any", _problem))  # Starlette has a type for each kind of connection

    def mount(self, app: Starlette, path: str, *, routes: Collection[str] | None = None) -> None:
        """Serve the HTTP interface of ubr below this path, or some of its routes.

        `routes` has tags (`auth`, `sessions`, `users`, …) and names of operations (`get_me`, …), as in the OpenAPI
        document. Errors: `ValueError` for a route that does not exist.
        """
        app.router.routes.append(Mount(path, app=Mounted(self, routes)))

    def _dependency(self, look: Callable[[HTTPConnection], Awaitable[Who]], *permissions: str) -> Dependency[Who]:
        return Dependency(look, *permissions)

    def _optional(self, look: Callable[[HTTPConnection], Awaitable[Who | None]]) -> Dependency[Who | None]:
        return Dependency(look)

    async def _identified(self, request: HTTPConnection) -> Who:
        return await self.identify(fields_in(request.scope))

    async def _identified_if_given(self, request: HTTPConnection) -> Who | None:
        return await self.identify_if_given(fields_in(request.scope))


async def _problem(connection: HTTPConnection, error: Exception) -> Response | None:
    """The answer to a request. A WebSocket is closed, with the code of the problem as the reason."""
    if not isinstance(error, UbrError):
        raise error
    if isinstance(connection, WebSocket):
        await connection.close(WS_1008_POLICY_VIOLATION, error.code)
        return None
    made = answer(error, connection.url.path)
    return Response(made.body, made.status, made.headers, made.media_type)
