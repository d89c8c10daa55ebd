"""Routes: what the controllers declare, and how a request gets to its operation.

Litestar finds the path. From there one call of ours does everything: it admits the request, calls the controller, and
sends the response.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, Final, TypeAlias, cast

import msgspec
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive, Scope, Send

from ubr.application.app import Application
from ubr.domain.errors import InvalidToken
from ubr.entrypoints.http.browser import Browsers
from ubr.entrypoints.http.call import Call, Operation
from ubr.entrypoints.http.problems.errors import ClientGone, MethodNotAllowed
from ubr.entrypoints.http.problems.response import problem
from ubr.entrypoints.http.request_facts import facts_of
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.selection import Selection, is_selected

Handle: TypeAlias = Callable[[Any, Call], Awaitable[Response | None]]
Answering: TypeAlias = Callable[[Call], Awaitable[Response | None]]
Failing: TypeAlias = Callable[[Call, Exception], Awaitable[Response]]

_FOR_PROGRAMS: Final = ("/api", "/.well-known", "/health", "/metrics")
"""No error below these is a page: some programs accept HTML before everything else."""


class Route(msgspec.Struct, frozen=True):
    """A method of a path. `handle` is a method of its controller."""

    method: str
    path: str
    operation: Operation
    handle: Handle


def _route(method: str, path: str, operation: Operation) -> Callable[[Handle], Route]:
    return lambda handle: Route(method, path, operation, handle)


get: Final = partial(_route, "GET")
post: Final = partial(_route, "POST")
put: Final = partial(_route, "PUT")
patch: Final = partial(_route, "PATCH")
delete: Final = partial(_route, "DELETE")


class Controller:
    """The routes of one theme, below one path."""

    path: ClassVar[str]

    async def failed(self, call: Call, error: Exception) -> Response:
        """The answer to a request that met an error."""
        return problem(call.scope, error)

    @classmethod
    def routes(cls) -> Iterator[tuple[str, Route]]:
        """The routes with their whole paths."""
        for route in vars(cls).values():
            if isinstance(route, Route):
                yield f"{cls.path.rstrip('/')}/{route.path.lstrip('/')}".rstrip("/") or "/", route


def is_for_people(path: str) -> bool:
    """True if people may open an address with this path."""
    return not any(path == each or path.startswith(f"{each}/") for each in _FOR_PROGRAMS)


def handlers(
    controllers: Iterable[type[Controller]],
    ubr: Application,
    browsers: Browsers,
    *,
    body_seconds: float,
    selection: Selection = None,
    error_page: Failing | None = None,
) -> list[ASGIRouteHandler]:
    """A handler for each path with selected operations. A later controller replaces an operation of an earlier one.

    `error_page` answers the errors at addresses for people; without it, controllers do.
    """
    paths: dict[str, dict[str, _Method]] = {}
    for controller in controllers:
        owner = controller()
        for path, route in controller.routes():
            if is_selected(route.operation, selection):
                failed = owner.failed if error_page is None or not is_for_people(path) else error_page
                method = _Method(route.operation, partial(route.handle, owner), failed)
                paths.setdefault(path, {})[route.method] = method
    return [
        ASGIRouteHandler(_litestar(path), copy_scope=False)(_Path(path, methods, ubr, browsers, body_seconds))
        for path, methods in paths.items()
    ]


class _Method(msgspec.Struct, frozen=True):
    operation: Operation
    handle: Answering
    failed: Failing


def _litestar(path: str) -> str:
    """The path in the notation of Litestar, which wants the type of every variable part."""
    return path.replace("}", ":str}")


class _Path:
    """The operations of one path, by their methods."""

    def __init__(
        self,
        path: str,
        methods: Mapping[str, _Method],
        ubr: Application,
        browsers: Browsers,
        body_seconds: float,
    ) -> None:
        self._path = path
        self._methods = methods
        self._allow = ", ".join([*methods, "OPTIONS"])
        self._ubr = ubr
        self._browsers = browsers
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = cast("HTTPScope", scope)  # the edge passes on no other kind
        facts = facts_of(scope)
        facts.route = self._path
        found = self._methods.get(facts.method)
        if found is None:
            await (await self._other(request, receive, facts.method)).send(send)
            return
        operation = found.operation
        call = Call(request, receive, operation, self._ubr, self._browsers)
        try:
            await call.admit(within=self._body_seconds)
            response = await found.handle(call)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - every error is answered
            response = await found.failed(call, error)
            if isinstance(error, InvalidToken):
                call.take_cookie()
        response = response or Response()
        if call.answer_headers is not None:
            response.headers |= call.answer_headers
        await response.send(send, status=operation.status)

    async def _other(self, request: HTTPScope, receive: Receive, method: str) -> Response:
        if method == "OPTIONS":
            response = Response(status=HTTPStatus.NO_CONTENT)
        else:
            known = next(iter(self._methods.values()))
            call = Call(request, receive, known.operation, self._ubr, self._browsers)
            response = await known.failed(call, MethodNotAllowed())
        response.headers["allow"] = self._allow
        return response
