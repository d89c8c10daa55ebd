from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

import msgspec

from ubr.application.audit.backlog import OVERDUE
from ubr.application.kernel.command import Command, Result
from ubr.application.kernel.denials import denials_recorded
from ubr.application.ports.audit import STORED_LEVELS, Backlog, DenialLog
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import System
from ubr.domain.audit.checkpoint import BadNote, Note, NoteKey, VerifySignature
from ubr.domain.audit.log_check import Checked, Leaf, LogCheck, RestoreFound, Tampered
from ubr.domain.audit.merkle import Node
from ubr.domain.errors import Forbidden, Invalid, LogDamaged

PAGE: Final = 500
_BEFORE_ALL: Final = -(2**63)
"""Below every number that a database can hold: what was slipped in before the beginning is met as well."""

_WAITING: Final = 10_000

Progress: TypeAlias = Callable[[int, int], object]
"""Is told how many entries are done, and of how many."""

T = TypeVar("T", Note, NoteKey)


class VerifyLogCommand(Command, frozen=True, kw_only=True):
    """`keys` are trusted; without any, those that the database names are. `checkpoints` were kept outside it."""

    keys: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()


class VerifiedLogResult(Result, frozen=True, kw_only=True):
    """`finding` is null where everything fits, else a sentence about the first thing that does not.

    Of the entries `first` to `last` one at least is not what was signed then; null where it is about none. `size`
    counts the entries up to there, `pruned` those whose content is gone, `checkpoints` those of a key that is trusted,
    and `unsigned` the others. `waiting` entries are not in the tree yet, the oldest since `waiting_since`; after a
    minute that is a finding, although all that is in the tree may fit. `restores` are all that the log tells of.
    """

    finding: str | None
    first: int | None
    last: int | None
    size: int
    pruned: int
    checkpoints: int
    unsigned: int
    signer: str | None
    waiting: int = 0
    waiting_since: datetime | None = None
    restores: tuple[RestoreFound, ...] = ()


@dataclass(frozen=True, slots=True)
class VerifyLog:
    """Check the whole log in the database against what was signed, entry by entry.

    - Only the service itself may. It takes no secret.
    - Every leaf is computed anew from its entry, and every checkpoint from the leaves.
    - What is kept of the tree, for adding to it and for proofs, is compared too.
    - An entry is in the tree or waits to be. One that does neither was put there past the service.
    - One that has waited for more than a minute is a finding: somebody may keep the log from being signed.
    """

    unit_of_work: UnitOfWork
    verify: VerifySignature
    denials: DenialLog

    @denials_recorded
    async def __call__(
        self, command: VerifyLogCommand, /, *, actor: System, progress: Progress | None = None
    ) -> VerifiedLogResult:
        """Errors: `Invalid` for a key or checkpoint that is none, and for a checkpoint of another log."""
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may verify the log")
        keys = [_parsed(NoteKey.parse, raw, "/keys") for raw in command.keys]
        against = [_parsed(Note.parse, raw, "/checkpoints") for raw in command.checkpoints]
        async with self.unit_of_work.read() as tx:
            declared = not keys
            walk: _Walk | None = None
            try:
                if declared:
                    keys = [key.note_key for key in await tx.log_keys.all()]
                walk = _Walk(tx, LogCheck(self.verify, keys, declared=declared, against=against), progress)
                return _with_backlog(verified_result(await walk()), await tx.log_tree.backlog(), tx.now)
            except (Tampered, LogDamaged) as found:
                return finding_result(found, _done(walk))
            except BadNote as error:
                raise Invalid.at("/checkpoints", str(error)) from None


