"""The service of a process: settings from the environment, an application opened at startup and closed at shutdown."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
from litestar.types import Receive, Scope, Send

from ubr.adapters.security.system import elapsed
from ubr.application.kernel.periodic import Act, collecting_jobs, running_beside
from ubr.bootstrap import CLEANING, check_tracing, open_environment, open_tracing
from ubr.bootstrap.tracing import Tracing
from ubr.domain.errors import UbrError
from ubr.entrypoints.http.app import create_app
from ubr.entrypoints.http.connections import Connections
from ubr.entrypoints.http.edge import Edge, HttpOptions
from ubr.entrypoints.http.log_lines import DELAY, EVENTS, OUTPUT, configure
from ubr.entrypoints.http.metrics.access import MetricsAccess
from ubr.entrypoints.http.metrics.board import Board
from ubr.entrypoints.http.metrics.emf import LOOKING, EmbeddedMetrics
from ubr.entrypoints.http.metrics.exporter import Exporter
from ubr.entrypoints.http.metrics.worker import WorkerMetrics
from ubr.settings import Settings, ensure_embedded_files


def create(
    connections: Connections | None = None, board: Board | None = None, number: int = 0, *, loopback: bool = False
) -> Service:
    """The service; an ASGI server calls this factory. Errors: `WrongSetting`.

    `board` has the metrics of several processes, of which this one has the `number`; without it, they are of this
    process alone. With `loopback`, only this machine can reach the service.
    """
    settings = ensure_embedded_files(Settings.from_env())
    configure(settings.log_level, form=settings.log_format, delay=DELAY)
    access = MetricsAccess(token=settings.metrics_token, local=loopback and settings.trusted_proxies == ())
    return Service(settings, connections, _metrics_of(settings)(board, number), access)


def _metrics_of(settings: Settings) -> type[WorkerMetrics]:
    if settings.otlp_endpoint is None:
        return WorkerMetrics
    check_tracing(settings)
    from ubr.entrypoints.http.tracing import TracedWorkerMetrics  # noqa: PLC0415 - an optional dependency

    return TracedWorkerMetrics


def _traced(edge: Edge, tracing: Tracing | None) -> Callable[[Any, Any, Any], Awaitable[None]]:
    if tracing is None:
        return edge
    from ubr.entrypoints.http.tracing import TracedEdge  # noqa: PLC0415 - an optional dependency

    return TracedEdge(edge, tracing.requests)


class Service:
    """Opens the environment when the server starts it, and closes it when the server stops."""

    def __init__(
        self,
        settings: Settings,
        connections: Connections | None = None,
        worker: WorkerMetrics | None = None,
        access: MetricsAccess | None = None,
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._worker = worker or WorkerMetrics()
        self._access = access or MetricsAccess()
        self._edge: Edge | None = None
        self._app: Callable[[Any, Any, Any], Awaitable[None]] | None = None

    def stop_soon(self) -> None:
        """Report that the service is not ready, and close connections after their next answer."""
        if self._edge is not None:
            self._edge.stop_soon()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if str(scope["type"]) == "lifespan":
            await self._live(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        started = False
        try:
            async with open_tracing(self._settings) as tracing, self._opened(tracing) as edge:
                self._edge, self._app = edge, _traced(edge, tracing)
                started = True
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            if started:
                EVENTS.error("shutdown failed", error=error)
                raise
            EVENTS.error("startup failed", error=error)
            # For every error: without this message, a server goes on without an application and answers nothing.
            detail = error.detail if isinstance(error, UbrError) else type(error).__name__
            await send({"type": "lifespan.startup.failed", "message": detail})
            return
        OUTPUT.flush()
        await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def _opened(self, tracing: Tracing | None) -> AsyncIterator[Edge]:
        settings = self._settings
        options = HttpOptions.of(settings)
        with collecting_jobs() as jobs:
            instrument = None if tracing is None else tracing.instrument
            async with open_environment(settings, metrics=self._worker, instrument=instrument) as environment:
                exporter = Exporter(
                    worker=self._worker, access=self._access, environment=environment, jobs=jobs, elapsed=elapsed
                )
                options = msgspec.structs.replace(
                    options, connections=self._connections, rejected=environment.denials.reject, metrics=exporter
                )
                beside: list[tuple[Act, float]] = [
                    (environment.janitor, CLEANING),
                    (exporter.publish, exporter.interval),
                ]
                async with AsyncExitStack() as stack:
                    if settings.metrics_emf is not None:
                        embedded = EmbeddedMetrics(exporter, settings.issuer, settings.metrics_emf.total_seconds())
                        stack.push_async_callback(embedded.finish)
                        beside.append((embedded.write, LOOKING))
                    await stack.enter_async_context(running_beside(*beside))
                    edge = create_app(environment.application, options=options)
                    # All of this stays: a collection of garbage need not look at it again.
                    gc.collect()
                    gc.freeze()
                    yield edge
