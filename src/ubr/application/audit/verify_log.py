from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

import msgspec

from ubr.application.audit.backlog import OVERDUE
from ubr.application.audit.compare_rights import RightsCheck
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
ENTRIES: Final = 10_000
"""The number of entries that one statement compares with the tree and the queue."""
_BEFORE_ALL: Final = -(2**63)
"""Below every number that a database can store, so that leaves inserted before the first are found as well."""

_WAITING: Final = 10_000

Progress: TypeAlias = Callable[[int, int], object]
"""Called with the number of entries done, and their total."""

T = TypeVar("T", Note, NoteKey)


class VerifyLogCommand(Command, frozen=True, kw_only=True):
    """`keys` are trusted; by default the keys in the database are. `checkpoints` were saved outside it."""

    keys: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()


class VerifiedLogResult(Result, frozen=True, kw_only=True):
    """`finding` is null if everything matches, otherwise a sentence about the first mismatch.

    At least one of the entries `first` to `last` does not match its signature; both are null if the finding is not
    about an entry. `size` counts the verified entries, `pruned` those without content, `checkpoints` those signed
    by a trusted key, and `unsigned` the other checkpoints. `waiting` entries are not in the tree yet, the oldest since
    `waiting_since`; more than a minute is a finding, even if every entry in the tree matches. `restores` are the
    restores that the log records. `unexplained` are administrators and keys whose entries may have been pruned: a
    sentence about each.
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
    unexplained: tuple[str, ...] = ()


class VerifyLog(msgspec.Struct, frozen=True):
    """Verify the whole audit log in the database against its signatures, entry by entry.

    - Only the service itself may. Requires no secret.
    - Recomputes every leaf from its entry, and every checkpoint from the leaves.
    - Compares the stored frontier and the stored nodes of the tree too.
    - Reads page by page and holds no snapshot of the database: the log may grow and be pruned meanwhile.
    - An entry is in the tree or queued for it. Any other entry was inserted without the service.
    - Compares the holders of roles with the permission `*`, these roles, and the signing keys with their entries.
    - An entry that is queued for more than a minute is a finding: the signing of the log may be blocked.
    """

    unit_of_work: UnitOfWork
    verify: VerifySignature
    denials: DenialLog

    @denials_recorded
    async def __call__(
        self, command: VerifyLogCommand, /, *, actor: System, progress: Progress | None = None
    ) -> VerifiedLogResult:
        """Errors: `Invalid` for a text that is not a key or a checkpoint, and for a checkpoint of another log."""
        if not isinstance(actor, System):
            raise Forbidden("Only the service itself may verify the log")
        keys = [_parsed(NoteKey.parse, raw, "/keys") for raw in command.keys]
        against = [_parsed(Note.parse, raw, "/checkpoints") for raw in command.checkpoints]
        walk: _Walk | None = None
        try:
            async with self.unit_of_work.read() as tx:
                declared = not keys
                if declared:
                    keys = list(await tx.log_keys.note_keys())
                check = LogCheck(self.verify, keys, declared=declared, against=against)
                size, pruned = (await tx.log_tree.state()).size, await tx.log_records.pruned()
            walk = _Walk(self.unit_of_work, check, progress, size, pruned)
            return await self._compare_rights(await walk())
        except (Tampered, LogDamaged) as found:
            return finding_result(found, _done(walk))
        except BadNote as error:
            raise Invalid.at("/checkpoints", str(error)) from None

    async def _compare_rights(self, result: VerifiedLogResult) -> VerifiedLogResult:
        """The result with what the log does not explain. It depends on the entries, so they are verified first."""
        if result.finding is not None:
            return result
        check = RightsCheck(self.unit_of_work)
        await check()
        finding = None
        if check.found:
            others = f". {len(check.found) - 1} more differ from the log" if len(check.found) > 1 else ""
            finding = f"{check.found[0]}{others}. The {result.size} signed entries match"
        return msgspec.structs.replace(result, finding=finding, unexplained=tuple(check.pruned))


class _Walk(msgspec.Struct):
    """One walk over the whole log. Each page is a unit of its own: a long snapshot keeps the database from
    cleaning.

    The log may grow and be pruned during the walk. A last unit reads what was added meanwhile, and compares the head of
    the tree.
    """

    unit_of_work: UnitOfWork
    check: LogCheck
    progress: Progress | None
    size: int
    """The size of the log at the beginning."""
    pruned: int
    """The number of leaves at the beginning whose entries may have been deleted."""
    _nodes: list[tuple[Node, bytes]] = msgspec.field(default_factory=list)
    _begun: bool = False

    async def __call__(self) -> VerifiedLogResult:
        """Errors: `Tampered`, `LogDamaged`, `BadNote`."""
        self.check.completed = self._completed
        full = True
        while full:
            async with self.unit_of_work.read() as tx:
                full = await self._page(tx) == PAGE
        async with self.unit_of_work.read() as tx:
            while await self._page(tx):
                pass
            checked = await self._end(tx)
            result = _with_backlog(verified_result(checked), await tx.log_tree.backlog(), tx.now)
        await self._compare_entries()
        return result

    async def _page(self, tx: Transaction) -> int:
        """Check the next leaves. Returns their number."""
        at = self.check.frontier.size
        leaves = await tx.log_records.leaves(at if self._begun else _BEFORE_ALL, PAGE)
        if not leaves:
            return 0
        if (pruned := await tx.log_records.pruned()) > self.pruned:
            self.check.pruned_meanwhile(pruned)
        # There are at most as many checkpoints as leaves, so a page of them reaches as far as a page of leaves.
        self._take(leaves, dict(await tx.log_records.checkpoints(at if self._begun else None, PAGE)))
        self._begun = True
        await self._compare_nodes(tx)
        self._tell(self.check.frontier.size, self.size)
        return len(leaves)

    def _tell(self, done: int, of: int) -> None:
        if self.progress is not None:
            self.progress(done, max(done, of))

    async def _end(self, tx: Transaction) -> Checked:
        if more := await tx.log_records.checkpoints(self.check.frontier.size if self._begun else None, 1):
            [(size, _)], end = more, self.check.frontier.size
            raise Tampered(
                f"There is a checkpoint of size {size}, but the log ends at {end}", index=end, last=max(end, size - 1)
            )
        for entry in await tx.log_tree.waiting(_WAITING):
            self.check.waiting(entry)
        checked = self.check.end()
        if await tx.log_tree.state() != self.check.frontier:
            raise Tampered("The stored frontier of the tree does not match its signature")
        if lost := await tx.log_records.lost(1):
            raise Tampered(f"The entry {lost[0]} is queued for the tree, but is missing or already in it")
        if await tx.log_records.pruned() != checked.pruned_to:
            raise Tampered("No entry states how far the log may be pruned")
        return checked

    def _take(self, leaves: list[Leaf], notes: dict[int, str]) -> None:
        for leaf in leaves:
            self.check.leaf(leaf)
            for size in [size for size in notes if size <= self.check.frontier.size]:
                self.check.checkpoint(size, notes.pop(size))

    def _completed(self, node: Node, hashed: bytes) -> None:
        if node.level % STORED_LEVELS == 0:
            self._nodes.append((node, hashed))

    async def _compare_nodes(self, tx: Transaction) -> None:
        for node, hashed in self._nodes:
            if await tx.log_tree.hashes(node.level, node.position, 1) != [hashed]:
                start = node.position << node.level
                raise Tampered(
                    "The stored nodes of the tree do not match its signature",
                    index=start,
                    last=start + (1 << node.level) - 1,
                )
        self._nodes.clear()

    async def _compare_entries(self) -> None:
        """Check that every entry is in the tree or queued for it."""
        done, last = 0, None
        while True:
            async with self.unit_of_work.read() as tx:
                page = await tx.log_records.strays(last, ENTRIES)
            if page.strays:
                stray = page.strays[0]
                raise Tampered(f"The entry {stray} is neither in the tree nor queued for it", entry_id=stray)
            if page.last is None:
                return
            done, last = done + ENTRIES, page.last
            self._tell(done, self.size)


def _done(walk: _Walk | None) -> int:
    return 0 if walk is None else walk.check.frontier.size


def _parsed(parse: Callable[[str], T], raw: str, pointer: str) -> T:
    try:
        return parse(raw)
    except BadNote as error:
        raise Invalid.at(pointer, str(error)) from None


def _with_backlog(result: VerifiedLogResult, backlog: Backlog, now: datetime) -> VerifiedLogResult:
    """The result with the queued entries. A finding if the oldest is overdue."""
    finding = None
    if backlog.oldest is not None and backlog.age(now) > OVERDUE:
        finding = (
            f"{backlog.entries} entries are queued to be signed, the oldest since {backlog.oldest:%Y-%m-%d %H:%M:%S}Z: "
            f"changes to them and deletions cannot be detected. The {result.size} signed entries match"
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
    """`size` counts the entries that were verified."""
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
