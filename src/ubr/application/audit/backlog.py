"""The entries that are not in the tree yet: how long they have waited, and who is told."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from ubr.application.ports.audit import Backlog
from ubr.application.ports.unit_of_work import UnitOfWork

OVERDUE: Final = timedelta(minutes=1)
"""An entry is in the tree within a second. One that has waited for this long says that nobody adds to it."""

_log: Final = logging.getLogger("ubr.audit")


@dataclass(slots=True)
class BacklogWatch:
    """Looks at what waits, and complains once a minute for as long as the oldest has waited too long.

    `seen` and `age` are what the last look found, for whoever counts them.
    """

    unit_of_work: UnitOfWork
    seen: Backlog = field(default_factory=Backlog)
    age: timedelta = timedelta(0)
    _complained: datetime | None = None

    async def __call__(self) -> None:
        """Errors: `LogDamaged` where what waits cannot be read; `StoreUnavailable`."""
        async with self.unit_of_work.read() as tx:
            self.seen, now = await tx.log_tree.backlog(), tx.now
        self.age = self.seen.age(now)
        if self.age <= OVERDUE:
            if self._complained is not None:
                _log.warning("The log goes on: no entry waits for longer than a minute any more")
            self._complained = None
        elif self._complained is None or now - self._complained >= OVERDUE:
            self._complained = now
            _log.error(
                "The log stands still: %d entries wait to be signed, the oldest for %d s. Until then nothing shows "
                "that one was changed or deleted",
                self.seen.entries,
                self.age.total_seconds(),
            )
