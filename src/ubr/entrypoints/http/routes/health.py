"""Health checks for operators."""

from __future__ import annotations

from typing import Annotated, Literal

from ubr.application.kernel.command import Result
from ubr.application.kernel.fields import example
from ubr.application.operations.check_health import CheckHealth
from ubr.domain.errors import LogKeyLocked, NoSigningKey, StoreTooSlow, StoreUnavailable, Unavailable
from ubr.entrypoints.http.call import Call, operation
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.responses import ok
from ubr.entrypoints.http.routing import Controller, get
from ubr.entrypoints.http.stopping import STOPPING


class HealthResult(Result, frozen=True, kw_only=True):
    status: Annotated[Literal["ok"], example("ok")] = "ok"


class Health(Controller):
    path = "/health"

    @get(
        "/live",
        operation(
            None,
            "service",
            name="check_liveness",
            summary="Check liveness",
            answer=HealthResult,
            public=True,
        ),
    )
    async def live(self, call: Call) -> Response:  # noqa: ARG002 - Litestar hands it to every controller
        return ok(HealthResult())

    @get(
        "/ready",
        operation(
            CheckHealth,
            "service",
            name="check_readiness",
            summary="Check readiness",
            answer=HealthResult,
            public=True,
            problems=(StoreUnavailable, StoreTooSlow, NoSigningKey, LogKeyLocked),
        ),
    )
    async def ready(self, call: Call) -> Response:
        if call.state[STOPPING]:
            raise Unavailable("The service is shutting down")
        await call.ubr.check_health()
        await call.ubr.initialize.check()
        return ok(HealthResult())