@dataclass(slots=True)
class _Walk:
    """One look at a whole log, in one snapshot."""

    tx: Transaction
    check: LogCheck
    progress: Progress | None
    _nodes: list[tuple[Node, bytes]] = field(default_factory=list)

    async def __call__(self) -> Checked:
        """Errors: `Tampered`, `LogDamaged`, `BadNote`."""
        self.check.completed = self._completed
        head = await self.tx.log_tree.state()
        first: int = _BEFORE_ALL
        above: int | None = None
        while leaves := await self.tx.log_records.leaves(first, PAGE):
            # There are no more checkpoints than leaves, so a page of them reaches as far.
            notes = dict(await self.tx.log_records.checkpoints(above, PAGE))
            self._take(leaves, notes)
            await self._compare_nodes()
            first = above = self.check.frontier.size
            if self.progress is not None:
                self.progress(first, max(first, head.size))
        if more := await self.tx.log_records.checkpoints(above, 1):
            [(size, _)], end = more, self.check.frontier.size
            raise Tampered(
                f"There is a checkpoint of size {size}, and the log ends at {end}", index=end, last=max(end, size - 1)
            )
        for entry in await self.tx.log_tree.waiting(_WAITING):
            self.check.waiting(entry)
        checked = self.check.end()
        if head != self.check.frontier:
            raise Tampered("What is kept of the tree for adding to it is not what was signed")
        await self._beside(checked)
        return checked

    def _take(self, leaves: list[Leaf], notes: dict[int, str]) -> None:
        for leaf in leaves:
            self.check.leaf(leaf)
            for size in [size for size in notes if size <= self.check.frontier.size]:
                self.check.checkpoint(size, notes.pop(size))

    def _completed(self, node: Node, hashed: bytes) -> None:
        if node.level % STORED_LEVELS == 0:
            self._nodes.append((node, hashed))

    async def _compare_nodes(self) -> None:
        for node, hashed in self._nodes:
            if await self.tx.log_tree.hashes(node.level, node.position, 1) != [hashed]:
                start = node.position << node.level
                raise Tampered(
                    "What is kept of the tree for proofs is not what was signed",
                    index=start,
                    last=start + (1 << node.level) - 1,
                )
        self._nodes.clear()

    async def _beside(self, checked: Checked) -> None:
        """What is not in the tree."""
        if strays := await self.tx.log_records.strays(1):
            raise Tampered(f"The entry {strays[0]} is neither in the tree nor waits to be", entry_id=strays[0])
        if lost := await self.tx.log_records.lost(1):
            raise Tampered(f"The entry {lost[0]} waits to be in the tree, and is gone or in it already")
        if await self.tx.log_records.pruned() != checked.pruned_to:
            raise Tampered("No entry says how far the log may be pruned")


def _done(walk: _Walk | None) -> int:
    return 0 if walk is None else walk.check.frontier.size


def _parsed(parse: Callable[[str], T], raw: str, pointer: str) -> T:
    try:
        return parse(raw)
    except BadNote as error:
        raise Invalid.at(pointer, str(error)) from None


def _with_backlog(result: VerifiedLogResult, backlog: Backlog, now: datetime) -> VerifiedLogResult:
    """The same, and what waits."""
    finding = None
    if backlog.oldest is not None and backlog.age(now) > OVERDUE:
        finding = (
            f"{backlog.entries} entries wait to be signed, the oldest since {backlog.oldest:%Y-%m-%d %H:%M:%S}Z: "
            f"nothing shows that one of them was changed or deleted. The {result.size} that are signed fit"
        )
    return msgspec.structs.replace(result, finding=finding, waiting=backlog.entries, waiting_since=backlog.oldest)


def verified_result(checked: Checked) -> VerifiedLogResult:
    return VerifiedLogResult(
        finding=None,
        first=None,
        last=None,
        size=checked.size,
        pruned=checked.pruned,
        checkpoints=checked.checkpoints,
        unsigned=checked.unsigned,
        signer=None if checked.signer is None else str(checked.signer),
        restores=checked.restores,
    )


def finding_result(found: Tampered | LogDamaged, size: int) -> VerifiedLogResult:
    """`size` counts the entries that fit."""
    return VerifiedLogResult(
        finding=str(found),
        first=found.index if isinstance(found, Tampered) else None,
        last=found.last if isinstance(found, Tampered) else None,
        size=size,
        pruned=0,
        checkpoints=0,
        unsigned=0,
        signer=None,
    )
