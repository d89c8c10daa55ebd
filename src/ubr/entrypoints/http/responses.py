"""Turns results into responses. Each result is encoded once."""

from __future__ import annotations

from http import HTTPStatus
from posixpath import relpath
from typing import Any, Final
from uuid import UUID

import msgspec

from ubr.application.kernel.representations import Page, Revised
from ubr.entrypoints.http import conditional, query
from ubr.entrypoints.http.call import Call
from ubr.entrypoints.http.response import Response

_encode: Final = msgspec.json.Encoder().encode


def ok(result: Any) -> Response:
    """A result without further headers."""
    return Response(_encode(result))


def page(call: Call, result: Page[Any]) -> Response:
    """A page of a list, with a link to the next page."""
    response = ok(result)
    if result.next_cursor is not None:
        more = query.with_cursor(call.scope["query_string"], result.next_cursor)
        # Relative, because a proxy may serve this path under another one.
        response.headers["link"] = f'<?{more}>; rel="next"'
    return response


def revised(call: Call, result: Revised) -> Response:
    """A resource with its entity tag. A GET gets only the tag if the caller already has this revision."""
    if call.method == "GET" and not conditional.none_match(call.fields, result.revision):
        return unchanged(result.revision)
    response = ok(result)
    response.headers["etag"] = f'"{result.revision}"'
    return response


def created(call: Call, result: Revised, at: str, id: UUID) -> Response:
    """A new resource, with its location relative to the path of the request (RFC 9110, 10.2.2)."""
    response = revised(call, result)
    here = call.scope["path"].rpartition("/")[0]
    response.headers["location"] = f"{relpath(at, here)}/{id}"
    return response


def accepted() -> Response:
    """Confirms the request, and reveals nothing more."""
    return Response(b"", status=HTTPStatus.ACCEPTED)


def unchanged(revision: str) -> Response:
    return Response(b"", status=HTTPStatus.NOT_MODIFIED, headers={"etag": f'"{revision}"'})
