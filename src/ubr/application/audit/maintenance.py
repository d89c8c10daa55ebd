"""Background maintenance of the audit log: adds new entries to the tree, and writes counted denials."""

from __future__ import annotations

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
            with suppress(UbrError):
                await self.denials.settle(everything=True)

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
            with suppress(UbrError):  # another process will sequence, or the next one
                await self.denials.settle(everything=True)
                await sequence()
