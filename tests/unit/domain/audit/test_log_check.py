"""Every tampering with a log is found, and the first entry that does not fit is named.

Each kind of tampering is done to every row of a log (60 rows, and 1,000 in the long run), one at a time. Where only
the leaf or only the content was touched the very entry has to be named; where the hashes were made to match, a range
that begins at the last checkpoint that still fits and holds the entry.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import chain, islice
from random import Random
from secrets import randbits
from typing import Any, Final, TypeAlias
from uuid import UUID

import pytest

from tests.support.logs import (
    ORIGIN,
    START,
    Log,
    Maker,
    Signer,
    Step,
    Written,
    checkpoint_of,
    key_created,
    key_rotated,
    new_log,
    placed,
    restored,
    seeded,
    signed,
    steps_over,
)
from tests.support.values import names_of, replace
from ubr.audit_verifier.signatures import verify_signature
from ubr.domain.audit.checkpoint import BadNote, Checkpoint, Note, VerifySignature
from ubr.domain.audit.entry import ClientIp, LogEntry
from ubr.domain.audit.log_check import Checked, Leaf, LogCheck, Tampered
from ubr.domain.audit.merkle import EMPTY_ROOT, Frontier, Node
from ubr.domain.events import LogPruned, Target
from ubr.domain.ids import LogEntryId, UserId

# A signature is right or wrong for ever, and the same ones are met thousands of times here.
VERIFY: Final[VerifySignature] = cache(verify_signature)

STRANGER: Final = Signer("stranger", "elsewhere.example.org/log/1")
IMPOSTOR: Final = Signer("impostor")
"""Another key under the name of the log."""

TRUSTS: Final = ["declared", "old key", "new key", pytest.param("both keys", marks=pytest.mark.long)]
"""Which keys are given: the log's own word, one to start with, the one that signs at present, or all there were."""


def check_of(log: Log, trust: str, *against: Note) -> LogCheck:
    keys = {"old key": [log.old.key], "new key": [log.new.key]}.get(trust, [log.old.key, log.new.key])
    return LogCheck(VERIFY, keys, declared=trust == "declared", against=against)


def known_from(log: Log, trust: str) -> int:
    """Up to which size nobody can say who should have signed."""
    if trust == "new key":
        return log.handover
    return log.sizes[0] if log.pruned and trust != "declared" else 0


def take(check: LogCheck, step: Step) -> None:
    if isinstance(step, Written):
        check.checkpoint(step.size, step.note)
    else:
        check.leaf(step)


def walked(check: LogCheck, steps: Iterable[Step]) -> Checked:
    for step in steps:
        take(check, step)
    return check.end()


class Walk:
    """The walk over a log in which everything fits, stopped before every so many steps.

    A walk over a tampered log may go on from the copy before the first step that differs, and finds what one from the
    beginning finds: nothing but its own fields and the next step decide what a `LogCheck` does, and a deep copy of it
    shares nothing with it that changes. (One test below does both.)
    """

    def __init__(self, log: Log, trust: str, *against: Note, every: int = 1) -> None:
        check = check_of(log, trust, *against)
        self.log = log
        self.trust = trust
        self.kept = max([0, *(Checkpoint.of(note).size for note in against)])
        self.every = every
        # What cannot change may be shared.
        self._fixed = {id(thing): thing for thing in (log.old.key, log.new.key, *against)}
        self._copies: list[LogCheck] = []
        for number in range(len(log.steps) + 1):
            if number % every == 0:
                self._copies.append(self._copy(check))
            if number < len(log.steps):
                take(check, log.steps[number])
        check.end()

    def _copy(self, check: LogCheck) -> LogCheck:
        return deepcopy(check, dict(self._fixed))

    def until(self, at: int) -> LogCheck:
        """A copy from before this step."""
        nearest = at // self.every
        check = self._copy(self._copies[nearest])
        for step in self.log.steps[nearest * self.every : at]:
            take(check, step)
        return check


# --- what is done to a log -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Tampering:
    """The steps of a log from the first on that is another, and the first entry that this is about.

    `exact` where the entry itself has to be named, `vague` where it is about a checkpoint in a place where none is,
    and so about no entry: then one that is there has to be named, and no more.
    """

    at: int
    steps: Iterable[Step]
    row: int
    exact: bool = False
    vague: bool = False
    fits: int | None = None


def complaint(walk: Walk, tampering: Tampering, check: LogCheck | None = None) -> str | None:
    """What is wrong with how it was found; None where it was, and in its place."""
    log, row = walk.log, tampering.row
    fits = log.fits(row) if tampering.fits is None else tampering.fits
    starts = {fits, row}
    # Where nobody knows who should have signed, no checkpoint shows that what is before it is right. And what was kept
    # elsewhere is believed before whatever was signed here.
    known = known_from(log, walk.trust)
    if known and tampering.at <= log.where[known - 1] + 1:
        starts.add(0)
    try:
        walked(walk.until(tampering.at) if check is None else check, tampering.steps)
    except Tampered as found:
        if found.index is None or found.last is None:
            return f"row {row}: no place at all, but {str(found)!r}"
        last = found.last
        if "saved checkpoint" in str(found):
            starts.add(0)
            last += 1  # of two that say they have one number it cannot tell which was slipped in
        if tampering.exact:
            right = (found.index, found.last) == (row, row)
        elif tampering.vague:
            right = 0 <= found.index <= found.last <= log.size
        else:
            right = found.index in starts and found.index <= row <= last
        return None if right else f"row {row} (fits up to {fits}): named {found.index} to {found.last}, {str(found)!r}"
    except Exception as error:  # noqa: BLE001 - whatever else is raised is what is looked for
        return f"row {row}: {error!r}"
    return f"row {row}: accepted"


Change: TypeAlias = Callable[[LogEntry, Random], LogEntry | None]
"""Another entry; None where it would be the same."""


def _other(old: str, *others: str) -> str:
    return next(other for other in others if other != old)


def _set(**changes: Any) -> Change:
    def change(entry: LogEntry, random: Random) -> LogEntry | None:
        changed = replace(entry, **changes)
        return None if changed == entry else changed

    return change


def _flipped(raw: bytes, random: Random) -> bytes:
    bit = random.randrange(len(raw) * 8)
    return (int.from_bytes(raw, "big") ^ 1 << bit).to_bytes(len(raw), "big")


