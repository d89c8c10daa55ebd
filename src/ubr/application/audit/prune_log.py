from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ubr.application.audit.verify_log import Progress
from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.system import Clock
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import System
from ubr.domain.errors import Forbidden, Invalid
from ubr.domain.events import LogPruned
from ubr.domain.text import parse_moment

BATCH: Final = 10_000

KEPT: Final = timedelta(days=30)
"""What is younger goes only where that is forced: it may be what shows what happened just now."""


class PruneLogCommand(Command, frozen=True, kw_only=True):
    """What was written before this moment goes. `force` allows one that lies less than 30 days back."""

    before: datetime
    force: bool = False


class PrunedResult(Result, frozen=True, kw_only=True):
    """Of how many entries the content was deleted now, and of how many from the first on it is gone."""

    entries: int
    size: int


@dataclass(frozen=True, slots=True)
class PruneLog:
    """Delete the content of old entries, salt and all. Their leaves stay, so what remains still verifies.

    - Only the service itself may, and in PostgreSQL only by the role that owns the tables.
    - What was written in the last 30 days stays, unless that is forced: it does not come back.
    - Entries go in the order of the tree, up to the first that is not older.
    - Every 10,000 of them are a unit of their own, which writes an entry that says so.
    - What no checkpoint covers stays.
    """

    unit_of_work: UnitOfWork
    clock: Clock
    denials: DenialLog

    @denials_recorded
    async def __call__(
        self, command: PruneLogCommand, /, *, actor: System, progress: Progress | None = None
    ) -> PrunedResult:
        """Errors: `Invalid` for a moment that has not passed, or is too near."""
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may prune the log")
        before = parse_moment(command.before, "/before")
        if before > self.clock():
            raise Invalid.at("/before", "must have passed")
        if not command.force and before > self.clock() - KEPT:
            raise Invalid.at("/before", f"must lie {KEPT.days} days back at least, unless it is forced")
        total = 0
        while True:
            deleted, size, more = await self._batch(before, actor)
            total += deleted
            if progress is not None:
                progress(total, total)
            if not more:
                return PrunedResult(entries=total, size=size)

    @retry_on_conflict
    async def _batch(self, before: datetime, actor: System) -> tuple[int, int, bool]:
        async with self.unit_of_work.begin(actor) as tx:
            await tx.log_tree.lead(wait=True)  # of two who prune one waits
            first = await tx.log_records.pruned()
            count = await tx.log_records.older(before, first, BATCH)
            if count == 0:
                return 0, first, False
            deleted = await tx.log_records.prune(first + count)
            tx.record(LogPruned(before=before, size=first + count, entries=deleted))
            await tx.commit()
        return deleted, first + count, count == BATCH
