"""The choice of one process for the background jobs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import msgspec

from ubr.application.kernel.periodic import Act, running_beside
from ubr.application.ports.revocation import Elapsed, WorkerId
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.errors import UbrError

NAME: Final = "background"

LASTS: Final = timedelta(seconds=8)
"""The time from an extension to the end of the lease, if the leader does not extend it."""

ROUND: Final = 2.0
"""Seconds between two rounds. So a round after `LASTS`, ten seconds after a kill, another process is the leader."""

_log: Final = logging.getLogger("ubr.jobs")


class _State(msgspec.Struct):
    until: float = 0.0
    """On the clock of this process: the end of its lease, never later than in the store."""
    told: bool = False


@dataclass(frozen=True, slots=True)
class Leader:
    """One round: extends the lease of the background jobs, or takes it if it is free.

    - The leader is the process that has the lease. The jobs in `led` do nothing in every other process.
    - A leader that cannot extend its lease does no job after the end of the lease. A job that has begun goes on: a
      frozen leader may do one round beside its successor. Every job is safe for that.
    - A leader that ends gives the lease back, also after an error. One that is killed does not.
    """

    unit_of_work: UnitOfWork
    worker: WorkerId
    elapsed: Elapsed
    name: str = NAME
    """The name of the lease."""
    does: str = "does the background jobs"
    """The task of the leader, for the log."""
    _state: _State = field(default_factory=_State, init=False, repr=False)

    async def __call__(self) -> None:
        """Errors: `StoreUnavailable`."""
        began = self.elapsed()
        if await self._take():
            self._state.until = began + LASTS.total_seconds()
            if not self._state.told:
                _log.info("This process %s", self.does)
        else:
            self._state.until = 0.0
        self._state.told = self.leads

    @property
    def leads(self) -> bool:
        """True if this process is the leader."""
        return self.elapsed() < self._state.until

    def led(self, act: Act) -> Act:
        """The act, if this process is the leader at that moment."""
        return Led(act, self)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the lease until the context ends, and give it back then."""
        with suppress(UbrError):  # the first round follows at once, and tells what fails
            await self()  # so that the first rounds of the jobs are not lost
        try:
            async with running_beside((self, ROUND)):
                yield
        finally:  # also if an error or Ctrl-C ends the program
            self._state.until = 0.0
            with suppress(UbrError):  # it ends by itself
                async with self.unit_of_work.autocommit() as repositories:
                    await repositories.leases.give_back(self.name, self.worker)

    async def _take(self) -> bool:
        if not self.leads:
            async with self.unit_of_work.peek() as repositories:
                if await repositories.leases.holder(self.name, LASTS) not in {None, self.worker}:
                    return False
        async with self.unit_of_work.autocommit() as repositories:
            return await repositories.leases.take(self.name, self.worker, LASTS)


@dataclass(frozen=True, slots=True)
class Led:
    """A job that only the leader does."""

    func: Act
    leader: Leader

    async def __call__(self) -> None:
        if self.leader.leads:
            await self.func()
