"""Keeps the log: what was written gets its place in the tree, and what was refused is written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from ubr.application.audit.backlog import BacklogWatch
from ubr.application.audit.denials import DenialRecorder
from ubr.application.audit.sequencer import Sequencer
from ubr.application.kernel.periodic import running_beside
from ubr.domain.errors import UbrError

_SEQUENCING: Final = 0.5
_SETTLING: Final = 20.0
_WATCHING: Final = 15.0
"""Seconds between two rounds."""


@dataclass(frozen=True, slots=True)
class AuditMaintenance:
    """Runs in every process that serves; of all of them one at a time adds to the tree.

    Each of them also looks whether that is done at all: the one that should may hang, or be kept from it.
    """

    sequencer: Sequencer
    denials: DenialRecorder
    backlog: BacklogWatch = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "backlog", BacklogWatch(self.sequencer.unit_of_work))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the log for as long as the context lasts. At its end what was counted is written, and signed."""
        async with running_beside(
            (self.sequencer, _SEQUENCING), (self.denials.settle, _SETTLING), (self.backlog, _WATCHING)
        ):
            yield
        with suppress(UbrError):  # another process will do it, or the next one
            await self.denials.settle(everything=True)
            await self.sequencer()
