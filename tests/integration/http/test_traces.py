"""Traces of requests: their form, their parents, what they leave out, and a collector that is away."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tests.integration.http.kit import ADMIN, PASSWORD, bearer, memory_settings
from tests.support.otlp import Collector, attributes, collecting
from tests.support.plugin import NewDatabase
from tests.support.servers import free_port
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, on_postgres, serving
from ubr.adapters.otel.export import LOGGED_EVERY, SeldomLogged
from ubr.adapters.security.system import elapsed
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.bootstrap import open_environment, open_tracing
from ubr.domain.actor import SYSTEM
from ubr.entrypoints.http.app import HttpOptions, create_app
from ubr.entrypoints.http.metrics.access import MetricsAccess
from ubr.entrypoints.http.metrics.exporter import Exporter
from ubr.entrypoints.http.tracing import TracedEdge, TracedWorkerMetrics

pytestmark = pytest.mark.anyio

TRACE, PARENT = "1" * 32, "2" * 16
USER = {"email": ADMIN, "password": PASSWORD}


@pytest.fixture(autouse=True)
def _level_of_the_library() -> Any:
    """The service silences the library, which is right for a process and not for the next test."""
    library = logging.getLogger("opentelemetry")
    level = library.level
    yield
    library.setLevel(level)


@asynccontextmanager
async def traced(collector: Collector, share: float = 1.0) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service in this process. The spans have arrived at the end."""
    settings = memory_settings(otlp_endpoint=collector.url, otlp_share=share)
    worker = TracedWorkerMetrics()
    async with open_tracing(settings) as tracing:
        assert tracing is not None
        async with open_environment(settings, metrics=worker, instrument=tracing.instrument) as environment:
            await environment.application.create_admin(CreateAdminCommand(email=ADMIN, password=PASSWORD), actor=SYSTEM)
            exporter = Exporter(
                worker=worker, access=MetricsAccess(), environment=environment, jobs={}, elapsed=elapsed
            )
            edge = create_app(environment.application, options=HttpOptions(metrics=exporter))
            transport = httpx.ASGITransport(TracedEdge(edge, tracing.requests))
            async with httpx.AsyncClient(transport=transport, base_url="http://ubr.test") as client:
                yield client


def children_of(span: Span, collector: Collector) -> list[str]:
    return [each.name for each in collector.spans if each.parent_span_id == span.span_id]


async def test_a_request_is_a_span_with_its_units_and_its_hashing() -> None:
    with collecting() as collector:
        async with traced(collector) as client:
            answer = await client.post("/api/auth/login", json=USER)
            assert answer.status_code == 200
            assert (await client.get("/api/users/me", headers=bearer(answer.json()))).status_code == 200
    [login] = collector.named("POST /api/auth/login")
    assert login.kind == Span.SPAN_KIND_SERVER
    assert attributes(login.attributes) == {
        "http.request.method": "POST",
        "http.route": "/api/auth/login",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "ubr.request_id": answer.headers["x-request-id"],
    }
    assert login.status.code == Status.STATUS_CODE_UNSET
    assert not login.parent_span_id
    names = children_of(login, collector)
    assert names.count("verify password") == 1
    assert "unit of work, begin" in names
    assert all(span.trace_id == login.trace_id for span in collector.spans if span.name == "verify password")
    [me] = collector.named("GET /api/users/me")
    assert me.trace_id != login.trace_id
    for resource in collector.resources:
        assert resource["service.name"] == "ubr"
        assert resource["service.version"]


async def test_work_outside_a_request_is_no_span() -> None:
    with collecting() as collector:
        async with traced(collector):
            pass  # it created an administrator, with a hash and a unit of work
    assert collector.spans == []


async def test_no_span_contains_what_a_client_sent() -> None:
    secret = "a-secret-of-the-client"
    with collecting() as collector:
        async with traced(collector) as client:
            await client.get(f"/api/users/{uuid4()}?email={secret}", headers={"authorization": f"Bearer {secret}"})
            await client.get(f"/{secret}")
            await client.post("/api/auth/login", json={"email": f"{secret}@example.org", "password": secret})
            await client.request("BREW", "/api/users", headers={"user-agent": secret})
    assert sorted(span.name for span in collector.spans if not span.parent_span_id) == [
        "GET",
        "GET /api/users/{user_id}",
        "HTTP /api/users",
        "POST /api/auth/login",
    ]
    [brew] = collector.named("HTTP /api/users")
    assert attributes(brew.attributes)["http.request.method"] == "_OTHER"
    assert collector.bodies
    for body in collector.bodies:
        assert secret.encode() not in body
        assert b"@example.org" not in body


