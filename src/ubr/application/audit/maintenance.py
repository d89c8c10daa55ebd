"""Background maintenance of the audit log: adds new entries to the tree, and writes counted denials."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from ubr.application.audit.backlog import BacklogWatch
from ubr.application.audit.denials import DenialRecorder
from ubr.application.audit.sequencer import Sequencer
from ubr.application.kernel.periodic import Act, running_beside
from ubr.domain.errors import UbrError

_SEQUENCING: Final = 0.5
_SETTLING: Final = 20.0
"""Seconds between two rounds of writing counted denials."""
_WATCHING: Final = 15.0
"""Seconds between two checks of the backlog."""

_log: Final = logging.getLogger("ubr.audit")


@dataclass(frozen=True, slots=True)
class AuditMaintenance:
    """Runs in every serving process; only one of them at a time adds to the tree.

    Every process also checks the backlog, because the process that should add entries may hang or be blocked.
    """

    sequencer: Sequencer
    denials: DenialRecorder
    backlog: BacklogWatch = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "backlog", BacklogWatch(self.sequencer.unit_of_work))

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        """Write the denials that this process has counted, until the context ends. No other process can."""
        try:
            async with running_beside((self.denials.settle, _SETTLING)):
                yield
        finally:  # also if an error or Ctrl-C ends the program
            await self._settle_all()

    @asynccontextmanager
    async def running(self, led: Callable[[Act], Act]) -> AsyncIterator[None]:
        """Maintain the log until the context ends. The end writes and signs the remaining counts.

        `led` makes a job that only a leader does, if there is one.
        """
        sequence = led(self.sequencer)
        jobs = (sequence, _SEQUENCING), (self.denials.settle, _SETTLING), (self.backlog, _WATCHING)
        try:
            async with running_beside(*jobs):
                yield
        finally:  # also if an error or Ctrl-C ends the program
            await self._settle_all()
            with suppress(UbrError):  # another process will sequence, or the next one
                await sequence()

    async def _settle_all(self) -> None:
        """Write all counts. Those that cannot be written end with this process, so the log of the service has them."""
        try:
            await self.denials.settle(everything=True)
        except UbrError as error:
            denials, requests = self.denials.unwritten
            _log.error(
                "%d counted denials and %d rejected requests are not in the audit log: %s",
                denials,
                requests,
                error.detail,
            )
