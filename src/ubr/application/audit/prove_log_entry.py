from __future__ import annotations

import base64
from typing import Annotated, Final
from uuid import UUID

import msgspec

from ubr.application.access.authorization import Authorize
from ubr.application.audit.sequencer import Sequencer, current_checkpoint, hash_of
from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.fields import EXAMPLE_HASH, Id, example
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.audit.checkpoint import Checkpoint
from ubr.domain.audit.merkle import inclusion
from ubr.domain.errors import LogEntryNotFound
from ubr.domain.events import LogEntryRead
from ubr.domain.ids import LogEntryId
from ubr.domain.roles.permissions import LOGS_READ


class ProveLogEntryCommand(Command, frozen=True, kw_only=True):
    entry_id: UUID


_EXAMPLE_CHECKPOINT: Final = (
    "ubr.example.org/log/3e32012da7780fca\n"
    f"5\n{EXAMPLE_HASH}\n\n"
    f"— ubr.example.org/log/3e32012da7780fca {EXAMPLE_HASH}\n"
)


class ProofResult(Result, frozen=True, kw_only=True):
    """An inclusion proof of an entry. Hashes and content are base64.

    `content` is the canonical bytes of the entry, null once pruned: `leaf_hash` is the SHA-256 of a zero byte and
    these bytes. From there `hashes`, nearest first, lead to the root of the checkpoint (RFC 9162, 2.1.3.2).
    """

    entry_id: Id
    index: Annotated[int, example(4)]
    size: Annotated[int, example(5)]
    leaf_hash: Annotated[str, example(EXAMPLE_HASH)]
    hashes: Annotated[list[str], example([EXAMPLE_HASH])]
    content: Annotated[str | None, example(None)]
    checkpoint: Annotated[str, example(_EXAMPLE_CHECKPOINT)]


class ProveLogEntry(msgspec.Struct, frozen=True):
    """Read the inclusion proof of an audit log entry against the newest checkpoint. Requires `logs:read`."""

    authorize: Authorize
    unit_of_work: UnitOfWork
    sequencer: Sequencer
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: ProveLogEntryCommand, /, *, actor: Actor | System) -> ProofResult:
        """Errors: `LogEntryNotFound`; `LogDamaged` if the log does not match its signatures."""
        (await self.authorize(actor)).require(LOGS_READ)
        await self.sequencer(wait=True)
        entry_id = LogEntryId(command.entry_id)
        async with self.unit_of_work.read() as tx:
            proof = await self._prove(tx, entry_id)
        async with self.unit_of_work.begin(actor) as tx:
            tx.record(LogEntryRead(entry_id=entry_id))
            await tx.commit()
        return proof

    async def _prove(self, tx: Transaction, entry_id: LogEntryId) -> ProofResult:
        index = await tx.log_tree.index_of(entry_id)
        if index is None:
            raise LogEntryNotFound
        note = await current_checkpoint(tx)
        checkpoint = Checkpoint.of(note)
        entry = await tx.logs.get(entry_id)
        [leaf] = await tx.log_tree.hashes(0, index, 1)
        return ProofResult(
            entry_id=entry_id,
            index=index,
            size=checkpoint.size,
            leaf_hash=_text(leaf),
            hashes=[_text(await hash_of(tx, span)) for span in inclusion(index, checkpoint.size)],
            content=None if entry is None else _text(entry.canonical()),
            checkpoint=str(note),
        )


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
