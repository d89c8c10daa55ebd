"""The caller's own sessions."""

from __future__ import annotations

from ubr.application.kernel.representations import Page, SessionResult
from ubr.application.sessions.list_sessions import ListSessions, ListSessionsCommand
from ubr.application.sessions.revoke_other_sessions import RevokeOtherSessions
from ubr.application.sessions.revoke_session import RevokeSession, RevokeSessionCommand
from ubr.domain.errors import GrantExceedsOwn, InvalidCursor, SessionNotFound
from ubr.entrypoints.http.call import Call, operation
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.responses import page
from ubr.entrypoints.http.routes.paging import Paging
from ubr.entrypoints.http.routing import Controller, delete, get


class Sessions(Controller):
    path = "/api/auth/sessions"

    @get(
        "/",
        operation(
            ListSessions,
            "sessions",
            name="list_own_sessions",
            summary="List one's own sessions",
            query=Paging,
            answer=Page[SessionResult],
            problems=(InvalidCursor,),
        ),
    )
    async def list_own(self, call: Call) -> Response:
        part = call.filters(Paging)
        command = ListSessionsCommand(user_id=call.actor.user_id, limit=part.limit, cursor=part.cursor)
        return page(call, await call.ubr.list_sessions(command, actor=call.actor))

    @delete(
        "/",
        operation(
            RevokeOtherSessions,
            "sessions",
            status=204,
            summary="End all of one's other sessions",
            ending=True,
        ),
    )
    async def revoke_others(self, call: Call) -> None:
        await call.ubr.revoke_other_sessions(actor=call.actor)

    @delete(
        "/{session_id}",
        operation(
            RevokeSession,
            "sessions",
            status=204,
            summary="End one session",
            ending=True,
            problems=(SessionNotFound, GrantExceedsOwn),
        ),
    )
    async def revoke(self, call: Call) -> None:
        await call.ubr.revoke_session(RevokeSessionCommand(session_id=call.id("session_id")), actor=call.actor)
