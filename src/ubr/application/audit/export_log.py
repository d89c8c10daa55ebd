from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

import msgspec

from ubr.application.audit.sequencer import Sequencer, current_checkpoint
from ubr.application.audit.verify_log import PAGE, Progress
from ubr.application.kernel.command import Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.ports.audit import DenialLog, LogFilter
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.actor import System
from ubr.domain.audit.checkpoint import Checkpoint
from ubr.domain.audit.erasures import Erasures
from ubr.domain.audit.events import USER_ERASED
from ubr.domain.audit.log_check import EXPORT_VERSION, Leaf
from ubr.domain.errors import Forbidden, LogPrunedMeanwhile
from ubr.domain.events import LogExported

Write: TypeAlias = Callable[[str], object]
"""Takes a line, including its line break."""


class ExportResult(Result, frozen=True, kw_only=True):
    """`checkpoint` is the signed note over all exported entries."""

    size: int
    checkpoint: str


class ExportLog(msgspec.Struct, frozen=True):
    """Export the whole audit log as lines of JSON that can be verified without the service and the database.

    - Only the service itself may. The export is recorded as an entry, the last one in the export.
    - The first line is the header: `ubr_log`, `size` and `keys`.
    - Then follows each entry in order: `index`, `id`, `leaf`, and `entry`, which is null if it was pruned. `client_ip`
      holds its client IP and the random bits of its digest, unless it was erased.
    - Reads page by page and holds no snapshot of the database. If the log is pruned or a user is erased
      meanwhile, the export fails.
    - Each checkpoint follows its last entry: `size` and `checkpoint`.
    """

    unit_of_work: UnitOfWork
    sequencer: Sequencer
    denials: DenialLog

    @denials_recorded
    async def __call__(self, write: Write, /, *, actor: System, progress: Progress | None = None) -> ExportResult:
        """Errors: any error of `write`; `LogDamaged`; `LogPrunedMeanwhile`."""
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
            keys = [str(key) for key in await tx.log_keys.note_keys()]
            pruned = await tx.log_records.pruned()
        write(_line(ubr_log=EXPORT_VERSION, size=size, keys=keys))
        done, erasures = 0, Erasures()
        while done < size and (page := await self._page(done, size, pruned, erasures)):
            done = page.end
            for line in page.lines:
                write(line)
            if progress is not None:
                progress(done, size)
        await self._check_erasures(erasures)
        return ExportResult(size=size, checkpoint=str(note))

    async def _check_erasures(self, erasures: Erasures) -> None:
        """Errors: `LogPrunedMeanwhile` if a client IP was erased by an act whose entry the export does not contain."""
        for person in erasures.unexplained():
            async with self.unit_of_work.peek() as tx:
                if await tx.logs.page(LogFilter(action=USER_ERASED, target_id=person), None, 1):
                    raise LogPrunedMeanwhile("A user was erased during the export: export the log again")

    async def _page(self, first: int, size: int, pruned: int, erasures: Erasures) -> _Page | None:
        """The lines of the next leaves, in a unit of their own; None without leaves. Errors: `LogPrunedMeanwhile`."""
        async with self.unit_of_work.read() as tx:
            leaves = await tx.log_records.leaves(first, min(PAGE, size - first))
            notes = dict(await tx.log_records.checkpoints(first, PAGE))
            now_pruned = await tx.log_records.pruned()
        lines = []
        for leaf in leaves:
            if leaf.entry is None and leaf.readable and pruned <= leaf.index < now_pruned:
                raise LogPrunedMeanwhile("The log was pruned during its export: export it again")
            lines.append(_leaf(leaf))
            if leaf.entry is not None and leaf.readable:
                with suppress(ValueError):  # verification names the entry
                    erasures.take(leaf.index, leaf.entry)
            if (end := leaf.index + 1) in notes:
                lines.append(_line(size=end, checkpoint=notes[end]))
        return _Page(lines, leaves[-1].index + 1) if leaves else None


class _Page(msgspec.Struct, frozen=True):
    """Lines of the export, and the number of entries up to their end."""

    lines: list[str]
    end: int


def _leaf(leaf: Leaf) -> str:
    if not leaf.readable:
        return _line(index=leaf.index, id=str(leaf.entry_id), leaf="", entry="cannot be read")
    fields: dict[str, Any] = {"index": leaf.index, "id": str(leaf.entry_id), "leaf": leaf.hash.hex(), "entry": None}
    if leaf.entry is not None:
        fields["entry"] = leaf.entry.exported()
        if (known := leaf.entry.client_ip) is not None:
            fields["client_ip"] = {"ip": known.ip, "salt": known.salt.hex()}
    return _line(**fields)


def _line(**fields: Any) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"