def _target(entry: LogEntry, **changes: Any) -> LogEntry | None:
    return None if entry.target is None else replace(entry, target=replace(entry.target, **changes))


def _shifted(entry: LogEntry, random: Random) -> LogEntry:
    """The text of two fields, one after the other, stays what it was."""
    return replace(entry, action=entry.action[:-1], message=entry.action[-1] + entry.message)


CHANGES: Final[dict[str, Change]] = {
    "id": lambda entry, random: replace(entry, id=LogEntryId(UUID(int=random.getrandbits(128)))),
    "id by a bit": lambda entry, random: replace(entry, id=LogEntryId(UUID(bytes=_flipped(entry.id.bytes, random)))),
    "format to 0": _set(format=0),
    "format to 2": _set(format=2),
    "format below all": _set(format=-1),
    "format above all": _set(format=257),
    "level": lambda entry, random: replace(entry, level="info" if entry.level == "warning" else "warning"),
    "level to none that is known": lambda entry, random: replace(entry, level=""),
    "action": lambda entry, random: replace(entry, action=_other(entry.action, "user.enabled", "user.disabled")),
    "action to pruned": _set(action="log.pruned"),
    "action to rotated": _set(action="log_key.rotated"),
    "action to created": _set(action="log_key.created"),
    "action to restored": _set(action="service.restored"),
    "to pruned": _set(action="log.pruned", data='{"before":"2030-01-01T00:00:00+00:00","entries":9,"size":9999}'),
    "to rotated": _set(action="log_key.rotated", data=f'{{"before":"","key":"{IMPOSTOR.key}"}}'),
    "message": lambda entry, random: replace(entry, message=entry.message + "."),
    "message to nothing": _set(message=""),
    "message to one letter for another": lambda entry, random: replace(entry, message="\u0410" + entry.message[1:]),
    "from action to message": _shifted,
    "timestamp by the least": lambda entry, random: replace(
        entry, timestamp=entry.timestamp + timedelta(microseconds=1)
    ),
    "timestamp": lambda entry, random: replace(entry, timestamp=entry.timestamp - timedelta(days=1)),
    "actor": lambda entry, random: replace(entry, actor_id=UserId(UUID(int=random.getrandbits(128)))),
    "actor to nobody": _set(actor_id=None),
    "target type": lambda entry, random: (
        None if entry.target is None else _target(entry, type=_other(entry.target.type, "user", "role"))
    ),
    "target id": lambda entry, random: _target(entry, id=str(UUID(int=random.getrandbits(128)))),
    "target id to nothing": lambda entry, random: _target(entry, id=""),
    "target to none": _set(target=None),
    "target": lambda entry, random: replace(entry, target=Target("user", str(UUID(int=random.getrandbits(128))))),
    "ip": _set(ip="192.0.2.8"),
    "ip to nothing": _set(ip=""),
    "ip to none": _set(ip=None),
    "client IP": lambda entry, random: replace(entry, client_ip=ClientIp(ip="192.0.2.8", salt=random.randbytes(16))),
    "client IP gone": lambda entry, _: None if entry.client_ip is None else replace(entry, client_ip=None),
    "client IP as a part of the entry": lambda entry, _: replace(entry, ip="192.0.2.7"),
    "request id": _set(request_id="req-8"),
    "request id to nothing": _set(request_id=""),
    "request id to none": _set(request_id=None),
    "request id given": lambda entry, random: replace(entry, request_id_given=not entry.request_id_given),
    "data": lambda entry, random: replace(entry, data='{"count":0}'),
    "data to nothing": _set(data=""),
    "data to another object": _set(data="[]"),
    "data by a space": lambda entry, random: replace(entry, data=entry.data + " "),
    "data without an end": lambda entry, random: replace(entry, data=entry.data[:-1]),
    "data to what no JSON is": _set(data="\0"),
    "data too deep": _set(data="[" * 10_000),
    "salt by a bit": lambda entry, random: replace(entry, salt=_flipped(entry.salt, random)),
    "salt to nothing": _set(salt=b""),
    "salt shorter": lambda entry, random: replace(entry, salt=entry.salt[:-1]),
    "salt longer": lambda entry, random: replace(entry, salt=entry.salt + b"\0"),
    # Whoever reads these must not stumble over them.
    "to pruned without end": _set(action="log.pruned", data='{"size":1e999}'),
    "to pruned up to no number": _set(action="log.pruned", data='{"size":NaN}'),
    "to pruned too deep": _set(action="log.pruned", data="[" * 10_000),
    "to rotated to none": _set(action="log_key.rotated", data='{"key":null}'),
    "to rotated to what no key is": _set(action="log_key.rotated", data='{"key":"\\ud800+00000000+AAAA"}'),
    "to restored too deep": _set(action="service.restored", data="[" * 10_000),
}


def test_every_field_of_an_entry_is_among_those_that_are_changed() -> None:
    entry = Maker(seeded(1)).entry()
    changed: set[str] = set()
    for change in CHANGES.values():
        other = change(entry, seeded(1)) or entry
        changed |= {name for name in names_of(entry) if getattr(other, name) != getattr(entry, name)}
    assert changed == set(names_of(entry))


Kind: TypeAlias = Callable[[Log, int, Random], Tampering | None]
"""What is done to a row; None where it cannot be done to this one, or would change nothing."""


def _from(log: Log, at: int, *first: Step) -> Iterator[Step]:
    """Some steps, and then those of the log."""
    yield from first
    for number in range(at, len(log.steps)):
        yield log.steps[number]


def _as_kept(log: Log, row: int, leaves: Iterable[Leaf]) -> Iterator[Step]:
    """These leaves from a row on, each checkpoint behind the last entry of it: so a database is read."""
    size = row
    for leaf in leaves:
        yield leaf
        size += 1
        if size in log.notes:
            yield Written(size, log.notes[size])
    for left in log.sizes[bisect_right(log.sizes, size) :]:
        yield Written(left, log.notes[left])


def _as_written(log: Log, at: int, by: int) -> Iterator[Step]:
    """The steps of a log with other indexes, and each checkpoint behind the entry that it was behind: as in a file."""
    for step in _from(log, at):
        yield step if isinstance(step, Written) else replace(step, index=step.index + by)


