from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ubr.application.actor import Actor, System
from ubr.application.authorization import Authorize
from ubr.application.command import Command
from ubr.application.paging import DEFAULT_LIMIT, Pager, check_limit
from ubr.application.ports.repositories import LogFilter
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.repeating import repeatable
from ubr.application.results import LogEntryResult, Page, log_entry_result
from ubr.domain.events import Level
from ubr.domain.policy import LOGS_READ
from ubr.domain.values import UserId, parse_moment


class ListLogsCommand(Command, frozen=True, kw_only=True):
    """`since` is the first moment that counts, `until` the first that does not."""

    level: Level | None = None
    action: str | None = None
    actor_id: UUID | None = None
    target_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class ListLogs:
    """List entries of the log, newest first. Needs `logs:read`."""

    authorize: Authorize
    unit_of_work: UnitOfWork
    pager: Pager

    @repeatable
    async def __call__(self, command: ListLogsCommand, /, *, actor: Actor | System) -> Page[LogEntryResult]:
        limit = check_limit(command.limit)
        which = LogFilter(
            level=command.level,
            action=command.action,
            actor_id=None if command.actor_id is None else UserId(command.actor_id),
            target_id=command.target_id,
            since=None if command.since is None else parse_moment(command.since, "/since"),
            until=None if command.until is None else parse_moment(command.until, "/until"),
        )
        scope = ("logs", which.level, which.action, which.actor_id, which.target_id, which.since, which.until)
        after = self.pager.after(command.cursor, scope, datetime.fromisoformat)
        (await self.authorize(actor)).require(LOGS_READ)
        async with self.unit_of_work.read() as tx:
            found = await tx.logs.page(which, after, limit + 1)
        entries, cursor = self.pager.cut(found, limit, scope, lambda entry: (entry.timestamp, entry.id))
        return Page(items=[log_entry_result(entry) for entry in entries], next_cursor=cursor)
