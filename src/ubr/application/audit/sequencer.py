"""Conversion of entries to leaves: adds new log entries to the tree, and signs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import STORED_LEVELS, LogSigning
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import SYSTEM
from ubr.domain.audit.checkpoint import BadNote, Checkpoint, LogKey, Note
from ubr.domain.audit.entry import LogEntry
from ubr.domain.audit.merkle import Frontier, Node, Span, join, nodes_of, root_of
from ubr.domain.errors import LogDamaged, LogKeyLocked
from ubr.domain.events import LOG_KEY_ROTATED, RESTORED

BATCH: Final = 256
"""Maximum number of entries in one unit. Their computation blocks the event loop for about 3 ms."""

_ROUNDS: Final = 1000


class _Memory(msgspec.Struct):
    """The log as this process last saw it: under one name, it never gets shorter."""

    origin: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Sequencer:
    """One round: adds all waiting entries to the tree, in units of at most 256, each with a signed checkpoint.

    - One process at a time adds to the tree. Use cases never wait for it.
    - The stored tree must match the last signature before anything is added.
    - A new key signs, beside its predecessor, the first checkpoint over the entry that names it, and all later ones.
    """

    unit_of_work: UnitOfWork
    signing: LogSigning
    _memory: _Memory = field(default_factory=_Memory, init=False, repr=False)

    async def __call__(self, *, wait: bool = False) -> int:
        """The number of entries added; 0 also if another process is the writer, unless `wait` is set.

        Errors: `LogDamaged`; `LogKeyLocked`; `StoreUnavailable`.
        """
        total = 0
        for _ in range(_ROUNDS):
            async with self.unit_of_work.peek() as tx:
                if not await tx.log_tree.anything_waiting():
                    break
            added = await self._batch(wait=wait)
            total += added
            if added < BATCH:
                break
        return total

    @retry_on_conflict
    async def _batch(self, *, wait: bool) -> int:
        async with self.unit_of_work.begin(SYSTEM) as tx:
            if not await tx.log_tree.lead(wait=wait):
                return 0
            frontier = await tx.log_tree.state()
            signed = await tx.log_tree.newest_checkpoint()
            keys = await tx.log_keys.all()
            signers = self._signers(keys, signed, frontier)
            entries = await tx.log_tree.waiting(BATCH)
            if not entries:
                return 0
            first, leaves = frontier.size, [(entry.id, entry.leaf) for entry in entries]
            nodes = self._grow(frontier, [leaf for _, leaf in leaves])
            note = self._sign(frontier, self._with_successor(signers, keys, entries))
            await tx.log_tree.extend(first, leaves, nodes, frontier, str(note))
            await tx.commit()
        self._memory.origin, self._memory.size = Checkpoint.of(note).origin, frontier.size
        return len(entries)

    def _grow(self, frontier: Frontier, leaves: Sequence[bytes]) -> list[tuple[Node, bytes]]:
        """Add leaves. Returns the completed nodes that are stored."""
        kept: list[tuple[Node, bytes]] = []

        def completed(node: Node, hashed: bytes) -> None:
            if node.level % STORED_LEVELS == 0:
                kept.append((node, hashed))

        for leaf in leaves:
            frontier.append(leaf, completed)
        return kept

    def _signers(self, keys: Sequence[LogKey], signed: str | None, frontier: Frontier) -> list[LogKey]:
        """The current signing key: the newest that signed the last checkpoint.

        Errors: `LogDamaged` if the tree does not match the last signature.
        """
        if not keys:
            raise LogDamaged("The log has no signing key")
        if signed is None:
            if frontier.size:
                raise LogDamaged("The log has no checkpoint")
            return list(keys[:1])  # if it has a successor already, an entry names it
        try:
            note = Note.parse(signed)
            checkpoint = Checkpoint.of(note)
            signers = [key for key in keys if note.signed_by(key.note_key, self.signing.verify)]
        except BadNote as error:
            raise LogDamaged(f"The newest checkpoint {error}") from None
        if not signers:
            raise LogDamaged("The newest checkpoint is not signed by a key of this log")
        if (checkpoint.size, checkpoint.root) != (frontier.size, frontier.root()):
            raise LogDamaged("The head of the log does not match its signature")
        if checkpoint.origin == self._memory.origin and checkpoint.size < self._memory.size:
            raise LogDamaged("The log is shorter than before")
        return signers[-1:]

    def _with_successor(
        self, signers: list[LogKey], keys: Sequence[LogKey], entries: Sequence[LogEntry]
    ) -> list[LogKey]:
        """These keys, and the successor that the entries name.

        The successor must be one of our stored keys, because only a holder of the secret can encrypt those. A signature
        of the current key alone does not prove that the successor is ours. Errors: `LogDamaged`, `LogKeyLocked`.
        """
        known = {key.label: key for key in keys}
        for entry in entries:
            if entry.action in {LOG_KEY_ROTATED, RESTORED}:
                key = known.get("" if entry.target is None else entry.target.id)
                if key is None:
                    raise LogDamaged(f"The entry {entry.id} names a key that does not exist")
                self.signing.check(key)
                signers = [*(one for one in signers if one != key), key]
        return sorted(signers, key=lambda key: key.number)

    def _sign(self, frontier: Frontier, signers: Sequence[LogKey]) -> Note:
        """A note signed by all keys, in the name of the last key.

        A secret must decrypt the last key. Retiring keys may be locked.
        """
        checkpoint = Checkpoint(signers[-1].name, frontier.size, frontier.root())
        note = Note(checkpoint.text, ())
        for key in signers:
            try:
                note = note.with_signature(key.note_key, self.signing.sign(key, note.text.encode()))
            except LogKeyLocked:
                if key == signers[-1]:
                    raise
        return note


async def hash_of(tx: Transaction, span: Span) -> bytes:
    """The hash of a range of the tree, from the stored nodes. Errors: `LogDamaged` if some are missing."""
    return join([await _hash_of_node(tx, node) for node in nodes_of(span)])


async def _hash_of_node(tx: Transaction, node: Node) -> bytes:
    deeper = node.level % STORED_LEVELS
    kept = await tx.log_tree.hashes(node.level - deeper, node.position << deeper, 1 << deeper)
    if len(kept) != 1 << deeper:
        raise LogDamaged("A part of the log's tree is missing")
    return root_of(kept)


async def current_checkpoint(tx: Transaction) -> Note:
    """The newest checkpoint. Errors: `LogDamaged` if there is none, or it cannot be read."""
    raw = await tx.log_tree.newest_checkpoint()
    if raw is None:
        raise LogDamaged("The log has no checkpoint")
    try:
        return Note.parse(raw)
    except BadNote as error:
        raise LogDamaged(f"The newest checkpoint {error}") from None