def _shifted_leaves(log: Log, row: int, by: int) -> Iterator[Leaf]:
    for leaf in islice(log.leaves, row, None):
        yield replace(leaf, index=leaf.index + by)


def _leaf(change: Callable[[Leaf, Random], Leaf | None], *, exact: bool = True) -> Kind:
    def kind(log: Log, row: int, random: Random) -> Tampering | None:
        at = log.where[row]
        leaf = change(log.leaves[row], random)
        return None if leaf is None else Tampering(at=at, steps=_from(log, at + 1, leaf), row=row, exact=exact)

    return kind


def _content(change: Change) -> Kind:
    """Content changed, and nothing else."""

    def changed(leaf: Leaf, random: Random) -> Leaf | None:
        entry = None if leaf.entry is None else change(leaf.entry, random)
        return None if entry is None else replace(leaf, entry=entry)

    return _leaf(changed)


def _matched(change: Change) -> Kind:
    """Content changed, and all of the leaf made to match."""

    def changed(leaf: Leaf, random: Random) -> Leaf | None:
        entry = None if leaf.entry is None else change(leaf.entry, random)
        return None if entry is None else placed(leaf.index, entry)

    return _leaf(changed, exact=False)


def _hash(make: Callable[[bytes, Random], bytes]) -> Kind:
    """Of a leaf whose content is gone only the tree says what it was."""

    def kind(log: Log, row: int, random: Random) -> Tampering | None:
        changed = _leaf(lambda leaf, random: replace(leaf, hash=make(leaf.hash, random)))(log, row, random)
        assert changed is not None
        return replace(changed, exact=log.leaves[row].entry is not None)

    return kind


def _entry_id(leaf: Leaf, random: Random) -> Leaf | None:
    return None if leaf.entry is None else replace(leaf, entry_id=UUID(int=random.getrandbits(128)))


def _hashed_only(leaf: Leaf, random: Random) -> Leaf | None:
    """The hash is that of an entry with another id, the id beside it as it was."""
    if leaf.entry is None:
        return None
    entry = replace(leaf.entry, id=LogEntryId(UUID(int=random.getrandbits(128))))
    return replace(leaf, entry=entry, hash=entry.leaf)


def _stranger(log: Log, row: int, random: Random) -> LogEntry:
    """An entry that is in order, and not of this log."""
    return Maker(seeded(random.getrandbits(64)), clock=START).entry()


def _content_gone(log: Log, row: int, random: Random) -> Tampering | None:
    at, leaf = log.where[row], log.leaves[row]
    if leaf.entry is None:
        return None
    # What says that others may be gone may not be gone: then the first of those is the first that should be there. And
    # where nobody can follow from a key to the next, it is known only that what names that may be gone.
    named = 0 if log.pruned and leaf.entry.action == "log.pruned" else row
    steps = _from(log, at + 1, replace(leaf, entry=None))
    return Tampering(at=at, steps=steps, row=named, exact=row != log.rotation)


def _content_put_back(log: Log, row: int, random: Random) -> Tampering | None:
    at, leaf = log.where[row], log.leaves[row]
    if leaf.entry is not None:
        return None
    entry = replace(_stranger(log, row, random), id=LogEntryId(leaf.entry_id))
    return Tampering(at=at, steps=_from(log, at + 1, replace(leaf, entry=entry)), row=row, exact=True)


def _gone(log: Log, row: int, random: Random) -> Tampering:
    steps = _as_kept(log, row, islice(log.leaves, row + 1, None))
    return Tampering(at=log.where[row], steps=steps, row=row, exact=row + 1 < log.size)


def _gone_renumbered(log: Log, row: int, random: Random) -> Tampering:
    return Tampering(at=log.where[row], steps=_as_kept(log, row, _shifted_leaves(log, row + 1, -1)), row=row)


def _gone_from_file(log: Log, row: int, random: Random) -> Tampering:
    return Tampering(at=log.where[row], steps=_as_written(log, log.where[row] + 1, -1), row=row)


def _slipped_in(log: Log, row: int, random: Random) -> Tampering:
    """Two say that they have this number, of which only the second is known to be wrong: it should have the next."""
    at = log.where[row]
    return Tampering(
        at=at, steps=_from(log, at, placed(row, _stranger(log, row, random))), row=row + 1, fits=log.fits(row)
    )


def _slipped_in_renumbered(log: Log, row: int, random: Random) -> Tampering:
    leaves = chain([placed(row, _stranger(log, row, random))], _shifted_leaves(log, row, 1))
    return Tampering(at=log.where[row], steps=_as_kept(log, row, leaves), row=row)


def _slipped_into_file(log: Log, row: int, random: Random) -> Tampering:
    at = log.where[row]
    return Tampering(at=at, steps=chain([placed(row, _stranger(log, row, random))], _as_written(log, at, 1)), row=row)


def _said_twice(log: Log, row: int, random: Random) -> Tampering:
    """The same entry once more behind itself."""
    return Tampering(at=log.where[row], steps=_as_kept(log, row, _twice(log, row)), row=row + 1)


def _twice(log: Log, row: int) -> Iterator[Leaf]:
    yield log.leaves[row]
    yield from _shifted_leaves(log, row, 1)


def _appended(log: Log, row: int, random: Random) -> Tampering | None:
    """Behind the end, where no checkpoint is over it."""
    if row + 1 < log.size:
        return None
    leaf = placed(log.size, _stranger(log, row, random))
    return Tampering(at=len(log.steps), steps=[leaf], row=log.size, exact=True)


def _replaced(log: Log, row: int, random: Random) -> Tampering:
    at = log.where[row]
    return Tampering(at=at, steps=_from(log, at + 1, placed(row, _stranger(log, row, random))), row=row)


def _swapped(log: Log, row: int, random: Random) -> Tampering | None:
    return _in_each_others_place(log, row, row + 1, exact=True)


def _swapped_renumbered(log: Log, row: int, random: Random) -> Tampering | None:
    return _in_each_others_place(log, row, row + 1, exact=False)


def _swapped_far(log: Log, row: int, random: Random) -> Tampering | None:
    return None if row + 2 >= log.size else _in_each_others_place(log, row, random.randrange(row + 2, log.size))


def _in_each_others_place(log: Log, one: int, other: int, *, exact: bool = False) -> Tampering | None:
    if other >= log.size:
        return None
    first, second = log.leaves[other], log.leaves[one]
    if not exact:
        first, second = replace(first, index=one), replace(second, index=other)
    return _with_two(log, one, first, other, second, exact=exact)


