"""The application as an ASGI callable."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.di import Provide

from ubr.application.app import Application
from ubr.entrypoints.http.call import Call
from ubr.entrypoints.http.edge import Edge, HttpOptions
from ubr.entrypoints.http.lifetime import STOPPING
from ubr.entrypoints.http.openapi.document import described
from ubr.entrypoints.http.openapi.operations import operations
from ubr.entrypoints.http.problems.response import answer
from ubr.entrypoints.http.routes import CONTROLLERS
from ubr.entrypoints.http.routes.pages import RETURN_URL

__all__ = ["HttpOptions", "create_app"]


def create_app(ubr: Application, *, options: HttpOptions | None = None) -> Edge:
    """The ASGI service over a ready application. `Edge.app` is the Litestar application inside."""
    options = options or HttpOptions()
    methods: dict[str, str] = {}
    for path, method, _ in operations(CONTROLLERS):
        methods[path] = f"{method}, {methods.get(path, 'OPTIONS')}"

    async def admit(request: Request[Any, Any, Any]) -> Response[None] | None:
        if isinstance(request, Call) and "operation" in request.route_handler.opt:
            await request.admit(ubr.authenticate, within=options.body_seconds)
            return None
        # Only OPTIONS remains. Litestar's own answer to it omits methods.
        return Response(
            None, status_code=HTTPStatus.NO_CONTENT, headers={"allow": methods[request.scope["path_template"]]}
        )

    litestar = Litestar(
        CONTROLLERS,
        dependencies={"ubr": Provide(lambda: ubr, sync_to_thread=False)},
        request_class=Call,
        before_request=admit,
        exception_handlers={Exception: answer},
        state=State({"described": described, STOPPING: False, RETURN_URL: options.return_url}),
        openapi_config=None,
        logging_config=None,
        # `Call.admit` limits bodies itself, before it authenticates the caller.
        request_max_body_size=None,
    )
    return Edge(litestar, options)
