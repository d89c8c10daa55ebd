"""The files that pages load."""

from __future__ import annotations

from ubr.domain.errors import NotFound
from ubr.entrypoints.http.call import PAGES, Call, operation
from ubr.entrypoints.http.files import serve
from ubr.entrypoints.http.pages.assets import FOR_GOOD
from ubr.entrypoints.http.pages.page import site_of
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import Controller, get


class PageAssets(Controller):
    path = "/assets"

    @get(
        "/{asset}",
        operation(
            None,
            PAGES,
            name="get_page_asset",
            answer=str,
            public=True,
            tagged=True,
            cache_control=FOR_GOOD,
            described=False,
        ),
    )
    async def asset(self, call: Call) -> Response:
        site = site_of(call)
        await site.load()
        found = site.assets.served.get(call.path_params["asset"])
        if found is None:
            raise NotFound("This path does not exist")
        response = serve(call, found, cache_control=FOR_GOOD)
        response.headers["cross-origin-resource-policy"] = "same-origin"
        return response
