from __future__ import annotations

from typing import Final

import msgspec

from ubr.application.audit.sequencer import Sequencer, current_checkpoint, hash_of
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.paging import walk
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
    """`checkpoint` is the text of a saved checkpoint."""

    checkpoint: str


class CompareCheckpoint(msgspec.Struct, frozen=True):
    """Check that the log continues a checkpoint that was saved outside the database.

    - Only the service itself may.
    - The check fails if the log is shorter, or if its beginning does not match the checkpoint.
    - After a restore, which gives the log a new origin, the log still has to contain all entries that the checkpoint
      covers, or an entry `service.restored` has to name exactly this checkpoint: then the log itself records the loss.
      A restore that names an earlier checkpoint, or none, hides the loss that this checkpoint shows.
    """

    unit_of_work: UnitOfWork
    sequencer: Sequencer
    signing: LogSigning
    denials: DenialLog

    @denials_recorded
    async def __call__(self, command: CompareCheckpointCommand, /, *, actor: System) -> CheckpointResult:
        """The newest checkpoint.

        Errors: `Invalid` for a text that is not a checkpoint; `CheckpointMismatch`; `LogDamaged`.
        """
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may compare checkpoints")
        try:
            note = Note.parse(command.checkpoint)
            kept = Checkpoint.of(note)
        except BadNote as error:
            raise Invalid.at("/checkpoint", str(error)) from None
        async with self.unit_of_work.read() as tx:
            if await tx.log_tree.newest_checkpoint() is None:
                raise CheckpointMismatch(f"The saved checkpoint has {kept.size} entries, and the log has none")
            here = Checkpoint.of(await current_checkpoint(tx))
            settled = await self._settled(tx, note)
            if not settled:
                await self._signed_here(tx, note)
            if not settled or kept.origin == here.origin:
                await self._continued(tx, kept, here)
        # Only now: if the two do not match, nothing more may be signed under this name.
        await self.sequencer(wait=True)
        async with self.unit_of_work.read() as tx:
            return checkpoint_result(await current_checkpoint(tx))

    async def _settled(self, tx: Transaction, note: Note) -> bool:
        """True if an acknowledged restore named exactly this checkpoint: its key may be lost with the other data.

        The entry that names it has to be signed; otherwise anyone with write access to the database could add one.
        """
        restores = walk(
            lambda after: tx.logs.page(LogFilter(action=RESTORED), after, _PAGE),
            lambda entry: After(entry.timestamp, entry.id),
            limit=_PAGE,
        )
        async for entry in restores:
            if _names(entry, note) and await tx.log_tree.index_of(entry.id) is not None:
                return True
        return False

    async def _signed_here(self, tx: Transaction, note: Note) -> None:
        try:
            keys = await tx.log_keys.note_keys()
            if any(note.signed_by(key, self.signing.verify) for key in keys):
                return
        except BadNote as error:
            raise CheckpointMismatch(f"The checkpoint {error}") from None
        raise CheckpointMismatch("The checkpoint is not signed by a current or former key of this log")

    async def _continued(self, tx: Transaction, kept: Checkpoint, here: Checkpoint) -> None:
        if kept.origin != here.origin and kept.size > here.size:
            raise _unsettled(kept)
        if kept.size > here.size:
            raise CheckpointMismatch(
                f"The saved checkpoint has {kept.size} entries and the log {here.size}: the log was truncated, or "
                "the database was restored to an earlier state"
            )
        proof = [await hash_of(tx, span) for span in consistency(kept.size, here.size)] if kept.size else []
        try:
            check_consistency(kept.size, kept.root, here.size, here.root, [] if kept.size == here.size else proof)
        except BadProof:
            if kept.origin != here.origin:
                raise _unsettled(kept) from None
            raise CheckpointMismatch(
                f"The first {kept.size} entries of the log are not the entries that the saved checkpoint signed"
            ) from None


def _names(entry: LogEntry, note: Note) -> bool:
    """True if an entry names this checkpoint. Additional signatures do not make it another checkpoint."""
    try:
        return Note.parse(str(entry.facts.get("checkpoint"))).text == note.text
    except BadNote:
        return False


def _unsettled(kept: Checkpoint) -> CheckpointMismatch:
    return CheckpointMismatch(
        f"The log has another origin since a restore, and lacks some of the {kept.size} entries that the checkpoint "
        "covers. No entry service.restored names this checkpoint, so the loss that it shows was not recorded"
    )
