"""The parts of an ASGI application that do not depend on its framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ubr.application.kernel.origin import calling_from
from ubr.contrib.auth import Auth
from ubr.entrypoints.http.fields import Fields, fields_of
from ubr.entrypoints.http.origin import request_origin

if TYPE_CHECKING:
    from ubr.application.app import Application
    from ubr.entrypoints.http.edge import Edge

# The mounted service is loaded by programs that mount it.
# ruff: noqa: PLC0415

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_NAME: Final = b"x-request-id"


def fields_in(scope: Scope) -> Fields:
    """The header fields of a request."""
    return fields_of(scope["headers"])


class Origins:
    """Middleware: the use cases that a request calls know its client, for rate limits and the audit log.

    Each answer gets the id of its request, as those of ubr do. A WebSocket has a client too.
    """

    def __init__(self, app: App, auth: Auth[Any]) -> None:
        self._app = app
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        origin = request_origin(client[0] if client else None, fields_in(scope), self._auth.trusted_proxies)
        request_id = (origin.request_id or "").encode()

        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if all(name.lower() != _NAME for name, _ in headers):
                    message = {**message, "headers": [*headers, (_NAME, request_id)]}
            await send(message)

        with calling_from(origin):
            await self._app(scope, receive, with_id)


class Mounted:
    """The HTTP interface of ubr, in an application of another framework. It is ready when the source is open."""

    def __init__(self, auth: Auth[Any], routes: Collection[str] | None) -> None:
        """Errors: `ValueError` for a route that does not exist."""
        from ubr.entrypoints.http.openapi.document import selection_of

        selection_of(routes)
        self._auth = auth
        self._routes = routes
        self._made: tuple[Application, Edge] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Some frameworks leave the path of the mount in front, and some add a slash.
        path, root = scope["path"], scope.get("root_path", "")
        if root and path.startswith(f"{root}/"):
            path = path.removeprefix(root)
        below = {**scope, "path": path.rstrip("/") or "/", "root_path": ""}
        await self._edge()(below, receive, send)

    def _edge(self) -> Edge:
        from msgspec.structs import replace

        from ubr.http import HttpOptions, create_app

        ubr = self._auth.ubr
        if self._made is None or self._made[0] is not ubr:
            settings = self._auth.settings
            options = HttpOptions()
            if settings is not None:
                # The host program decides which origins may read its answers.
                options = replace(HttpOptions.of(settings), cors_origins=())
            self._made = ubr, create_app(ubr, options=options, routes=self._routes)
        return self._made[1]
