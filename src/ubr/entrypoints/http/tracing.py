"""Traces of requests, by composition: without a collector, none of this is part of a request's path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ubr.adapters.otel.requests import describe_request
from ubr.application.kernel.origin import current_origin
from ubr.entrypoints.http.edge import Edge
from ubr.entrypoints.http.metrics.worker import WorkerMetrics

if TYPE_CHECKING:
    from ubr.adapters.otel import RequestSpans


class TracedEdge:
    """Opens a span around each request."""

    def __init__(self, edge: Edge, spans: RequestSpans) -> None:
        self._edge = edge
        self._spans = spans

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._edge(scope, receive, send)
            return
        with self._spans.request(scope["headers"], scope.get("scheme", "http"), scope["http_version"]):
            await self._edge(scope, receive, send)


class TracedWorkerMetrics(WorkerMetrics):
    """Metrics that also describe the span of a request at its end: the edge knows the route and the status then."""

    def request_ended(self, method: str, route: str | None, status: int, seconds: float) -> None:
        super().request_ended(method, route, status, seconds)
        describe_request(method, route, status, current_origin().request_id)
