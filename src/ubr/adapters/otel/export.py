"""The way of spans to a collector, by OTLP over HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from ubr.application.ports.revocation import Elapsed

_PATH: Final = "/v1/traces"
"""OTLP/HTTP: the path below the address of a collector."""

_EXPORT_SECONDS: Final = 5.0
"""The time limit for one export, with all its attempts. A stop of the service waits for the last one."""
_QUEUED: Final = 2048
_BATCH: Final = 512
_DELAY_MILLISECONDS: Final = 1000
"""Spans beyond the queue are dropped: a request never waits for a collector."""

LOGGED_EVERY: Final = 60.0
"""The least time in seconds between two lines in the log about failed exports."""

_log: Final = logging.getLogger("ubr.traces")


@asynccontextmanager
async def open_provider(endpoint: str, share: float, elapsed: Elapsed) -> AsyncIterator[TracerProvider]:
    """A provider that exports in the background, in a thread of its own.

    `share` of the traces are kept that begin here. A trace that began elsewhere is kept if it is kept there.
    """
    # It logs each failed export, with a traceback. `SeldomLogged` says the same once a minute.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    provider = TracerProvider(
        resource=Resource.create(
            {"service.name": "ubr", "service.version": version("ubr"), "service.instance.id": str(uuid4())}
        ),
        sampler=ParentBased(TraceIdRatioBased(share)),
        shutdown_on_exit=False,
    )
    exporter = SeldomLogged(OTLPSpanExporter(endpoint=endpoint + _PATH, timeout=_EXPORT_SECONDS), endpoint, elapsed)
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=_QUEUED,
            max_export_batch_size=_BATCH,
            schedule_delay_millis=_DELAY_MILLISECONDS,
        )
    )
    try:
        yield provider
    finally:
        await asyncio.to_thread(provider.shutdown)


class SeldomLogged(SpanExporter):
    """An exporter whose failures are counted, and logged once a minute."""

    def __init__(self, inner: SpanExporter, endpoint: str, elapsed: Elapsed) -> None:
        """`endpoint` is for the log, and must not contain a secret."""
        self._inner = inner
        self._endpoint = endpoint
        self._elapsed = elapsed
        self._lost = 0
        self._logged_at = float("-inf")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._inner.export(spans)
        except Exception:  # noqa: BLE001 - the next batch may succeed
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.FAILURE:
            self._lost += len(spans)
            now = self._elapsed()
            if now - self._logged_at >= LOGGED_EVERY:
                self._logged_at = now
                _log.warning(
                    "Traces: %d spans were lost, because %s did not take them (UBR_OTLP_ENDPOINT)",
                    self._lost,
                    self._endpoint,
                )
                self._lost = 0
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)