def _contents_swapped(log: Log, row: int, random: Random) -> Tampering | None:
    if row + 1 >= log.size or log.leaves[row].entry is None:
        return None
    one, other = log.leaves[row], log.leaves[row + 1]
    first, second = replace(one, entry=other.entry), replace(other, entry=one.entry)
    return _with_two(log, row, first, row + 1, second, exact=True)


def _with_two(log: Log, one: int, first: Leaf, other: int, second: Leaf, *, exact: bool) -> Tampering:
    at, to = log.where[one], log.where[other]
    steps = chain([first], islice(log.steps, at + 1, to), [second], _from(log, to + 1))
    return Tampering(at=at, steps=steps, row=one, exact=exact)


def _cut(log: Log, row: int, random: Random) -> Tampering:
    """Only the first entries are left, and all checkpoints."""
    at = log.where[row]
    return Tampering(at=at, steps=_as_kept(log, row, ()), row=row)


def _cut_with_checkpoints(log: Log, row: int, random: Random) -> Tampering | None:
    """Only the first entries are left, and the checkpoints of that time: of those behind the last nobody knows."""
    if row in {0, *log.sizes}:
        return None
    return Tampering(at=log.where[row], steps=[], row=row - 1)


# What follows has to be made anew from a row on: as many entries as before, of which one is another.
Sign: TypeAlias = Callable[[Log, Frontier], Note]


def _anew(sign: Sign, change: Callable[[Log, int, Random], LogEntry] = _stranger, *, spent: bool = False) -> Kind:
    """`spent` where it is done only from where the second key is trusted alone."""

    def kind(log: Log, row: int, random: Random) -> Tampering | None:
        if spent and row < log.handover:
            return None
        return Tampering(at=log.where[row], steps=_grown(log, row, change(log, row, random), sign), row=row)

    return kind


def _grown(log: Log, row: int, entry: LogEntry, sign: Sign) -> Iterator[Step]:
    frontier = log.frontiers[row].copy()
    for step in _from(log, log.where[row] + 1, placed(row, entry)):
        if isinstance(step, Leaf):
            frontier.append(step.hash)
            yield step
        else:
            yield Written(step.size, str(sign(log, frontier)))


def _own_rotation(log: Log, row: int, random: Random) -> LogEntry:
    """An entry by which another key hands over to itself."""
    return Maker(seeded(random.getrandbits(64)), clock=START).entry(key_rotated(IMPOSTOR, log.old))


def _old_signatures(log: Log, frontier: Frontier) -> Note:
    return replace(checkpoint_of(frontier), signatures=log.note(frontier.size).signatures)


MATCHED: Final = ", leaf matched"

ENTRY_KINDS: Final[dict[str, Kind]] = {
    **{name: _content(change) for name, change in CHANGES.items()},
    **{f"{name}{MATCHED}": _matched(change) for name, change in CHANGES.items()},
    "leaf by a bit": _hash(_flipped),
    "leaf to zeros": _hash(lambda hashed, random: bytes(32)),
    "leaf shorter": _hash(lambda hashed, random: hashed[:-1]),
    "leaf longer": _hash(lambda hashed, random: hashed + b"\0"),
    "leaf to nothing": _hash(lambda hashed, random: b""),
    "id beside the leaf": _leaf(_entry_id),
    "id in the content and leaf matched": _leaf(_hashed_only),
    "leaf that cannot be read": _leaf(lambda leaf, random: replace(leaf, entry=None, readable=False)),
    "content put where it was pruned": _content_put_back,
    "contents of neighbours swapped": _contents_swapped,
    "entry for entry": _replaced,
    "row gone": _gone,
    "row gone, renumbered": _gone_renumbered,
    "row gone from a file": _gone_from_file,
    "slipped in": _slipped_in,
    "slipped in, renumbered": _slipped_in_renumbered,
    "slipped into a file": _slipped_into_file,
    "said twice": _said_twice,
    "appended": _appended,
    "neighbours swapped": _swapped,
    "neighbours swapped, renumbered": _swapped_renumbered,
    "swapped with one far away": _swapped_far,
    "cut": _cut,
    "cut between checkpoints": _cut_with_checkpoints,
}

FORGED_KINDS: Final[dict[str, Kind]] = {
    "content gone": _content_gone,
    "made anew, unsigned": _anew(lambda log, frontier: checkpoint_of(frontier)),
    "made anew, the old signatures": _anew(_old_signatures),
    "made anew, the old checkpoints": _anew(lambda log, frontier: log.note(frontier.size)),
    "made anew, another key": _anew(lambda log, frontier: checkpoint_of(frontier, IMPOSTOR)),
    "made anew, the key of another log": _anew(lambda log, frontier: checkpoint_of(frontier, STRANGER)),
    "made anew, another log": _anew(lambda log, frontier: checkpoint_of(frontier, STRANGER, origin=STRANGER.name)),
    "made anew, a key that names itself": _anew(lambda log, frontier: checkpoint_of(frontier, IMPOSTOR), _own_rotation),
    "made anew, a key that names itself, the old signatures": _anew(
        lambda log, frontier: IMPOSTOR.sign(_old_signatures(log, frontier)), _own_rotation
    ),
}
"""These depend on what is known of the keys."""

SPENT: Final = _anew(lambda log, frontier: checkpoint_of(frontier, log.old), spent=True)
"""Whoever trusts what the log says of its keys trusts also one that has a successor."""


# --- what is done to a checkpoint: the row is its size ---------------------------------------------------------------


def _at_checkpoint(log: Log, size: int, *steps: Step, row: int | None = None, vague: bool = False) -> Tampering:
    at = log.where[size - 1] + 1
    return Tampering(at=at, steps=_from(log, at + 1, *steps), row=size - 1 if row is None else row, vague=vague)


def _signers(log: Log, size: int) -> list[Signer]:
    return [log.old] if size < log.handover else [log.old, log.new] if size == log.handover else [log.new]


def _note(make: Callable[[Log, int, Random], Note | str]) -> Kind:
    def kind(log: Log, size: int, random: Random) -> Tampering | None:
        note = str(make(log, size, random))
        return None if note == log.notes[size] else _at_checkpoint(log, size, Written(size, note))

    return kind


