"""Traces, if the operator names a collector. Without one, no part of OpenTelemetry is loaded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from ubr.adapters.security.system import elapsed
from ubr.bootstrap.ports import Ports
from ubr.extras import require
from ubr.settings import MEMORY, Settings

if TYPE_CHECKING:
    from ubr.adapters.otel import RequestSpans


class Tracing(msgspec.Struct, frozen=True):
    """The spans of requests, and a function that adds those of units of work and of the hashing."""

    requests: RequestSpans
    instrument: Callable[[Ports], Ports]


def check_tracing(settings: Settings) -> None:
    """Errors: `MissingExtra` if a collector is named, and the packages are not installed."""
    if settings.otlp_endpoint is not None:
        require("otel")


@asynccontextmanager
async def open_tracing(settings: Settings) -> AsyncIterator[Tracing | None]:
    """The traces of this process, exported until the context ends; None without a collector.

    Errors: `MissingExtra` if the packages are not installed.
    """
    if settings.otlp_endpoint is None:
        yield None
        return
    check_tracing(settings)
    from ubr.adapters.otel import (  # noqa: PLC0415 - an optional dependency
        RequestSpans,
        TracedPasswordHasher,
        TracedUnitOfWork,
        open_provider,
    )

    system = "sqlite" if settings.database_url.startswith("sqlite") else "postgresql"
    system = "memory" if settings.database_url == MEMORY else system
    async with open_provider(settings.otlp_endpoint, settings.otlp_share, elapsed) as provider:

        def instrument(ports: Ports) -> Ports:
            security = msgspec.structs.replace(
                ports.security, hasher=TracedPasswordHasher(ports.security.hasher, provider)
            )
            unit_of_work = TracedUnitOfWork(ports.unit_of_work, provider, system)
            return msgspec.structs.replace(ports, unit_of_work=unit_of_work, security=security)

        yield Tracing(RequestSpans(provider), instrument)
