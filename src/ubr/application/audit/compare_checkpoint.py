from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ubr.application.audit.sequencer import Sequencer, current_checkpoint, hash_of
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.representations import CheckpointResult, checkpoint_result
from ubr.application.ports.audit import DenialLog, LogFilter, LogSigning
from ubr.application.ports.paging import After
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import System
from ubr.domain.audit.checkpoint import BadNote, Checkpoint, Note
from ubr.domain.audit.entry import LogEntry
from ubr.domain.audit.merkle import BadProof, check_consistency, consistency
from ubr.domain.errors import CheckpointMismatch, Forbidden, Invalid
from ubr.domain.events import RESTORED

_PAGE: Final = 100


class CompareCheckpointCommand(Command, frozen=True, kw_only=True):
    """`checkpoint` is the text of one that was kept."""

    checkpoint: str


@dataclass(frozen=True, slots=True)
class CompareCheckpoint:
    """See whether the log is the continuation of a checkpoint that was kept outside the database.

    - Only the service itself may.
    - It is not where the log is shorter, or where its beginning is not what was signed then.
    - Over a restore, since which the log has another origin, it goes on in the same way: all that the checkpoint covers
      has to be in the log. Else an entry `service.restored` has to name this very checkpoint: then the log says itself
      what is lost. A restore that names an older one, or none, hides what the checkpoint shows.
    """

    unit_of_work: UnitOfWork
    sequencer: Sequencer
    signing: LogSigning
    denials: DenialLog

    @denials_recorded
    async def __call__(self, command: CompareCheckpointCommand, /, *, actor: System) -> CheckpointResult:
        """The newest checkpoint. Errors: `Invalid` for what is no checkpoint; `CheckpointMismatch`; `LogDamaged`."""
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may compare checkpoints")
        try:
            note = Note.parse(command.checkpoint)
            kept = Checkpoint.of(note)
        except BadNote as error:
            raise Invalid.at("/checkpoint", str(error)) from None
        async with self.unit_of_work.read() as tx:
            if await tx.log_tree.newest_checkpoint() is None:
                raise CheckpointMismatch(f"The checkpoint that was kept has {kept.size} entries, and the log none")
            here = Checkpoint.of(await current_checkpoint(tx))
            settled = await self._settled(tx, note)
            if not settled:
                await self._signed_here(tx, note)
            if not settled or kept.origin == here.origin:
                await self._continued(tx, kept, here)
        # Not earlier: where the two do not fit, nothing more may be signed under this name.
        await self.sequencer(wait=True)
        async with self.unit_of_work.read() as tx:
            return checkpoint_result(await current_checkpoint(tx))

    async def _settled(self, tx: Transaction, note: Note) -> bool:
        """Whether a restore that was settled named this very checkpoint: its key may be lost with the rest.

        The entry that says so has to be signed, else anybody who can write to the database could have said it.
        """
        after: After[datetime] | None = None
        while restores := await tx.logs.page(LogFilter(action=RESTORED), after, _PAGE):
            for entry in restores:
                if _names(entry, note) and await tx.log_tree.index_of(entry.id) is not None:
                    return True
            after = After(restores[-1].timestamp, restores[-1].id)
        return False

    async def _signed_here(self, tx: Transaction, note: Note) -> None:
        try:
            keys = await tx.log_keys.all()
            if any(note.signed_by(key.note_key, self.signing.verify) for key in keys):
                return
        except BadNote as error:
            raise CheckpointMismatch(f"The checkpoint {error}") from None
        raise CheckpointMismatch("The checkpoint is signed by no key that this log has, or had")

    async def _continued(self, tx: Transaction, kept: Checkpoint, here: Checkpoint) -> None:
        if kept.origin != here.origin and kept.size > here.size:
            raise _unsettled(kept)
        if kept.size > here.size:
            raise CheckpointMismatch(
                f"The checkpoint that was kept has {kept.size} entries and the log {here.size}: the log was cut, or "
                "the database was put back to an earlier state"
            )
        proof = [await hash_of(tx, span) for span in consistency(kept.size, here.size)] if kept.size else []
        try:
            check_consistency(kept.size, kept.root, here.size, here.root, [] if kept.size == here.size else proof)
        except BadProof:
            if kept.origin != here.origin:
                raise _unsettled(kept) from None
            raise CheckpointMismatch(
                f"The first {kept.size} entries of the log are not those that were signed when the checkpoint was kept"
            ) from None


def _names(entry: LogEntry, note: Note) -> bool:
    """Whether an entry names this checkpoint. Who signed it beside the log makes no other one of it."""
    try:
        return Note.parse(str(entry.facts.get("checkpoint"))).text == note.text
    except BadNote:
        return False


def _unsettled(kept: Checkpoint) -> CheckpointMismatch:
    return CheckpointMismatch(
        f"Since a restore the log has another origin, and of the {kept.size} entries that the checkpoint covers some "
        "are not in it. No entry service.restored names this checkpoint: what it shows to be lost was not told"
    )
