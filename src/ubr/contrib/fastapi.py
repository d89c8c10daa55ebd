"""The users of a program with FastAPI.

    auth = FastApiAuth(Library())
    app = FastAPI(lifespan=auth.lifespan)
    auth.install(app)

    @app.get("/notes")
    async def read_notes(actor: Annotated[Actor, Depends(auth.actor)]) -> …

`docs/frameworks.md` describes it.
"""

# Without `from __future__ import annotations`: FastAPI reads the annotations of a dependency that is an object.

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from ubr.contrib.auth import Auth, Library, Source, TokenGate, Tokens, Who
from ubr.contrib.starlette import Dependency, Found, StarletteAuth

try:
    from fastapi import FastAPI
    from fastapi.openapi.models import HTTPBearer
    from fastapi.security.base import SecurityBase
    from starlette.applications import Starlette
    from starlette.requests import HTTPConnection
except ImportError as error:
    raise ImportError("ubr.contrib.fastapi needs FastAPI: install the package fastapi") from error

from ubr.contrib.openapi import Document, secure, with_mounted

__all__ = ["Auth", "Dependency", "FastApiAuth", "Library", "Source", "TokenGate", "Tokens"]

_ACTOR: Final = "ubr"
_OPTIONAL: Final = "ubr?"


class BearerDependency(Dependency[Found], SecurityBase):
    """A dependency that the OpenAPI document shows. FastAPI calls it for each request."""

    def __init__(
        self, look: Callable[[HTTPConnection], Awaitable[Found]], *permissions: str, optional: bool = False
    ) -> None:
        super().__init__(look, *permissions)
        self.model = HTTPBearer(bearerFormat="JWT")
        # FastAPI keeps nothing else of it in the document, from where `_described` takes it.
        self.scheme_name = _OPTIONAL if optional else ":".join([_ACTOR, ",".join(permissions)])

    async def __call__(self, request: HTTPConnection) -> Found:
        return await self._look(request)


class FastApiAuth(StarletteAuth[Who]):
    """The users of a program with FastAPI. `actor`, `optional_actor` and `require(…)` are dependencies."""

    def __init__(self, source: Source[Who]) -> None:
        super().__init__(source)
        self._mounts: list[tuple[str, Collection[str] | None]] = []

    def install(self, app: Starlette) -> None:
        """As with Starlette. The OpenAPI document of a `FastAPI` also gets the security scheme and the problems."""
        super().install(app)
        if isinstance(app, FastAPI):
            plain = app.openapi

            def openapi() -> dict[str, Any]:
                if app.openapi_schema is None:
                    app.openapi_schema = self._described(plain())
                return app.openapi_schema

            app.openapi = openapi  # type: ignore[method-assign] # the way that FastAPI documents

    def mount(self, app: Starlette, path: str, *, routes: Collection[str] | None = None) -> None:
        """As with Starlette. The OpenAPI document of the application also gets the mounted routes."""
        super().mount(app, path, routes=routes)
        self._mounts.append((path, routes))

    def _described(self, document: Document) -> Document:
        schemes = document.get("components", {}).get("securitySchemes", {})
        ours = {name for name in schemes if name.partition(":")[0] in {_ACTOR, _OPTIONAL}}
        for name in ours:
            del schemes[name]
        for operation in _operations(document):
            found = [name for entry in operation.get("security", ()) for name in entry if name in ours]
            if found:
                others = [entry for entry in operation["security"] if not ours & entry.keys()]
                permissions = sorted({each for name in found for each in name.partition(":")[2].split(",") if each})
                secure(document, operation, permissions, optional=found == [_OPTIONAL], others=others)
        for path, routes in self._mounts:
            with_mounted(document, path, routes, self.user_fields)
        return document

    def _dependency(self, look: Callable[[HTTPConnection], Awaitable[Who]], *permissions: str) -> Dependency[Who]:
        return BearerDependency(look, *permissions)

    def _optional(self, look: Callable[[HTTPConnection], Awaitable[Who | None]]) -> Dependency[Who | None]:
        return BearerDependency(look, optional=True)


def _operations(document: Document) -> list[Document]:
    return [
        operation
        for item in document.get("paths", {}).values()
        for method, operation in item.items()
        if method in {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
    ]
