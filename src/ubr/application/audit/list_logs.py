from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from ubr.application.access.authorization import Authorize
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import EXAMPLE_ID, PageCursor, PageLimit, Timestamp
from ubr.application.kernel.paging import DEFAULT_LIMIT, Pager, check_limit
from ubr.application.kernel.representations import LogEntryResult, Page, log_entry_result
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog, LogFilter
from ubr.application.ports.paging import After, Found
from ubr.application.ports.unit_of_work import Repositories, UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.audit.entry import LogEntry
from ubr.domain.events import Facts, Level, LogRead, actions
from ubr.domain.ids import SessionId, UserId
from ubr.domain.roles.permissions import LOGS_READ
from ubr.domain.text import parse_moment

_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_REQUEST_ID: Final = re.compile(r"[0-9a-f]{32}")
"""A request id that the service made itself."""

_UNKNOWN: Final = "?"


class ListLogsCommand(Command, frozen=True, kw_only=True):
    """`since` is inclusive, `until` is exclusive."""

    level: Annotated[Level | None, Meta(description="Only entries of this level.")] = None
    action: Annotated[str | None, Meta(description="Only entries of this action.", examples=["user.registered"])] = None
    actor_id: Annotated[UUID | None, Meta(description="Only actions by this user.", examples=[EXAMPLE_ID])] = None
    target_id: Annotated[str | None, Meta(description="Only actions on the target with this id.")] = None
    request_id: Annotated[
        str | None,
        Meta(description="Only what this request caused: the value of `X-Request-ID`.", examples=["0b8d5f0f3c1e4a52"]),
    ] = None
    session_id: Annotated[
        UUID | None,
        Meta(description="Only what was done in this session, or to it.", examples=[EXAMPLE_ID]),
    ] = None
    since: Timestamp | None = None
    until: Annotated[Timestamp | None, Meta(description="The end of the time range, exclusive.")] = None
    limit: PageLimit = DEFAULT_LIMIT
    cursor: PageCursor = None


class ListLogs(msgspec.Struct, frozen=True):
    """List audit log entries, newest first.

    - Requires `logs:read`.
    - The read is an audit log entry itself, written before the answer and not part of it.
    - With several filters, a page may have fewer items than `limit` although `next_cursor` is not null, even none: each
      page reads a bounded number of entries. The list ends where `next_cursor` is null.
    """

    authorize: Authorize
    unit_of_work: UnitOfWork
    pager: Pager
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: ListLogsCommand, /, *, actor: Actor | System) -> Page[LogEntryResult]:
        limit = check_limit(command.limit)
        which = LogFilter(
            level=command.level,
            action=command.action,
            actor_id=None if command.actor_id is None else UserId(command.actor_id),
            target_id=_canonical(command.target_id),
            request_id=command.request_id,
            session_id=None if command.session_id is None else SessionId(command.session_id),
            since=None if command.since is None else parse_moment(command.since, "/since"),
            until=None if command.until is None else parse_moment(command.until, "/until"),
        )
        # Last, and only if they are given: cursors of earlier versions stay valid.
        request = () if which.request_id is None else (which.request_id,)
        session = () if which.session_id is None else ("session", which.session_id)
        common = (which.level, which.action, which.actor_id, which.target_id, which.since, which.until)
        bound_to = ("logs", *common, *request, *session)
        after = self.pager.after(command.cursor, bound_to, datetime.fromisoformat)
        (await self.authorize(actor)).require(LOGS_READ)
        # One moment for all statements of a search: the place at which it stops is a number of entries further on.
        async with self.unit_of_work.read() if which.several else self.unit_of_work.peek() as tx:
            found = await _search(tx, which, after, limit + 1)
        async with self.unit_of_work.begin(actor) as tx:
            tx.record(LogRead(filters=_filters(which, known=bool(found.items)), entries=min(len(found.items), limit)))
            await tx.commit()
        entries, cursor = self.pager.cut(
            found.items, limit, bound_to, lambda entry: (entry.timestamp, entry.id), reached=found.reached
        )
        return Page(items=[log_entry_result(entry) for entry in entries], next_cursor=cursor)


async def _search(
    tx: Repositories, which: LogFilter, after: After[datetime] | None, limit: int
) -> Found[LogEntry, datetime]:
    event = None if which.action is None else actions().get(which.action)
    if event is not None and which.level is not None:
        # The level follows from the action: together they say no more, or contradict each other.
        if event.level != which.level:
            return Found([])
        which = msgspec.structs.replace(which, level=None)
    return await tx.logs.search(which, after, limit)


def _canonical(target_id: str | None) -> str | None:
    """A UUID in lower case, as the log has it (RFC 9562, 4); ids of other forms are unchanged."""
    return target_id.lower() if target_id is not None and _ID.fullmatch(target_id) else target_id


def _filters(which: LogFilter, *, known: bool) -> Facts:
    """The conditions in the form that the log may hold: free text only if it names something known.

    `known` is true if entries were found, so that the log holds the text already.
    """
    action, target_id, request_id = which.action, which.target_id, which.request_id
    filters = {
        "level": which.level,
        "action": action if action is None or action in actions() else _UNKNOWN,
        "actor_id": which.actor_id and str(which.actor_id),
        "target_id": target_id if target_id is None or _ID.fullmatch(target_id) else _UNKNOWN,
        "request_id": request_id if request_id is None or known or _REQUEST_ID.fullmatch(request_id) else _UNKNOWN,
        "session_id": which.session_id and str(which.session_id),
        "since": which.since and which.since.isoformat(),
        "until": which.until and which.until.isoformat(),
    }
    return {name: value for name, value in filters.items() if value is not None}
