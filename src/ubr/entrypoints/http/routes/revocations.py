"""Revocations, for verifiers in other services."""

from __future__ import annotations

from litestar import Controller, Response, delete, get

from ubr.application.revocation.follow_revocations import FollowRevocations, FollowRevocationsCommand, RevocationsResult
from ubr.application.revocation.stop_following_revocations import (
    StopFollowingRevocations,
    StopFollowingRevocationsCommand,
)
from ubr.domain.errors import RateLimited
from ubr.entrypoints.http.call import Call, Ubr, operation
from ubr.entrypoints.http.responses import ok


class Revocations(Controller):
    path = "/api/revocations"

    @get(
        "/",
        **operation(
            FollowRevocations,
            "sessions",
            summary="Follow revocations",
            query=FollowRevocationsCommand,
            answer=RevocationsResult,
            problems=(RateLimited,),
        ),
    )
    async def follow(self, request: Call, ubr: Ubr) -> Response[bytes]:
        command = request.filters(FollowRevocationsCommand)
        return ok(await ubr.follow_revocations(command, actor=request.actor))

    @delete(
        "/",
        **operation(
            StopFollowingRevocations,
            "sessions",
            status=204,
            summary="Stop following revocations",
            query=StopFollowingRevocationsCommand,
        ),
    )
    async def leave(self, request: Call, ubr: Ubr) -> None:
        await ubr.stop_following_revocations(request.filters(StopFollowingRevocationsCommand), actor=request.actor)
