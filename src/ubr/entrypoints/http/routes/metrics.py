"""The metrics of the service, for monitoring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ubr.domain.errors import NotFound
from ubr.entrypoints.http.call import Call, operation
from ubr.entrypoints.http.metrics.access import scraper
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import Controller, get

if TYPE_CHECKING:
    # It contains the names of the routes, so they cannot import it.
    from ubr.entrypoints.http.metrics.exporter import Exporter

METRICS: Final = "metrics"
"""The name of the exporter in the state of the application; None if there are no metrics."""

_NOWHERE: Final = "This path does not exist"
"""The text for any other path: a stranger does not learn that there are metrics."""

_TEXT: Final = "text/plain; version=0.0.4"
"""The text format of Prometheus."""


class Metrics(Controller):
    path = "/metrics"

    @get(
        "/",
        operation(
            None,
            "service",
            name="get_metrics",
            summary="Read the metrics",
            answer=str,
            media_type=_TEXT,
            public=True,
            problems=(NotFound,),
            described=False,
        ),
    )
    async def metrics(self, call: Call) -> Response:
        exporter: Exporter | None = call.state[METRICS]
        client = call.scope.get("client")
        if exporter is None:
            raise NotFound(_NOWHERE)
        if not exporter.access.permits(client[0] if client else None, call.fields):
            call.facts.actor = await scraper(call.ubr, call.fields)
            if call.facts.actor is None:
                raise NotFound(_NOWHERE)
        return Response(await exporter.text(), media_type=_TEXT)