def _resigned(
    *, origin: str = ORIGIN, by: int = 0, root: Callable[[bytes, Random], bytes] = lambda root, random: root
) -> Kind:
    """Signed by the right keys, and of something else."""

    def note(log: Log, size: int, random: Random) -> Note:
        checkpoint = Checkpoint(origin, size + by, root(log.frontiers[size].root(), random))
        return signed(checkpoint.text, *_signers(log, size))

    return _note(note)


def _other_text(log: Log, size: int, random: Random) -> str:
    note = log.note(size)
    at = random.randrange(len(note.text) - 1)
    return str(replace(note, text=note.text[:at] + chr(ord(note.text[at]) ^ 1) + note.text[at + 1 :]))


def _other_signature(log: Log, size: int, random: Random) -> Note:
    note = log.note(size)
    return replace(note, signatures=tuple(replace(one, value=_flipped(one.value, random)) for one in note.signatures))


def _of_another_checkpoint(log: Log, size: int, random: Random) -> str:
    return log.notes[random.choice(log.sizes)]


def _moved(log: Log, size: int, random: Random) -> Tampering | None:
    """The same note where another size is."""
    free = sorted(set(range(max(1, size - 8), min(log.size, size + 8) + 1)) - set(log.sizes))
    if not free:
        return None
    to = random.choice(free)
    row, end = min(size, to), max(size, to)
    start, stop = log.where[row - 1] + 1, log.where[end - 1] + 1
    steps: list[Step] = [step for step in log.steps[start:stop] if step != Written(size, log.notes[size])]
    moved = Written(to, log.notes[size])
    steps = [moved, *steps] if to < size else [*steps, moved]
    after = stop + 1 if to < size else stop
    fits = max([0, *(other for other in log.sizes if other < to and other != size)])
    # Without the one that hands over, those behind it are signed by nobody who is trusted: that is found first.
    handing = size == log.handover
    return Tampering(at=start, steps=_from(log, after, *steps), row=to - 1, fits=fits, vague=handing)


def _says_another_size(by: int) -> Kind:
    """The row stands where it stood."""
    return lambda log, size, random: _at_checkpoint(log, size, Written(size + by, log.notes[size]), vague=True)


def _another_beside(log: Log, size: int, random: Random) -> Tampering | None:
    """A checkpoint of another tree, signed by the right key, where none was."""
    if size + 1 in log.sizes or size == log.size:
        return None
    note = signed(Checkpoint(ORIGIN, size + 1, random.randbytes(32)).text, *_signers(log, log.covering(size)))
    at = log.where[size] + 1
    return Tampering(at=at, steps=_from(log, at, Written(size + 1, str(note))), row=size)


CHECKPOINT_KINDS: Final[dict[str, Kind]] = {
    "other root": _resigned(root=_flipped),
    "root of the empty tree": _resigned(root=lambda root, random: EMPTY_ROOT),
    "other size": _resigned(by=1),
    "smaller size": _resigned(by=-1),
    "unsigned": _note(lambda log, size, random: str(replace(log.note(size), signatures=()))),
    "nothing": _note(lambda log, size, random: ""),
    "not a note": _note(lambda log, size, random: "\ud800\n\n\N{EM DASH} \ud800 AAAA"),
    "without its end": _note(lambda log, size, random: log.notes[size][:-1]),
    "of another checkpoint": _note(_of_another_checkpoint),
    "moved": _moved,
    "says one more": _says_another_size(1),
    "says one less": _says_another_size(-1),
    "says none": lambda log, size, random: _at_checkpoint(log, size, Written(0, log.notes[size]), vague=True),
    "says less than none": lambda log, size, random: _at_checkpoint(
        log, size, Written(-5, log.notes[size]), vague=True
    ),
    "twice": lambda log, size, random: _at_checkpoint(
        log, size, Written(size, log.notes[size]), Written(size, log.notes[size]), vague=True
    ),
    "another beside": _another_beside,
}

SIGNED_KINDS: Final[dict[str, Kind]] = {
    "other origin": _resigned(origin=STRANGER.name),
    "not a text": _note(lambda log, size, random: log.notes[size].replace(ORIGIN, "\ud800")),
    "text": _note(_other_text),
    "signature": _note(_other_signature),
    "signed by another key": _note(lambda log, size, random: signed(log.note(size).text, IMPOSTOR)),
    "signed by the key of another log": _note(lambda log, size, random: signed(log.note(size).text, STRANGER)),
}
"""These are seen only where it is known who should have signed."""


def _trusted(log: Log, trust: str) -> Iterable[int]:
    """The checkpoints of which it is known who should have signed."""
    return [size for size in log.sizes if size > known_from(log, trust)]


# --- that it is found ------------------------------------------------------------------------------------------------

FEW: Final = 60
SIZES: Final = [FEW, pytest.param(1000, marks=pytest.mark.long)]


