from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

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
"""Younger entries are pruned only if forced: they may be evidence of a current attack."""


class PruneLogCommand(Command, frozen=True, kw_only=True):
    """Prune entries written before this moment. `force` allows a moment within the last 30 days."""

    before: datetime
    force: bool = False


class PrunedResult(Result, frozen=True, kw_only=True):
    """`entries`: pruned by this call. `size`: pruned in total, counted from the first entry."""

    entries: int
    size: int


class PruneLog(msgspec.Struct, frozen=True):
    """Delete the content of old entries, including their salt. Their leaves stay, so the rest still verifies.

    - Only the service itself may, and in PostgreSQL only as the role that owns the tables.
    - Entries of the last 30 days stay, unless forced: pruning cannot be undone.
    - Prunes entries in the order of the tree, up to the first one that is not older.
    - Each batch of 10,000 is one unit of work, which records the pruning as an entry.
    - Entries that no checkpoint covers stay.
    """

    unit_of_work: UnitOfWork
    clock: Clock
    denials: DenialLog

    @denials_recorded
    async def __call__(
        self, command: PruneLogCommand, /, *, actor: System, progress: Progress | None = None
    ) -> PrunedResult:
        """Errors: `Invalid` for a moment in the future, or within the last 30 days unless forced."""
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may prune the log")
        before = parse_moment(command.before, "/before")
        if before > self.clock():
            raise Invalid.at("/before", "must be in the past")
        if not command.force and before > self.clock() - KEPT:
            raise Invalid.at("/before", f"must be at least {KEPT.days} days in the past, unless it is forced")
        total, expected = 0, await self._expected(before)
        while True:
            deleted, size, more = await self._batch(before, actor)
            total += deleted
            if progress is not None:
                progress(total, max(total, expected))
            if not more:
                return PrunedResult(entries=total, size=size)

    async def _expected(self, before: datetime) -> int:
        """About how many entries will be pruned: entries are in the tree nearly in the order of their time."""
        async with self.unit_of_work.read() as tx:
            first = await tx.log_records.pruned()
            low, high = first, (await tx.log_tree.state()).size
            while low < high:
                middle = (low + high) // 2
                if await tx.log_records.older(before, middle, 1):
                    low = middle + 1
                else:
                    high = middle
        return low - first

    @retry_on_conflict
    async def _batch(self, before: datetime, actor: System) -> tuple[int, int, bool]:
        async with self.unit_of_work.begin(actor) as tx:
            await tx.log_tree.lead(wait=True)  # concurrent prunings run one after the other
            first = await tx.log_records.pruned()
            count = await tx.log_records.older(before, first, BATCH)
            if count == 0:
                return 0, first, False
            deleted = await tx.log_records.prune(first + count)
            tx.record(LogPruned(before=before, size=first + count, entries=deleted))
            await tx.commit()
        return deleted, first + count, count == BATCH
