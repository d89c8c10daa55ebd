"""Traces by OpenTelemetry. It needs the packages of the extra `otel`."""

from ubr.adapters.otel.export import open_provider
from ubr.adapters.otel.requests import RequestSpans
from ubr.adapters.otel.work import TracedPasswordHasher, TracedUnitOfWork

__all__ = ["RequestSpans", "TracedPasswordHasher", "TracedUnitOfWork", "open_provider"]
