"""Whether a log is what was signed: one walk over it, from the first entry to the last, in which nothing is believed
that has not been computed.

It does not matter where the log comes from: a live database and an export are walked alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from ubr.domain.audit import LogEntry
from ubr.domain.checkpoint import BadNote, Checkpoint, Note, NoteKey, VerifySignature
from ubr.domain.events import LOG_KEY_CREATED, LOG_KEY_ROTATED, LOG_PRUNED, RESTORED
from ubr.domain.merkle import Frontier, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """An entry in its place. `entry` is None where its content is gone; `readable` is False where it is no entry."""

    index: int
    entry_id: UUID
    hash: bytes
    entry: LogEntry | None
    readable: bool = True


class Tampered(Exception):
    """Something does not fit. `index` is the first entry of which that is known.

    Where the tree was computed anew, only that one of the entries from `index` to `last` is not what was signed. Both
    are None where it is about none.
    """

    def __init__(
        self, sentence: str, *, index: int | None = None, last: int | None = None, entry_id: UUID | None = None
    ) -> None:
        self.index = index
        self.last = index if last is None else last
        self.entry_id = entry_id
        super().__init__(sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found to be right. `unsigned` counts checkpoints of keys that are not known."""

    size: int
    root: bytes
    pruned: int
    """How many entries have no content any more."""
    pruned_to: int
    """Up to where the log says that they need not have any."""
    checkpoints: int
    unsigned: int
    signer: NoteKey | None


