"""The application as an ASGI callable."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import litestar
from litestar import Litestar, Request
from litestar.datastructures import State

from ubr.application.app import Application
from ubr.entrypoints.http.browser import Browsers
from ubr.entrypoints.http.edge import Edge, HttpOptions
from ubr.entrypoints.http.lifetime import STOPPING
from ubr.entrypoints.http.openapi.document import describing, selection_of
from ubr.entrypoints.http.problems.errors import ClientGone
from ubr.entrypoints.http.problems.response import problem
from ubr.entrypoints.http.routes import CONTROLLERS
from ubr.entrypoints.http.routes.metrics import METRICS
from ubr.entrypoints.http.routing import Controller, handlers

__all__ = ["HttpOptions", "create_app"]


def create_app(ubr: Application, *, options: HttpOptions | None = None, routes: Collection[str] | None = None) -> Edge:
    """The ASGI service over a ready application. `Edge.app` is the Litestar application inside.

    `routes` selects some of the routes: by tags or by names of operations, as in the OpenAPI document. Errors:
    `ValueError` for an unknown name.
    """
    options = options or HttpOptions()
    browsers = Browsers(options.public_url, options.trusted_origins)
    selection = selection_of(routes)
    controllers: tuple[type[Controller], ...] = CONTROLLERS
    state: dict[str, Any] = {"described": describing(selection), STOPPING: False, METRICS: options.metrics}
    if options.pages.scope != "off":
        from ubr.entrypoints.http.pages.controllers import SITE, Site, controllers_of  # noqa: PLC0415 - not if off

        controllers += controllers_of(options.pages)
        state[SITE] = Site(options.pages, return_url=options.return_url, secure=reached_by_tls(options.public_url))
    app = Litestar(
        handlers(controllers, ubr, browsers, body_seconds=options.body_seconds, selection=selection),
        exception_handlers={Exception: _not_found},
        state=State(state),
        openapi_config=None,
        logging_config=None,
    )
    return Edge(app, options)


def reached_by_tls(public_url: str | None) -> bool:
    """True if browsers reach the service by TLS. Without a public URL, it counts as such."""
    return public_url is None or public_url.startswith("https://")


def _not_found(request: Request[Any, Any, Any], error: Exception) -> litestar.Response[bytes]:
    """Litestar's handler for its own errors, before a route is found."""
    if isinstance(error, ClientGone):
        raise error
    response = problem(request.scope, error)
    return litestar.Response(
        response.body, status_code=response.status, headers=response.headers, media_type=response.media_type
    )
