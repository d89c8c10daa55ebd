"""The audit log, and the proofs that it is the log as written."""

from __future__ import annotations

from typing import Final

from ubr.application.audit.get_checkpoint import GetCheckpoint
from ubr.application.audit.list_logs import ListLogs, ListLogsCommand
from ubr.application.audit.prove_log_entry import ProofResult, ProveLogEntry, ProveLogEntryCommand
from ubr.application.kernel.representations import LogEntryResult, Page
from ubr.domain.errors import InvalidCursor, LogDamaged, LogEntryNotFound
from ubr.entrypoints.http.call import Call, operation
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.responses import ok, page
from ubr.entrypoints.http.routing import Controller, get

_ORIGIN: Final = "request.ubr.example.org/log/3e32012da7780fca"
_NOTE: Final = (
    f"{_ORIGIN}\n5\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n"
    f"— {_ORIGIN} Zub5zfgn5mlq1uwHgvn57QHfnQn6dDM/7vmSIZRtdeBk5LDcAD8GM6PiYD4vN5RcESk6lEBWZu4Iy4gVnqE/Q3LDY6E=\n"
)


class Logs(Controller):
    path = "/api/logs"

    @get(
        "/",
        operation(
            ListLogs,
            "logs",
            summary="List audit log entries",
            query=ListLogsCommand,
            answer=Page[LogEntryResult],
            problems=(InvalidCursor,),
        ),
    )
    async def list_all(self, call: Call) -> Response:
        return page(call, await call.ubr.list_logs(call.filters(ListLogsCommand), actor=call.actor))

    @get(
        "/checkpoint",
        operation(
            GetCheckpoint,
            "logs",
            summary="Read the newest checkpoint of the audit log",
            answer=str,
            media_type="text/plain",
            example=_NOTE,
            problems=(LogDamaged,),
        ),
    )
    async def checkpoint(self, call: Call) -> Response:
        result = await call.ubr.get_checkpoint(actor=call.actor)
        return Response(result.note.encode(), media_type="text/plain")

    @get(
        "/{entry_id}/proof",
        operation(
            ProveLogEntry,
            "logs",
            summary="Read the inclusion proof of an audit log entry",
            answer=ProofResult,
            problems=(LogEntryNotFound, LogDamaged),
        ),
    )
    async def proof(self, call: Call) -> Response:
        command = ProveLogEntryCommand(entry_id=call.id("entry_id"))
        return ok(await call.ubr.prove_log_entry(command, actor=call.actor))
