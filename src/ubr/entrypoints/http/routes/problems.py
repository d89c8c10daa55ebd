"""The problems, as pages for people."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache
from typing import Final

from ubr.domain.errors import NotFound
from ubr.entrypoints.http.call import Call, operation
from ubr.entrypoints.http.files import Described, File, described_by, serve
from ubr.entrypoints.http.problems.pages import html, index_html, pages, policy
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import Controller, get

_BRIEFLY: Final = "public, max-age=300"
_HTML: Final = "text/html"


class Problems(Controller):
    path = "/problems"

    @get(
        "/",
        operation(
            None,
            "service",
            name="list_problems",
            summary="List the problems",
            answer=str,
            media_type=_HTML,
            public=True,
            tagged=True,
            cache_control=_BRIEFLY,
        ),
    )
    async def list_all(self, call: Call) -> Response:
        return await _page(call, None)

    @get(
        "/{slug}",
        operation(
            None,
            "service",
            name="get_problem",
            summary="Read the page of one problem",
            answer=str,
            media_type=_HTML,
            public=True,
            tagged=True,
            cache_control=_BRIEFLY,
        ),
    )
    async def read(self, call: Call) -> Response:
        return await _page(call, call.path_params["slug"])


async def _page(call: Call, slug: str | None) -> Response:
    # Only the first request waits until the pages are made.
    made = await asyncio.to_thread(_made, described_by(call))
    if slug not in made:
        raise NotFound("Problem not found")
    response = serve(call, made[slug], cache_control=_BRIEFLY)
    response.headers["content-security-policy"] = policy()
    return response


@cache
def _made(described: Described) -> Mapping[str | None, File]:
    """Every page by its slug; the list under None."""
    found = pages(described())
    made: dict[str | None, File] = {slug: File.of(html(page).encode(), _HTML) for slug, page in found.items()}
    made[None] = File.of(index_html(found).encode(), _HTML)
    return made