@dataclass(slots=True)
class LogCheck:
    """The walk: every leaf in its order, after each the checkpoint of that size, and then the end.

    `keys` are those that are trusted. Where they are `declared` they come from the log's own keeper: then every
    checkpoint has to be signed by one of them, and it is not shown that the keeper has not made them up. Else a key
    that follows is trusted once a trusted one has signed the first checkpoint over the entry that names it.

    `against` are checkpoints that were kept elsewhere.

    Errors: `BadNote` for one of those that no key here could have signed.
    """

    verify: VerifySignature
    keys: Sequence[NoteKey]
    declared: bool = False
    against: Sequence[Note] = ()
    completed: Callable[[Node, bytes], object] | None = None
    """Told of every node of the tree that is whole."""

    frontier: Frontier = field(default_factory=Frontier, init=False)
    _trusted: dict[str, NoteKey] = field(init=False)
    _known: dict[str, NoteKey] = field(init=False)
    """Also those whose time is over."""
    _announced: dict[str, NoteKey] = field(default_factory=dict, init=False)
    _anchored: bool = field(init=False)
    """Whether it is known from some entry on who signs."""
    _missing: list[tuple[int, UUID]] = field(default_factory=list, init=False)
    """The first of every run of entries whose content is gone."""
    _gone: int = field(default=0, init=False)
    _last_gone: int = field(default=-1, init=False)
    _pruned: int = field(default=0, init=False)
    _fits: int = field(default=0, init=False)
    """The size up to which a checkpoint fits."""
    _checkpoints: int = field(default=0, init=False)
    _unsigned: int = field(default=0, init=False)
    _signer: NoteKey | None = field(default=None, init=False)
    _kept: dict[int, list[Checkpoint]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._trusted = {key.label: key for key in self.keys}
        self._known = dict(self._trusted)
        self._anchored = self.declared
        for note in self.against:
            checkpoint = Checkpoint.of(note)
            self._kept.setdefault(checkpoint.size, []).append(checkpoint)
        self._compare()

    def leaf(self, leaf: Leaf) -> None:
        """The next entry. Errors: `Tampered`."""
        at = self.frontier.size
        if leaf.index != at:
            raise Tampered(f"Entry {at} is not there", index=at)
        if not leaf.readable:
            raise Tampered(f"Entry {at} ({leaf.entry_id}) cannot be read", index=at, entry_id=leaf.entry_id)
        if leaf.entry is None:
            self._miss(leaf)
        elif leaf.entry.id != leaf.entry_id or leaf.entry.leaf != leaf.hash:
            raise Tampered(f"Entry {at} ({leaf.entry_id}) was changed", index=at, entry_id=leaf.entry_id)
        self.frontier.append(leaf.hash, self.completed)
        self._compare()
        if leaf.entry is not None:
            self._heed(at, leaf.entry)

    def checkpoint(self, size: int, raw: str) -> None:
        """The checkpoint that was written down for a size, behind the last entry of it. Errors: `Tampered`."""
        if size != self.frontier.size or size <= self._fits:
            raise Tampered(f"There is a checkpoint of size {size} where none should be", index=min(size, self._fits))
        try:
            note = Note.parse(raw)
            checkpoint = Checkpoint.of(note)
            signers = self._signers(note, checkpoint)
        except BadNote as error:
            raise Tampered(f"The checkpoint of size {size} {error}", index=self._fits, last=size - 1) from None
        if checkpoint.size != size:
            raise Tampered(f"The checkpoint of size {size} is that of another size", index=self._fits, last=size - 1)
        self._fit(checkpoint, "The checkpoint")
        if signers:
            self._anchored = True
            self._signer = signers[-1]
            self._checkpoints += 1
        elif self._anchored:
            raise Tampered(
                f"The checkpoint of size {size} is not signed by a key that is trusted", index=self._fits, last=size - 1
            )
        else:
            self._unsigned += 1
        self._fits = size

    def waiting(self, entry: LogEntry) -> None:
        """An entry that is not in the tree yet. What it says of pruning counts: that has been done already."""
        if entry.action == LOG_PRUNED:
            self._heed(self.frontier.size, entry)

    def end(self) -> Checked:
        """There are no more entries. Errors: `Tampered`; `BadNote` for a checkpoint of another log."""
        size = self.frontier.size
        if size != self._fits:
            raise Tampered(f"No checkpoint covers the entries from {self._fits} on", index=self._fits, last=size - 1)
        for index, entry_id in self._missing:
            if index >= self._pruned:
                raise Tampered(f"Entry {index} ({entry_id}) is gone", index=index, entry_id=entry_id)
        if self._last_gone >= self._pruned:
            raise Tampered(f"Entry {self._pruned} is gone", index=self._pruned)
        if size and not self._anchored:
            raise Tampered("No checkpoint is signed by a key that is trusted", index=0, last=size - 1)
        for note in self.against:
            self._look_back(note, size)
        return Checked(
            size=size,
            root=self.frontier.root(),
            pruned=self._gone,
            pruned_to=self._pruned,
            checkpoints=self._checkpoints,
            unsigned=self._unsigned,
            signer=self._signer,
        )

    def _miss(self, leaf: Leaf) -> None:
        if leaf.index != self._last_gone + 1 or not self._missing:
            self._missing.append((leaf.index, leaf.entry_id))
        self._last_gone = leaf.index
        self._gone += 1

    def _heed(self, at: int, entry: LogEntry) -> None:
        """What an entry says to whoever checks the log. A later checkpoint will show whether it was signed."""
        if entry.action not in {LOG_PRUNED, LOG_KEY_CREATED, LOG_KEY_ROTATED, RESTORED}:
            return
        try:
            facts = entry.facts
            if entry.action == LOG_PRUNED:
                self._pruned = max(self._pruned, min(int(facts["size"]), at))
                return
            key = NoteKey.parse(facts["key"])
        except (BadNote, KeyError, TypeError, ValueError):
            raise Tampered(f"Entry {at} ({entry.id}) says nothing that is known", index=at, entry_id=entry.id) from None
        if entry.action == LOG_KEY_CREATED:
            self._anchored = self._anchored or key.label in self._trusted
        else:
            self._announced[key.label] = key

    def _signers(self, note: Note, checkpoint: Checkpoint) -> list[NoteKey]:
        """The trusted keys that signed it. One that is announced and signs beside them is trusted in their place."""
        signers = [key for key in self._trusted.values() if note.signed_by(key, self.verify)]
        coming = [key for key in self._announced.values() if note.signed_by(key, self.verify)]
        if signers and coming:
            self._announced.clear()
            if not self.declared:
                self._trusted = {key.label: key for key in coming}
                self._known |= self._trusted
            signers += [key for key in coming if key not in signers]
        if signers and all(key.name != checkpoint.origin for key in signers):
            raise BadNote("is of another log than its key")
        return signers

    def _compare(self) -> None:
        for checkpoint in self._kept.get(self.frontier.size, ()):
            self._fit(checkpoint, "The checkpoint that was kept")

    def _fit(self, checkpoint: Checkpoint, what: str) -> None:
        if checkpoint.root != self.frontier.root():
            last = self.frontier.size - 1
            raise Tampered(
                f"{what} of size {checkpoint.size} does not fit: of the entries {self._fits} to {last} at least one is "
                "not what was signed",
                index=self._fits,
                last=last,
            )

    def _look_back(self, note: Note, size: int) -> None:
        checkpoint = Checkpoint.of(note)
        signers = [key for key in self._known.values() if note.signed_by(key, self.verify)]
        if not signers or all(key.name != checkpoint.origin for key in signers):
            raise BadNote(f"is not signed by a key of this log, but of {checkpoint.origin}")
        if checkpoint.size > size:
            raise Tampered(
                f"The log ends at size {size}, and the checkpoint that was kept is of size {checkpoint.size}: the "
                f"entries from {size} on are gone",
                index=size,
                last=checkpoint.size - 1,
            )
