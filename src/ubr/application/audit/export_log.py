from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ubr.application.audit.sequencer import Sequencer, current_checkpoint
from ubr.application.audit.verify_log import PAGE, Progress
from ubr.application.kernel.command import Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import System
from ubr.domain.audit.checkpoint import Checkpoint
from ubr.domain.audit.log_check import EXPORT_VERSION, Leaf
from ubr.domain.errors import Forbidden
from ubr.domain.events import LogExported

Write: TypeAlias = Callable[[str], object]
"""Takes a line, including its line break."""


class ExportResult(Result, frozen=True, kw_only=True):
    """`checkpoint` is the signed note over all exported entries."""

    size: int
    checkpoint: str


@dataclass(frozen=True, slots=True)
class ExportLog:
    """Export the whole audit log as lines of JSON that can be verified without the service and the database.

    - Only the service itself may. The export is recorded as an entry, the last one in the export.
    - The first line is the header: `ubr_log`, `size` and `keys`.
    - Then follows each entry in order: `index`, `id`, `leaf`, and `entry`, which is null if it was pruned.
    - Each checkpoint follows its last entry: `size` and `checkpoint`.
    """

    unit_of_work: UnitOfWork
    sequencer: Sequencer
    denials: DenialLog

    @denials_recorded
    async def __call__(self, write: Write, /, *, actor: System, progress: Progress | None = None) -> ExportResult:
        """Errors: any error of `write`; `LogDamaged`."""
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may export the log")
        await self.sequencer(wait=True)
        async with self.unit_of_work.begin(actor) as tx:
            tx.record(LogExported(size=(await tx.log_tree.state()).size))
            await tx.commit()
        await self.sequencer(wait=True)
        async with self.unit_of_work.read() as tx:
            note = await current_checkpoint(tx)
            size = Checkpoint.of(note).size
            keys = [str(key) for key in await tx.log_keys.all()]
            write(_line(ubr_log=EXPORT_VERSION, size=size, keys=keys))
            await self._export(tx, size, write, progress)
        return ExportResult(size=size, checkpoint=str(note))

    async def _export(self, tx: Transaction, size: int, write: Write, progress: Progress | None) -> None:
        done = 0
        while done < size and (leaves := await tx.log_records.leaves(done, PAGE)):
            notes = dict(await tx.log_records.checkpoints(done, PAGE))
            for leaf in leaves:
                write(_leaf(leaf))
                done = leaf.index + 1
                if done in notes:
                    write(_line(size=done, checkpoint=notes[done]))
            if progress is not None:
                progress(done, size)


def _leaf(leaf: Leaf) -> str:
    if not leaf.readable:
        return _line(index=leaf.index, id=str(leaf.entry_id), leaf="", entry="cannot be read")
    entry = None if leaf.entry is None else leaf.entry.exported()
    return _line(index=leaf.index, id=str(leaf.entry_id), leaf=leaf.hash.hex(), entry=entry)


def _line(**fields: Any) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"
