"""Verification of a log against its signatures: one walk from the first entry to the last that trusts only computed
values.

The source of the log does not matter: a live database and an export are walked in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from ubr.domain.audit.checkpoint import BadNote, Checkpoint, Note, NoteKey, VerifySignature
from ubr.domain.audit.entry import LogEntry
from ubr.domain.audit.erasures import Erasures
from ubr.domain.audit.events import LOG_KEY_CREATED, LOG_KEY_ROTATED, LOG_PRUNED, RESTORED, USER_ERASED
from ubr.domain.audit.merkle import Frontier, Node

EXPORT_VERSION: Final = 1
"""Version of the export's line format."""


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """An entry at its index.

    `entry` is None if it was pruned; `readable` is False if the stored data is not an entry.
    """

    index: int
    entry_id: UUID
    hash: bytes
    entry: LogEntry | None
    readable: bool = True


class Tampered(Exception):
    """A check failed. `index` is the first entry known to be affected.

    If the tree was recomputed, one of the entries from `index` to `last` differs from the signed one.
    Both are None if the failure concerns no entry.
    """

    def __init__(
        self, sentence: str, *, index: int | None = None, last: int | None = None, entry_id: UUID | None = None
    ) -> None:
        self.index = index
        self.last = index if last is None else last
        self.entry_id = entry_id
        super().__init__(sentence)


