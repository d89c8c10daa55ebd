"""Revocations, for verifiers in other services."""

from __future__ import annotations

from ubr.application.revocation.follow_revocations import FollowRevocations, FollowRevocationsCommand, RevocationsResult
from ubr.application.revocation.stop_following_revocations import (
    StopFollowingRevocations,
    StopFollowingRevocationsCommand,
)
from ubr.domain.errors import RateLimited
from ubr.entrypoints.http.call import Call, operation
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.responses import ok
from ubr.entrypoints.http.routing import Controller, delete, get


class Revocations(Controller):
    path = "/api/revocations"

    @get(
        "/",
        operation(
            FollowRevocations,
            "sessions",
            summary="Follow revocations",
            query=FollowRevocationsCommand,
            answer=RevocationsResult,
            for_programs=True,
            problems=(RateLimited,),
        ),
    )
    async def follow(self, call: Call) -> Response:
        command = call.filters(FollowRevocationsCommand)
        return ok(await call.ubr.follow_revocations(command, actor=call.actor))

    @delete(
        "/",
        operation(
            StopFollowingRevocations,
            "sessions",
            status=204,
            summary="Stop following revocations",
            query=StopFollowingRevocationsCommand,
            for_programs=True,
        ),
    )
    async def leave(self, call: Call) -> None:
        await call.ubr.stop_following_revocations(call.filters(StopFollowingRevocationsCommand), actor=call.actor)
