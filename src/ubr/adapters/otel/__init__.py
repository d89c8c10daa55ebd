"""Traces by OpenTelemetry. It needs the packages of the extra `otel`."""

from ubr.extras import require

require("otel")

from ubr.adapters.otel.export import open_provider  # noqa: E402
from ubr.adapters.otel.requests import RequestSpans  # noqa: E402
from ubr.adapters.otel.work import TracedPasswordHasher, TracedUnitOfWork  # noqa: E402

__all__ = ["RequestSpans", "TracedPasswordHasher", "TracedUnitOfWork", "open_provider"]