@pytest.fixture(scope="module", params=SIZES, ids="{} entries".format)
def logs(request: pytest.FixtureRequest) -> list[Log]:
    """One of so many entries, and one of which the first fifth was pruned."""
    count: int = request.param
    return [new_log(count), new_log(count, seed=2, pruned=count // 5)]


@pytest.fixture(scope="module", params=TRUSTS)
def trust(request: pytest.FixtureRequest) -> str:
    told: str = request.param
    return told


@pytest.fixture(scope="module")
def walks(logs: list[Log], trust: str) -> list[Walk]:
    """Of two short logs one is enough for each."""
    few = {"declared": logs[:1], "old key": logs[1:], "new key": logs[:1]}
    return [Walk(log, trust) for log in (few.get(trust, logs) if logs[0].size == FEW else logs)]


@pytest.fixture(scope="module")
def declared(logs: list[Log]) -> list[Walk]:
    """What is found in the entries themselves does not depend on the keys."""
    return [Walk(log, "declared") for log in logs]


@pytest.fixture(scope="module")
def small() -> Log:
    return new_log(60)


def _told(wrong: Iterable[str | None]) -> None:
    complaints = [one for one in wrong if one is not None]
    shown = "\n".join(one[:400] for one in complaints[:5])
    assert not complaints, f"{len(complaints)} not found as they should be:\n{shown}"


def _exhaustively(walks: list[Walk], kind: Kind, rows: Callable[[Log], Iterable[int]]) -> None:
    done: list[str | None] = []
    for walk in walks:
        random = seeded(7)
        for row in rows(walk.log):
            tampering = kind(walk.log, row, random)
            if tampering is not None:
                done.append(complaint(walk, tampering))
    assert done
    _told(done)


@pytest.mark.parametrize("kind", ENTRY_KINDS)
def test_it_is_found_at_every_row(declared: list[Walk], kind: str) -> None:
    short = declared[0].log.size == FEW and kind.removesuffix(MATCHED) in CHANGES
    _exhaustively(declared[:1] if short else declared, ENTRY_KINDS[kind], lambda log: range(log.size))


@pytest.mark.parametrize("kind", FORGED_KINDS)
def test_a_forgery_is_found_at_every_row(walks: list[Walk], kind: str) -> None:
    _exhaustively(walks, FORGED_KINDS[kind], lambda log: range(log.size))


@pytest.mark.parametrize("kind", CHECKPOINT_KINDS)
def test_it_is_found_at_every_checkpoint(walks: list[Walk], kind: str) -> None:
    _exhaustively(walks, CHECKPOINT_KINDS[kind], lambda log: log.sizes)


@pytest.mark.parametrize("kind", SIGNED_KINDS)
def test_the_signer_of_every_checkpoint_is_checked(walks: list[Walk], trust: str, kind: str) -> None:
    _exhaustively(walks, SIGNED_KINDS[kind], lambda log: _trusted(log, trust))


@pytest.mark.parametrize("trust", ["old key", "new key"], indirect=True)
def test_a_key_whose_time_is_over_signs_nothing_any_more(walks: list[Walk]) -> None:
    _exhaustively(walks, SPENT, lambda log: range(log.size))


def test_whoever_takes_the_logs_own_word_trusts_each_of_its_keys_to_the_end(small: Log) -> None:
    tampering = SPENT(small, small.size - 1, seeded(1))
    assert tampering is not None
    steps = chain(small.steps[: tampering.at], tampering.steps)
    assert walked(check_of(small, "declared"), steps).signer == small.old.key


ALL_KINDS: Final = ENTRY_KINDS | FORGED_KINDS
ALL_CHECKPOINT_KINDS: Final = CHECKPOINT_KINDS | SIGNED_KINDS


def _any_tampering(log: Log, trust: str, random: Random) -> tuple[str, Tampering]:
    """One of any kind, at any place."""
    while True:
        name = random.choice([*ALL_KINDS, *ALL_CHECKPOINT_KINDS])
        if name in ALL_KINDS:
            # That content is gone is known only at the very end: a long way, so it is gone of the last few alone.
            row = random.randrange(max(0, log.size - 500) if name == "content gone" else 0, log.size)
            tampering = ALL_KINDS[name](log, row, random)
        else:
            sizes = _trusted(log, trust) if name in SIGNED_KINDS else log.sizes
            tampering = ALL_CHECKPOINT_KINDS[name](log, random.choice(list(sizes)), random)
        if tampering is not None:
            return name, tampering


@pytest.mark.parametrize(
    ("count", "times"), [(100, 500), pytest.param(10_000, 100_000, marks=pytest.mark.long)], ids=["few", "many"]
)
def test_random_tampering_is_found(count: int, times: int) -> None:
    # Day by day the same; the long run looks for what nobody has thought of.
    seed = randbits(32) if count > 100 else 20260301
    random = seeded(seed)
    log = new_log(count, seed=seed, pruned=random.choice([0, count // 10]))
    newest = log.note(log.size)
    walks = [Walk(log, trust, newest, every=8) for trust in ("declared", "old key", "new key", "both keys")]
    done: list[str | None] = []
    for _ in range(times):
        walk = random.choice(walks)
        name, tampering = _any_tampering(log, walk.trust, random)
        wrong = complaint(walk, tampering)
        if wrong is not None:
            done.append(f"seed {seed}, {walk.trust}, {name}, {wrong}")
    _told(done)


def test_a_walk_continued_from_a_copy_equals_the_whole_walk() -> None:
    log, random = new_log(100, seed=3, pruned=10), seeded(3)
    walk = Walk(log, "old key", every=8)
    for _ in range(100):
        state = random.getstate()
        _, tampering = _any_tampering(log, "old key", random)
        first = complaint(walk, tampering)
        random.setstate(state)
        _, tampering = _any_tampering(log, "old key", random)
        again = chain(log.steps[: tampering.at], tampering.steps)
        assert complaint(walk, replace(tampering, steps=again), check_of(log, "old key")) == first


# --- one checkpoint, byte by byte ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def walk(small: Log) -> Walk:
    return Walk(small, "declared")


def _instead(walk: Walk, size: int, notes: Iterable[str]) -> list[str | None]:
    """What is wrong with how each of these is met in place of a checkpoint."""
    done = [_at_checkpoint(walk.log, size, Written(size, note)) for note in notes if note != walk.log.notes[size]]
    return [complaint(walk, tampering) for tampering in done]


@pytest.mark.parametrize("both", [False, True], ids=["one signature", "two signatures"])
def test_no_bit_of_a_text_can_be_another(small: Log, walk: Walk, *, both: bool) -> None:
    size = small.handover if both else small.sizes[0]
    note = small.note(size)
    texts = [
        note.text[:at] + chr(ord(note.text[at]) ^ 1 << bit) + note.text[at + 1 :]
        for at in range(len(note.text))
        for bit in range(7)
    ]
    _told(_instead(walk, size, [str(replace(note, text=text)) for text in texts]))


@pytest.mark.parametrize("both", [False, True], ids=["one signature", "two signatures"])
def test_no_bit_of_a_signature_can_be_another(small: Log, walk: Walk, *, both: bool) -> None:
    size = small.handover if both else small.sizes[0]
    note = small.note(size)
    for place, one in enumerate(note.signatures):
        values = [(int.from_bytes(one.value, "big") ^ 1 << bit).to_bytes(64, "big") for bit in range(512)]
        _told(
            _instead(
                walk,
                size,
                [
                    str(
                        replace(
                            note,
                            signatures=(
                                *note.signatures[:place],
                                replace(one, value=value),
                                *note.signatures[place + 1 :],
                            ),
                        )
                    )
                    for value in [*values, b"", one.value[:-1], one.value + b"\0", bytes(64)]
                ],
            )
        )


def test_no_bit_of_the_id_beside_the_only_signature_can_be_another(small: Log, walk: Walk) -> None:
    size = small.sizes[0]
    note = small.note(size)
    [one] = note.signatures
    ids = [(int.from_bytes(one.key_id, "big") ^ 1 << bit).to_bytes(4, "big") for bit in range(32)]
    _told(_instead(walk, size, [str(replace(note, signatures=(replace(one, key_id=id),))) for id in ids]))


def test_of_two_signatures_one_is_enough_and_what_an_unknown_key_says_is_passed_over(small: Log) -> None:
    """So a signature can be taken away, or one be added, and nothing that was signed is another."""
    note = small.note(small.handover)
    old, new = note.signatures
    for trust, kept in (("declared", old), ("declared", new), ("old key", old), ("new key", new)):
        check = Walk(small, trust).until(small.where[small.handover - 1] + 1)
        check.checkpoint(small.handover, str(replace(note, signatures=(kept,))))
    for signatures in ((old, new, *signed(note.text, STRANGER).signatures), (new, old)):
        again = str(replace(note, signatures=signatures))
        steps = (replace(s, note=again) if s == Written(small.handover, str(note)) else s for s in small.steps)
        assert walked(check_of(small, "old key"), steps).size == 60


def test_no_letter_of_a_note_can_be_missing_or_there_twice(small: Log, walk: Walk) -> None:
    size = small.sizes[0]
    note = small.notes[size]
    missing = [note[:at] + note[at + 1 :] for at in range(len(note))]
    doubled = [note[:at] + note[at] + note[at:] for at in range(len(note))]
    framed = ["\n" + note, note + "\n", " " + note, note.replace("\n", "\r\n"), "\ufeff" + note]
    _told(_instead(walk, size, [*missing, *doubled, *framed]))


# --- against what was kept elsewhere ---------------------------------------------------------------------------------


def _kept(log: Log, size: int) -> Note:
    """The checkpoint of any size, also where none was written down."""
    signer = log.old if size <= log.rotation else log.new
    return checkpoint_of(log.frontiers[size], signer)


@pytest.mark.parametrize("trust", ["declared", "old key", "both keys"])
def test_a_log_is_the_continuation_of_what_was_kept_of_it(logs: list[Log], trust: str) -> None:
    for log in logs:
        kept = [_kept(log, size) for size in range(log.size + 1)]
        assert walked(check_of(log, trust, *kept), log.steps).size == log.size


def test_an_older_copy_is_found_by_whatever_newer_checkpoint_was_kept(logs: list[Log]) -> None:
    log = logs[0]
    for size in log.sizes[:-1]:
        # A checkpoint of after the handover is not known to be of this log by a copy of before it.
        newest = log.rotation if size < log.handover else log.size
        copy = log.steps[: log.where[size - 1] + 2]
        assert walked(check_of(log, "old key"), copy).size == size  # by itself it cannot be seen
        for newer in {size + 1, (size + 1 + newest) // 2, newest} - {size, newest + 1}:
            with pytest.raises(Tampered) as found:
                walked(check_of(log, "old key", _kept(log, newer)), copy)
            assert (found.value.index, found.value.last) == (size, newer - 1)


def test_a_copy_of_before_the_handover_needs_the_key_of_after_it_to_be_found(small: Log) -> None:
    copy = small.steps[: small.where[small.sizes[0] - 1] + 2]
    with pytest.raises(Tampered) as found:
        walked(check_of(small, "both keys", small.note(60)), copy)
    assert (found.value.index, found.value.last) == (small.sizes[0], 59)
    with pytest.raises(BadNote):
        walked(check_of(small, "old key", small.note(60)), copy)


def test_a_log_that_is_gone_is_found(small: Log) -> None:
    assert walked(check_of(small, "declared"), []).size == 0
    with pytest.raises(Tampered) as found:
        walked(check_of(small, "declared", small.note(60)), [])
    assert (found.value.index, found.value.last) == (0, 59)


def _resign(log: Log, frontier: Frontier) -> Note:
    return checkpoint_of(frontier, *_signers(log, frontier.size))


def test_what_is_made_anew_with_the_very_key_is_found_by_what_was_kept(small: Log) -> None:
    """What was written down of it later on fits, and proves nothing against it: whoever has the key can write it."""
    wrong: list[str | None] = []
    for row in [row for row in range(1, small.size, 7) if row != small.rotation]:
        for size in sorted({row + 1, small.covering(row), (row + 1 + small.size) // 2, small.size}):
            entry = _stranger(small, row, seeded(row))
            anew = [*small.steps[: small.where[row]], *_grown(small, row, entry, _resign)]
            assert walked(check_of(small, "old key"), anew).size == 60
            try:
                walked(check_of(small, "old key", _kept(small, size)), anew)
            except Tampered as found:
                right = found.index is not None and found.last is not None and found.index <= row <= found.last < size
                wrong.append(None if right else f"row {row}, kept {size}: {found.index} to {found.last}, {found}")
            else:
                wrong.append(f"row {row}, kept {size}: accepted")
    _told(wrong)


def test_two_that_were_kept_narrow_it_down(small: Log) -> None:
    row = 40
    anew = [*small.steps[: small.where[row]], *_grown(small, row, _stranger(small, row, seeded(1)), _resign)]
    with pytest.raises(Tampered) as found:
        walked(check_of(small, "old key", _kept(small, 39), _kept(small, 43)), anew)
    assert found.value.index is not None
    assert found.value.last is not None
    assert found.value.index <= row <= found.value.last == 42
    assert found.value.index >= 39


@pytest.mark.parametrize("trust", ["declared", "old key", "new key"])
def test_a_checkpoint_of_another_log_is_no_finding_whatever_its_size(small: Log, trust: str) -> None:
    other = new_log(70, seed=9)
    frontiers = other.frontiers
    strangers = [checkpoint_of(frontiers[size], STRANGER, origin=STRANGER.name) for size in (1, 30, 59, 60, 61, 70)]
    under_our_name = [checkpoint_of(frontiers[size], IMPOSTOR) for size in (1, 60, 61)]
    under_theirs = [checkpoint_of(frontiers[size], STRANGER) for size in (1, 60, 61)]
    unsigned = [checkpoint_of(small.frontiers[60])]
    for note in [*strangers, *under_our_name, *under_theirs, *unsigned]:
        with pytest.raises(BadNote):
            walked(check_of(small, trust, note), small.steps)


@pytest.mark.parametrize("size", [7, 60, 61])
def test_what_was_kept_has_to_be_signed_rightly(small: Log, size: int) -> None:
    frontier = small.frontiers[min(size, 60)].copy()
    if size > 60:
        frontier.append(bytes(32))
    note = checkpoint_of(frontier, small.new)
    other = checkpoint_of(new_log(size, seed=9).frontiers[size])
    for wrong in (_other_signature_of(note), replace(other, signatures=note.signatures)):
        with pytest.raises(BadNote):
            walked(check_of(small, "declared", wrong), small.steps)


def _other_signature_of(note: Note) -> Note:
    return replace(
        note, signatures=tuple(replace(one, value=_flipped(one.value, seeded(1))) for one in note.signatures)
    )


# --- what was not tampered with --------------------------------------------------------------------------------------


def test_a_log_in_which_everything_fits(logs: list[Log], trust: str) -> None:
    for log in logs:
        unsigned = sum(size < log.handover for size in log.sizes) if trust == "new key" else 0
        assert walked(check_of(log, trust), log.steps) == Checked(
            size=log.size,
            root=log.frontiers[-1].root(),
            pruned=log.pruned,
            pruned_to=log.pruned,
            checkpoints=len(log.sizes) - unsigned,
            unsigned=unsigned,
            signer=log.new.key,
        )


def test_an_empty_log(small: Log) -> None:
    checked = walked(check_of(small, "declared"), [])
    assert (checked.size, checked.root, checked.checkpoints, checked.signer) == (0, EMPTY_ROOT, 0, None)


def test_a_key_that_signed_nothing(small: Log) -> None:
    with pytest.raises(Tampered) as found:
        walked(LogCheck(VERIFY, [IMPOSTOR.key]), small.steps)
    assert (found.value.index, found.value.last) == (0, 59)


def test_every_complete_node_is_reported_once(small: Log) -> None:
    told: list[tuple[Node, bytes]] = []
    expected: list[tuple[Node, bytes]] = []
    check = check_of(small, "declared")
    check.completed = lambda node, hashed: told.append((node, hashed))
    walked(check, small.steps)
    frontier = Frontier()
    for leaf in small.leaves:
        frontier.append(leaf.hash, lambda node, hashed: expected.append((node, hashed)))
    assert told == expected
    assert len(told) == 60 - (60).bit_count()


def test_a_checkpoint_that_is_missing_before_others_takes_nothing_from_what_they_cover(small: Log) -> None:
    """Of an entry nothing can be changed by it, and where the last one is missing it is found."""
    for size in small.sizes:
        steps = [step for step in small.steps if step != Written(size, small.notes[size])]
        if size < small.size:
            assert walked(check_of(small, "declared"), steps).size == 60
        else:
            with pytest.raises(Tampered) as found:
                walked(check_of(small, "declared"), steps)
            assert (found.value.index, found.value.last) == (small.fits(size - 1), 59)


def test_without_the_checkpoint_that_both_signed_nobody_follows_from_the_one_to_the_other(small: Log) -> None:
    steps = [step for step in small.steps if step != Written(small.handover, small.notes[small.handover])]
    with pytest.raises(Tampered) as found:
        walked(check_of(small, "old key"), steps)
    assert found.value.index == small.fits(small.handover - 1)
    assert walked(check_of(small, "new key"), steps).size == 60


def test_a_log_that_continues_under_another_name_after_a_restore() -> None:
    make, old = Maker(seeded(1)), Signer("old")
    after = [make.entry(restored(STRANGER, old, "…")), make.entry()]
    before = [make.entry(key_created(old)), make.entry()]
    steps = list(steps_over([(before, [old]), (after, [old, STRANGER]), ([make.entry()], [STRANGER])]))
    checked = walked(LogCheck(VERIFY, [old.key]), steps)
    assert (checked.size, checked.signer, checked.unsigned) == (5, STRANGER.key, 0)
    kept = Note.parse(next(step.note for step in steps if isinstance(step, Written)))
    assert walked(LogCheck(VERIFY, [old.key], against=[kept]), steps) == checked
    assert walked(LogCheck(VERIFY, [STRANGER.key]), steps).unsigned == 1


def test_an_entry_that_waits_says_what_has_been_pruned_already(small: Log) -> None:
    def checked(pruned: int, gone: int) -> Checked:
        check = check_of(small, "declared")
        for step in small.steps:
            take(check, replace(step, entry=None) if isinstance(step, Leaf) and step.index < gone else step)
        check.waiting(Maker(seeded(1)).entry(LogPruned(before=START, size=pruned, entries=pruned)))
        return check.end()

    assert (checked(5, 5).pruned, checked(5, 5).pruned_to) == (5, 5)
    with pytest.raises(Tampered) as found:
        checked(5, 6)
    assert found.value.index == 5


def test_the_first_of_several_entries_without_content_is_named() -> None:
    log = new_log(60, seed=2, pruned=12)
    for gone in ({12}, {12, 14}, {14, 20}, {12, 13, 14, 30}, {13, 59}, {50, 59}):
        steps = [replace(s, entry=None) if isinstance(s, Leaf) and s.index in gone else s for s in log.steps]
        with pytest.raises(Tampered) as found:
            walked(check_of(log, "declared"), steps)
        assert (found.value.index, found.value.last) == (min(gone), min(gone))


def test_a_pruned_log_whose_rotation_is_gone_too_verifies_with_the_key_that_signs_at_present() -> None:
    """With the old one alone nobody can follow: the entry that named the other is what is gone."""
    log = new_log(60, seed=2, pruned=30)
    for trust in ("declared", "new key", "both keys"):
        assert walked(check_of(log, trust), log.steps).pruned == 30


def test_whose_place_it_was_cannot_be_known_any_more_once_the_content_is_gone() -> None:
    """The id beside a leaf is covered by nothing but the content: here it is any other, and nobody sees it."""
    log = new_log(60, seed=2, pruned=12)
    steps = [
        replace(s, entry_id=UUID(int=s.index)) if isinstance(s, Leaf) and s.entry is None else s for s in log.steps
    ]
    assert walked(check_of(log, "declared"), steps).pruned == 12