async def test_a_span_continues_the_trace_of_its_caller() -> None:
    with collecting() as collector:
        async with traced(collector) as client:
            for parent in (f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00", "nonsense"):
                await client.get("/health/live", headers={"traceparent": parent, "tracestate": "a=b"})
            twice = [("traceparent", f"00-{TRACE}-{PARENT}-01")] * 2
            await client.get("/health/live", headers=twice)
    spans = collector.named("GET /health/live")
    continued = [span for span in spans if span.trace_id.hex() == TRACE]
    assert len(spans) == 3, "the caller does not keep its second trace"
    assert [(span.parent_span_id.hex(), span.trace_state) for span in continued] == [(PARENT, "a=b")]
    assert all(not span.parent_span_id for span in spans if span not in continued)


async def test_the_share_is_that_of_traces_that_begin_here() -> None:
    with collecting() as collector:
        async with traced(collector, share=0.0) as client:
            await client.get("/health/live")
            await client.get("/health/live", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert [span.trace_id.hex() for span in collector.spans] == [TRACE]


async def test_a_failure_is_an_error_and_a_refusal_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        async with traced(collector) as client:
            assert (await client.get("/api/users")).status_code == 401

            def broken(*_: object) -> object:
                raise RuntimeError("a secret text")

            monkeypatch.setattr("ubr.entrypoints.http.edge._Exchange._malformed", broken)
            assert (await client.get("/api/users")).status_code == 500
    refused, failed = (
        next(span for span in collector.spans if attributes(span.attributes).get("http.response.status_code") == status)
        for status in (401, 500)
    )
    assert refused.status.code == Status.STATUS_CODE_UNSET
    assert (failed.status.code, failed.status.message) == (Status.STATUS_CODE_ERROR, "")
    assert attributes(failed.attributes)["error.type"] == "500"
    assert not failed.events


@pytest.mark.system
async def test_requests_are_answered_without_the_collector(caplog: pytest.LogCaptureFixture) -> None:
    away = Collector(f"http://127.0.0.1:{free_port()}")
    with caplog.at_level(logging.WARNING):
        async with traced(away) as client:
            for _ in range(5):
                assert (await client.get("/health/live")).status_code == 200
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [f"Traces: 5 spans were lost, because {away.url} did not take them (UBR_OTLP_ENDPOINT)"]


def test_failed_exports_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            if len(spans) == 3:
                raise ConnectionError
            return SpanExportResult.FAILURE

    now = [0.0]
    exporter = SeldomLogged(Failing(), "http://collector", lambda: now[0])
    for spans in (1, 2, 3):
        assert exporter.export([None] * spans) is SpanExportResult.FAILURE  # type: ignore[list-item]
    now[0] = LOGGED_EVERY
    assert exporter.export([None] * 4) is SpanExportResult.FAILURE  # type: ignore[list-item]
    counts = [record.getMessage().split()[1] for record in caplog.records]
    assert counts == ["1", "9"]


@pytest.mark.system
def test_without_a_collector_no_part_of_opentelemetry_is_loaded() -> None:
    code = (
        "import sys, ubr.entrypoints.http.asgi, ubr.entrypoints.cli.supervisor, ubr.bootstrap.sql\n"
        "ours = ('opentelemetry.sdk', 'opentelemetry.exporter', 'ubr.adapters.otel')\n"
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "[]\n"


@pytest.mark.system
async def test_each_worker_of_a_real_service_exports_its_spans(tmp_path: Path, new_database: NewDatabase) -> None:
    with collecting() as collector:
        environment = {**on_postgres(new_database(), workers=2), "UBR_OTLP_ENDPOINT": collector.url}
        with serving(tmp_path, environment) as service:
            async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
                answer = await client.post("/api/auth/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
                assert answer.status_code == 200
        # A stop exports what is left.
        [login] = collector.named("POST /api/auth/login")
        names = children_of(login, collector)
        assert "verify password" in names
        systems = {
            attributes(span.attributes)["db.system.name"] for span in collector.spans if span.name.startswith("unit")
        }
        assert systems == {"postgresql"}
        assert "Traceback" not in service.log