class RestoreFound(msgspec.Struct, frozen=True, kw_only=True):
    """A restore of the database to an earlier state. `index` is the entry that records it, or the first one after it.

    `at` is None if that entry was pruned; the new origin of the log still shows the restore. `checkpoint` is the
    earlier checkpoint that the entry names.
    """

    index: int
    at: datetime | None
    checkpoint: str | None


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a successful check. `unsigned` counts checkpoints of unknown keys."""

    size: int
    root: bytes
    pruned: int
    """Number of entries without content."""
    pruned_to: int
    """Number of entries that may be without content, according to the log."""
    checkpoints: int
    unsigned: int
    signer: NoteKey | None
    restores: tuple[RestoreFound, ...] = ()


@dataclass(slots=True)
class LogCheck:
    """The walk: every leaf in order, after each the checkpoint of that size, and then the end.

    `keys` are trusted. If they are `declared`, they come from the keeper of the log: every checkpoint must then be
    signed by one of them, and nothing proves that the keeper did not invent them. Otherwise, a succeeding key becomes
    trusted once a trusted key has signed the first checkpoint over the entry that names it.

    `against` are checkpoints that were kept elsewhere.

    Errors: `BadNote` for one of those that no key here could have signed.
    """

    verify: VerifySignature
    keys: Sequence[NoteKey]
    declared: bool = False
    against: Sequence[Note] = ()
    completed: Callable[[Node, bytes], object] | None = None
    """Called with every completed node of the tree."""

    frontier: Frontier = field(default_factory=Frontier, init=False)
    _trusted: dict[str, NoteKey] = field(init=False)
    _known: dict[str, NoteKey] = field(init=False)
    """Includes keys that no longer sign."""
    _announced: dict[str, NoteKey] = field(default_factory=dict, init=False)
    _anchored: bool = field(init=False)
    """True if the signer is known from some entry on."""
    _gone: int = field(default=0, init=False)
    """Number of entries, counted from the first, without content."""
    _moved: int = field(default=0, init=False)
    """How far the log was pruned during the walk."""
    _hole: Leaf | None = field(default=None, init=False)
    """The first entry without content after an entry with content."""
    _pruned: int = field(default=0, init=False)
    _covered: int = field(default=0, init=False)
    """The size of the last checkpoint."""
    _fits: int = field(default=0, init=False)
    """The size of the last checkpoint that a trusted key signed."""
    _fits_kept: int = field(default=0, init=False)
    """The size of the last matching checkpoint that was kept elsewhere: it holds even if the signing key has leaked."""
    _checkpoints: int = field(default=0, init=False)
    _unsigned: int = field(default=0, init=False)
    _signer: NoteKey | None = field(default=None, init=False)
    _origin: str | None = field(default=None, init=False)
    """The origin of the last checkpoint."""
    _restores: list[RestoreFound] = field(default_factory=list, init=False)
    _erasures: Erasures = field(default_factory=Erasures, init=False)
    _kept: dict[int, list[Note]] = field(default_factory=dict, init=False)
    _strange: list[tuple[Note, Tampered]] = field(default_factory=list, init=False)
    """Kept checkpoints that do not match, each with the error to raise if a later key turns out to have signed it."""

    def __post_init__(self) -> None:
        self._trusted = {key.label: key for key in self.keys}
        self._known = dict(self._trusted)
        self._anchored = self.declared
        for note in self.against:
            self._kept.setdefault(Checkpoint.of(note).size, []).append(note)
        self._compare()

    def leaf(self, leaf: Leaf) -> None:
        """Check the next entry. Errors: `Tampered`, `BadNote`."""
        at = self.frontier.size
        if leaf.index != at:
            raise Tampered(f"Entry {at} is missing", index=at)
        try:
            computed = leaf.hash if leaf.entry is None else leaf.entry.leaf
        except (ValueError, TypeError, AttributeError, OverflowError):  # for example a moment outside the calendar
            computed = None
        if not leaf.readable or computed is None:
            raise Tampered(f"Entry {at} ({leaf.entry_id}) cannot be read", index=at, entry_id=leaf.entry_id)
        if leaf.entry is None:
            self._miss(leaf)
        elif leaf.entry.id != leaf.entry_id or computed != leaf.hash:
            raise Tampered(f"Entry {at} ({leaf.entry_id}) was changed", index=at, entry_id=leaf.entry_id)
        self.frontier.append(leaf.hash, self.completed)
        if leaf.entry is not None:
            self._heed(at, leaf.entry)
            self._look_at_ip(at, leaf.entry)
        self._compare()

    def checkpoint(self, size: int, raw: str) -> None:
        """Check the stored checkpoint of a size, after its last entry. Errors: `Tampered`."""
        if size != self.frontier.size or size <= self._covered:
            raise self._within(f"There is an unexpected checkpoint of size {size}", size)
        try:
            note = Note.parse(raw)
            checkpoint = Checkpoint.of(note)
            signers = self._signers(note, checkpoint)
        except BadNote as error:
            raise self._within(f"The checkpoint of size {size} {error}", size) from None
        if checkpoint.size != size:
            raise self._within(f"The checkpoint of size {size} states another size", size)
        if checkpoint.root != self.frontier.root():
            raise self._within(f"The checkpoint of size {size} does not match the entries", size)
        self._follow(checkpoint.origin)
        self._covered = size
        if signers:
            self._anchored = True
            self._signer = signers[-1]
            self._checkpoints += 1
            self._fits = size
        elif self._anchored:
            raise self._within(f"The checkpoint of size {size} is not signed by a trusted key", size)
        else:
            self._unsigned += 1

    def waiting(self, entry: LogEntry) -> None:
        """Read an entry that is not in the tree yet. If it records a pruning, that pruning has been done and counts.

        So does the erasure of a user's client IPs.
        """
        if entry.action in {LOG_PRUNED, RESTORED}:
            self._heed(self.frontier.size, entry)
        if entry.action == USER_ERASED:
            self._erasures.take(self.frontier.size, entry)

    def pruned_meanwhile(self, size: int) -> None:
        """The log was pruned up to this size during the walk: entries before it, read from now on, may be without
        content although earlier ones had it.
        """
        self._moved = size

    def end(self) -> Checked:
        """Finish after the last entry. Errors: `Tampered`; `BadNote` for a checkpoint of another log."""
        size = self.frontier.size
        if size != self._covered:
            raise Tampered(f"No checkpoint covers the entries from {self._covered}", index=self._covered, last=size - 1)
        if size and not self._anchored:
            raise Tampered("No checkpoint is signed by a trusted key", index=0, last=size - 1)
        if self._gone > self._pruned:
            raise Tampered(f"The content of entry {self._pruned} is missing", index=self._pruned)
        if self._hole is not None:
            raise _gone(self._hole)
        for index in self._erasures.unexplained().values():
            raise Tampered(f"The client IP of entry {index} is missing, and no entry records its erasure", index=index)
        for note, finding in self._strange:
            raise finding if self._kept_by(note, self._known) else _of_another_log(note)
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
            restores=tuple(self._restores),
        )

    def _look_at_ip(self, at: int, entry: LogEntry) -> None:
        """Check the client IP beside an entry. Errors: `Tampered`."""
        try:
            wrong = entry.has_wrong_ip
            self._erasures.take(at, entry)
        except ValueError:
            raise Tampered(f"Entry {at} ({entry.id}) has unknown content", index=at, entry_id=entry.id) from None
        if wrong:
            raise Tampered(f"The client IP of entry {at} ({entry.id}) was changed", index=at, entry_id=entry.id)

    def _miss(self, leaf: Leaf) -> None:
        """Content is pruned in tree order. Content before a pruned entry may have been inserted."""
        if self._gone == leaf.index or leaf.index < self._moved:
            self._gone = leaf.index + 1
        elif self._hole is None:
            self._hole = leaf

    def _within(self, sentence: str, size: int) -> Tampered:
        """The error for a failed checkpoint of that size: something changed since the last one that matched."""
        if self._hole is not None and self._hole.index < self._fits:
            return _gone(self._hole)  # everything before it is as signed
        since = max(self._fits, self._fits_kept if self._fits_kept < self.frontier.size else 0)
        return Tampered(sentence, index=since, last=max(since, self.frontier.size - 1, size - 1))

    def _heed(self, at: int, entry: LogEntry) -> None:
        """Interpret an entry that matters to verification. A later checkpoint shows that it was signed."""
        if entry.action not in {LOG_PRUNED, LOG_KEY_CREATED, LOG_KEY_ROTATED, RESTORED}:
            return
        try:
            facts = entry.facts
            if entry.action == LOG_PRUNED:
                self._pruned = max(self._pruned, min(int(facts["size"]), at))
                return
            key = NoteKey.parse(facts["key"])
        except (BadNote, KeyError, TypeError, ValueError, OverflowError):
            raise Tampered(f"Entry {at} ({entry.id}) has unknown content", index=at, entry_id=entry.id) from None
        if entry.action == RESTORED:
            named = facts.get("checkpoint")
            self._restores.append(
                RestoreFound(index=at, at=entry.timestamp, checkpoint=None if named is None else str(named))
            )
        if entry.action == LOG_KEY_CREATED:
            self._anchored = self._anchored or key.label in self._trusted
        else:
            self._announced[key.label] = key

    def _follow(self, origin: str) -> None:
        """Note the origin of a checkpoint. Only a restore gives a log a new origin."""
        told = any(self._covered <= found.index < self.frontier.size for found in self._restores)
        if self._origin not in {None, origin} and not told:
            self._restores.append(RestoreFound(index=self._covered, at=None, checkpoint=None))
        self._origin = origin

    def _signers(self, note: Note, checkpoint: Checkpoint) -> list[NoteKey]:
        """The trusted keys that signed it, in order of their signatures: the last signer continues.

        An announced key that signs beside them replaces them as trusted.
        """
        signers = [key for key in self._trusted.values() if note.signed_by(key, self.verify)]
        coming = [key for key in self._announced.values() if note.signed_by(key, self.verify)]
        if signers and coming:
            self._announced.clear()
            if not self.declared:
                self._trusted = {key.label: key for key in coming}
                self._known |= self._trusted
            signers += [key for key in coming if key not in signers]
        if signers and all(key.name != checkpoint.origin for key in signers):
            raise BadNote("belongs to another log than its key")
        order = [one.key_id for one in note.signatures]
        return sorted(signers, key=lambda key: order.index(key.id))

    def _compare(self) -> None:
        """Compare the kept checkpoints of this size."""
        size = self.frontier.size
        for note in self._kept.get(size, ()):
            # An announced key signs the first checkpoint over the entry that names it: here it may come first.
            known = self._kept_by(note, self._known | self._announced)
            if Checkpoint.of(note).root == self.frontier.root():
                self._fits_kept = max(self._fits_kept, size if known else 0)
                continue
            finding = Tampered(
                f"The saved checkpoint of size {size} does not match the log",
                index=min(self._fits_kept, max(size - 1, 0)),
                last=max(size - 1, 0),
            )
            if known:
                raise finding
            self._strange.append((note, finding))

    def _kept_by(self, note: Note, keys: Mapping[str, NoteKey]) -> bool:
        """True if one of these keys signed the kept checkpoint for this log. Errors: `BadNote`."""
        origin = Checkpoint.of(note).origin
        signers = [key for key in keys.values() if note.signed_by(key, self.verify)]
        return any(key.name == origin for key in signers)

    def _look_back(self, note: Note, size: int) -> None:
        kept = Checkpoint.of(note).size
        if not self._kept_by(note, self._known):
            raise _of_another_log(note)
        if kept > size:
            raise Tampered(
                f"The log ends at size {size}, and the saved checkpoint has size {kept}: the entries from {size} on "
                "are missing",
                index=size,
                last=kept - 1,
            )


def _gone(leaf: Leaf) -> Tampered:
    return Tampered(f"Entry {leaf.index} ({leaf.entry_id}) is missing", index=leaf.index, entry_id=leaf.entry_id)


def _of_another_log(note: Note) -> BadNote:
    return BadNote(f"is not signed by a key of this log, but belongs to {Checkpoint.of(note).origin}")
