"""A span for each HTTP request.

Source: OpenTelemetry, Semantic conventions for HTTP spans. `url.path` and `url.query`, the client address and the user
agent are left out on purpose: no trace contains ids of users, tokens or personal data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Headers = Iterable[tuple[bytes, bytes]]

_KNOWN: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
_OTHER: Final = "_OTHER"
_FAILED: Final = 500
_PARENTS: Final = (b"traceparent", b"tracestate")
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class _Fields(Getter[Mapping[str, list[str]]]):
    def get(self, carrier: Mapping[str, list[str]], key: str) -> list[str] | None:
        found = carrier.get(key, [])
        # A second parent makes both invalid (W3C Trace Context, 3.2); states are one list (3.3.1).
        return None if not found or (key == "traceparent" and len(found) > 1) else found

    def keys(self, carrier: Mapping[str, list[str]]) -> list[str]:
        return list(carrier)


_FIELDS: Final = _Fields()


class RequestSpans:
    """Opens the span of a request, and describes it when its answer is known."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("ubr")

    @contextmanager
    def request(self, headers: Headers, scheme: str, http_version: str) -> Iterator[None]:
        """The span of a request, as a child of the span that its `traceparent` names."""
        carrier: dict[str, list[str]] = {}
        for name, value in headers:
            if name.lower() in _PARENTS:
                carrier.setdefault(name.lower().decode(), []).append(value.decode("latin-1"))
        with self._tracer.start_as_current_span(
            "HTTP",
            context=_PROPAGATOR.extract(carrier, getter=_FIELDS),
            kind=SpanKind.SERVER,
            attributes={"url.scheme": scheme, "network.protocol.version": http_version},
            # The text of an exception may contain values.
            record_exception=False,
            set_status_on_exception=False,
        ):
            yield


def describe_request(method: str, route: str | None, status: int, request_id: str | None) -> None:
    """Describe the current span. `route` is the template of the path, None without one."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    known = method in _KNOWN
    span.update_name(" ".join(filter(None, [method if known else "HTTP", route])))
    span.set_attribute("http.request.method", method if known else _OTHER)
    span.set_attribute("http.response.status_code", status)
    if route is not None:
        span.set_attribute("http.route", route)
    if request_id is not None:
        span.set_attribute("ubr.request_id", request_id)
    if status >= _FAILED:
        span.set_attribute("error.type", str(status))
        span.set_status(Status(StatusCode.ERROR))
