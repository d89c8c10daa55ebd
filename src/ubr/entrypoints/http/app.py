"""The application as an ASGI callable."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any, NoReturn

from litestar import Litestar, Request
from litestar.datastructures import State

from ubr.application.app import Application
from ubr.domain.errors import UbrError
from ubr.entrypoints.http.browser import Browsers
from ubr.entrypoints.http.edge import Edge, ErrorPage, HttpOptions
from ubr.entrypoints.http.files import DESCRIBED
from ubr.entrypoints.http.openapi.document import describing, selection_of
from ubr.entrypoints.http.problems.errors import ClientGone
from ubr.entrypoints.http.problems.response import known_error
from ubr.entrypoints.http.request_facts import facts_of
from ubr.entrypoints.http.routes import CONTROLLERS
from ubr.entrypoints.http.routes.metrics import METRICS
from ubr.entrypoints.http.routing import Controller, Failing, handlers
from ubr.entrypoints.http.selection import is_selected
from ubr.entrypoints.http.stopping import STOPPING

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
    state: dict[str, Any] = {
        DESCRIBED: partial(describing, selection),
        STOPPING: False,
        METRICS: options.metrics,
    }
    error_page: Failing | None = None
    refused_page: ErrorPage | None = None
    if options.pages.scope != "off":
        from ubr.entrypoints.http.pages.controllers import (  # noqa: PLC0415 - not if off
            SITE,
            Site,
            answer_error,
            controllers_of,
            refused_page_of,
        )

        pages = controllers_of(options.pages)
        controllers += pages
        state[SITE] = Site(options.pages, return_url=options.return_url, secure=reached_by_tls(options.public_url))
        if any(is_selected(route.operation, selection) for page in pages for _, route in page.routes()):
            error_page, refused_page = answer_error, refused_page_of(ubr, browsers)
    app = Litestar(
        handlers(
            controllers,
            ubr,
            browsers,
            body_seconds=options.body_seconds,
            selection=selection,
            error_page=error_page,
        ),
        exception_handlers={Exception: _raise_known},
        state=State(state),
        openapi_config=None,
        logging_config=None,
    )
    return Edge(app, options, refused_page)


def reached_by_tls(public_url: str | None) -> bool:
    """True if browsers reach the service by TLS. Without a public URL, it counts as such."""
    return public_url is None or public_url.startswith("https://")


def _raise_known(request: Request[Any, Any, Any], error: Exception) -> NoReturn:
    """Litestar's handler for its own errors, before a route is found. It raises them for the edge, which answers."""
    if isinstance(error, ClientGone | UbrError):
        raise error
    raise known_error(error, facts_of(request.scope)) from error
