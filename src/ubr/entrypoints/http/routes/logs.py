"""The log."""

from __future__ import annotations

from litestar import Controller, Response, get

from ubr.application.results import LogEntryResult, Page
from ubr.application.use_cases.list_logs import ListLogs, ListLogsCommand
from ubr.domain.errors import InvalidCursor
from ubr.entrypoints.http.answers import page
from ubr.entrypoints.http.call import Call, Ubr, operation


class Logs(Controller):
    path = "/api/logs"

    @get(
        "/",
        **operation(
            ListLogs,
            "logs",
            summary="Read the log",
            query=ListLogsCommand,
            answer=Page[LogEntryResult],
            problems=(InvalidCursor,),
        ),
    )
    async def list_all(self, request: Call, ubr: Ubr) -> Response[bytes]:
        return page(request, await ubr.list_logs(request.filters(ListLogsCommand), actor=request.actor))
