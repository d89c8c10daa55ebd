"""Watches the age of the entries that are not in the tree yet."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

import msgspec

from ubr.application.ports.audit import Backlog
from ubr.application.ports.unit_of_work import UnitOfWork

OVERDUE: Final = timedelta(minutes=1)
"""Entries are usually in the tree within a second. Beyond this age, no process is adding them."""

_log: Final = logging.getLogger("ubr.audit")


class BacklogWatch(msgspec.Struct):
    """Checks the queued entries, and logs an error once a minute while the oldest is overdue.

    `seen` and `age` are the results of the last check.
    """

    unit_of_work: UnitOfWork
    seen: Backlog = msgspec.field(default_factory=Backlog)
    age: timedelta = timedelta(0)
    _complained: datetime | None = None

    async def __call__(self) -> None:
        """Errors: `LogDamaged` if the queued entries cannot be read; `StoreUnavailable`."""
        async with self.unit_of_work.read() as tx:
            self.seen, now = await tx.log_tree.backlog(), tx.now
        self.age = self.seen.age(now)
        if self.age <= OVERDUE:
            if self._complained is not None:
                _log.warning("The log continues: no entry has been queued for longer than a minute")
            self._complained = None
        elif self._complained is None or now - self._complained >= OVERDUE:
            self._complained = now
            _log.error(
                "The log stands still: %d entries are queued to be signed, the oldest for %d s. Changes to them and "
                "deletions cannot be detected",
                self.seen.entries,
                self.age.total_seconds(),
            )
