"""Errors that no form shows: a page of its own for people, and a problem for programs.

A path of the interface has problems alone. A browser that opens any other address gets the page, also if the path does
not exist.
"""

from __future__ import annotations

from typing import cast

from litestar.types import HTTPReceiveMessage, HTTPScope

from ubr.application.app import Application
from ubr.domain.errors import UbrError
from ubr.entrypoints.http.browser import Browsers
from ubr.entrypoints.http.call import Call
from ubr.entrypoints.http.edge import ErrorPage
from ubr.entrypoints.http.pages.page import HERE, page_operation, show, wants_page
from ubr.entrypoints.http.problems.response import problem
from ubr.entrypoints.http.response import Response


async def answer_error(call: Call, error: Exception) -> Response:
    """The answer to a request that met this error."""
    if not (wants_page(call) and _opens(call)):
        return problem(call.scope, error)
    try:
        return await show(call, "problem.html", error=error, place=HERE)
    except Exception as broken:  # noqa: BLE001 - the page of the error failed, or its template is wrong
        return problem(call.scope, broken)


def refused_page_of(ubr: Application, browsers: Browsers) -> ErrorPage:
    """The answers to requests that get to no route."""
    operation = page_operation("get_error_page")

    async def refused(scope: HTTPScope, error: UbrError) -> Response:
        return await answer_error(Call(scope, _unread, operation, ubr, browsers), error)

    return refused


async def _unread() -> HTTPReceiveMessage:
    """The body of a refused request, which no page reads."""
    return cast("HTTPReceiveMessage", {"type": "http.request", "body": b"", "more_body": False})


def _opens(call: Call) -> bool:
    """True unless the browser says that a script or a part of a page asks (Fetch Metadata, 2.3)."""
    modes = call.fields.get(b"sec-fetch-mode", ())
    return not modes or list(modes) == [b"navigate"]
