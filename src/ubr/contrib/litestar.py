"""The users of a program with Litestar.

    auth = LitestarAuth(Library())

    @get("/notes", guards=[auth.require("notes:read")])
    async def read_notes(actor: NamedDependency[Actor]) -> …

    app = Litestar([read_notes], plugins=[auth])

`docs/frameworks.md` describes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, cast

from ubr.contrib import asgi as parts
from ubr.contrib.auth import Auth, Library, Source, TokenGate, Tokens, Who
from ubr.contrib.openapi import Document, secure, with_mounted
from ubr.contrib.problems import answer
from ubr.domain.errors import NotFound, UbrError

try:
    from litestar import Litestar, Request, Response, asgi
    from litestar.config.app import AppConfig
    from litestar.connection import ASGIConnection
    from litestar.di import Provide
    from litestar.handlers import ASGIRouteHandler, BaseRouteHandler, HTTPRouteHandler
    from litestar.middleware import DefineMiddleware
    from litestar.openapi.spec import OpenAPI, Tag
    from litestar.plugins import InitPlugin
    from litestar.types import Receive, Scope, Send
except ImportError as error:
    raise ImportError("ubr.contrib.litestar needs Litestar: install the package litestar") from error

__all__ = ["Auth", "Library", "LitestarAuth", "Requirement", "Source", "TokenGate", "Tokens"]

_ACTOR: Final = "actor"
_OPTIONAL: Final = "optional_actor"
_KINDS: Final = {
    "schemas": "schemas",
    "headers": "headers",
    "examples": "examples",
    "securitySchemes": "security_schemes",
}
"""The kinds of components in the document of ubr, and their fields in Litestar's."""


class Requirement:
    """A guard: it lets pass those who hold all of these permissions. Errors: those of `Auth.check`."""

    def __init__(self, auth: Auth[Any], permissions: tuple[str, ...]) -> None:
        self._auth = auth
        self.permissions: Final = permissions

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        who = await self._auth.identify(parts.fields_in(cast("parts.Scope", connection.scope)))
        await self._auth.check(who, *self.permissions)


class LitestarAuth(Auth[Who], InitPlugin):
    """The users of a program with Litestar, as a plugin: `Litestar(…, plugins=[auth])`.

    A handler with the parameter `actor` gets the user of its request, one with `optional_actor` also None for a
    request without a token.
    """

    def __init__(self, source: Source[Who]) -> None:
        super().__init__(source)
        self._mounts: list[tuple[str, Collection[str] | None, parts.Mounted]] = []

    def require(self, *permissions: str) -> Requirement:
        """A guard for handlers, controllers and routers."""
        self._requires(permissions)
        return Requirement(self, permissions)

    def mount(self, path: str, *, routes: Collection[str] | None = None) -> None:
        """Serve the HTTP interface of ubr below this path, or some of its routes. Call it before `Litestar(…)`.

        `routes` has tags (`auth`, `sessions`, `users`, …) and names of operations (`get_me`, …), as in the OpenAPI
        document. Errors: `ValueError` for a route that does not exist.
        """
        self._mounts.append((path, routes, parts.Mounted(self, routes)))

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Called by Litestar."""
        app_config.lifespan.append(self._lifespan)
        app_config.middleware.insert(0, DefineMiddleware(cast("Any", parts.Origins), auth=self))
        app_config.exception_handlers = {UbrError: _problem, **app_config.exception_handlers}
        app_config.dependencies = {
            _ACTOR: self._provider(self._identified),
            _OPTIONAL: self._provider(self._identified_if_given),
            **app_config.dependencies,
        }
        for path, _, mounted in self._mounts:
            app_config.route_handlers.append(_mounted(path, mounted))
        if app_config.openapi_config is not None:
            app_config.on_startup.append(self._describe)
        return app_config

    def _lifespan(self, _: Litestar) -> AbstractAsyncContextManager[None]:
        return self.running()

    async def _identified(self, scope: parts.Scope) -> Who:
        return await self.identify(parts.fields_in(scope))

    async def _identified_if_given(self, scope: parts.Scope) -> Who | None:
        return await self.identify_if_given(parts.fields_in(scope))

    def _provider(self, look: Callable[[parts.Scope], Awaitable[Any]]) -> Provide:
        async def provided(scope: Scope) -> Any:
            return await look(cast("parts.Scope", scope))

        return Provide(provided)

    def _describe(self, app: Litestar) -> None:
        """Complete the OpenAPI document of the application, which Litestar makes once."""
        document = app.openapi_schema
        components: Any = document.components
        # Litestar has a type for each part, and passes on a part that is a plain value.
        tags = document.to_schema().get("tags", [])
        ours: Document = {"components": {"schemas": dict(components.schemas or {})}, "paths": {}, "tags": list(tags)}
        for path, routes, _ in self._mounts:
            with_mounted(ours, path, routes, self.user_fields)
        for route in app.routes:
            for handler in getattr(route, "route_handlers", ()):
                self._describe_handler(document, ours, route.path_format, handler)
        document.paths = {**(document.paths or {}), **ours["paths"]}
        document.tags = [*(document.tags or []), *(Tag(**tag) for tag in ours["tags"][len(tags) :])] or None
        for kind, attribute in _KINDS.items():
            if found := ours["components"].get(kind):
                setattr(components, attribute, {**(getattr(components, attribute) or {}), **found})

    def _describe_handler(self, document: OpenAPI, ours: Document, path: str, handler: Any) -> None:
        item = (document.paths or {}).get(path)
        if not isinstance(handler, HTTPRouteHandler) or item is None:
            return
        names = handler.parsed_fn_signature.parameters
        guards = [guard for guard in handler.resolve_guards() if isinstance(guard, Requirement)]
        optional = _OPTIONAL in names and _ACTOR not in names and not guards
        if not (guards or _ACTOR in names or optional):
            return
        permissions = sorted({permission for guard in guards for permission in guard.permissions})
        for method in handler.http_methods:
            operation: Any = getattr(item, method.lower())
            if operation is not None:
                described: Document = {}
                secure(ours, described, permissions, optional=optional, others=operation.security or ())
                operation.security = described["security"]
                operation.responses = {**described["responses"], **(operation.responses or {})}


def _mounted(path: str, app: parts.Mounted) -> ASGIRouteHandler:
    async def users(scope: Scope, receive: Receive, send: Send) -> None:
        below = scope["path"]
        if not below.startswith("/"):
            # Litestar takes `/usersapi` for a path below `/users`, and rules for paths in front of it do not.
            if path.strip("/"):
                raise NotFound("This path does not exist")
            scope["path"] = f"/{below}"
        await app(cast("parts.Scope", scope), cast("parts.Receive", receive), cast("parts.Send", send))

    return asgi(path, is_mount=True, copy_scope=True)(users)


def _problem(request: Request[Any, Any, Any], error: UbrError) -> Response[bytes]:
    made = answer(error, request.url.path)
    return Response(made.body, status_code=made.status, headers=made.headers, media_type=made.media_type)
