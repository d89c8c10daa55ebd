"""The log: its entries, the tree over them, and the keys that sign it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from ubr.application.ports.paging import After
from ubr.domain.actor import Actor
from ubr.domain.audit.checkpoint import LogKey
from ubr.domain.audit.entry import LogEntry
from ubr.domain.audit.log_check import Leaf
from ubr.domain.audit.merkle import Frontier, Node
from ubr.domain.events import Level
from ubr.domain.ids import LogEntryId, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which entries. All conditions must hold; `since` is the first moment counted, `until` the first not counted."""

    level: Level | None = None
    action: str | None = None
    actor_id: UserId | None = None
    target_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Logs(Protocol):
    async def page(self, which: LogFilter, after: After[datetime] | None, limit: int) -> list[LogEntry]:
        """At most `limit` entries behind `after`, newest first. Entries are written by committing a unit."""
        ...

    async def get(self, entry_id: LogEntryId) -> LogEntry | None:
        """The entry; None where there is none, or its content is gone."""
        ...


class LogSigning(Protocol):
    """The keys of the log: Ed25519 (RFC 8032), kept sealed."""

    def generate(self, now: datetime, after: LogKey | None = None, *, anew: bool = False) -> LogKey:
        """A new key, sealed with the newest secret, that follows another or is the first.

        It signs for the same log; `anew` for one with a new name, as the first does.
        """
        ...

    def sign(self, key: LogKey, message: bytes) -> bytes:
        """A signature of 64 bytes. Errors: `LogKeyLocked` where no secret opens the key."""
        ...

    def check(self, key: LogKey) -> None:
        """Errors: `LogKeyLocked` where no secret opens the key."""
        ...

    def reseal(self, key: LogKey) -> LogKey:
        """The key sealed with the newest secret; the very same where it is already. Errors: `LogKeyLocked`."""
        ...

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Whether a signature is right."""
        ...


STORED_LEVELS: Final = 8
"""Nodes of every so many levels are kept, leaves among them. The others are computed from at most 256 of these."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """The entries that are not in the tree yet. `oldest` is when the first of them was written.

    None where none waits, and where the oldest ones are gone.
    """

    entries: int = 0
    oldest: datetime | None = None

    def age(self, now: datetime) -> timedelta:
        """How long the oldest has waited."""
        return timedelta(0) if self.oldest is None else max(timedelta(0), now - self.oldest)


class LogTree(Protocol):
    """What the tree is made of. It only grows, in whole batches.

    Errors of whatever reads here: `LogDamaged` for what nothing of ours could have written.
    """

    async def anything_waiting(self) -> bool:
        """Whether an entry is not in the tree yet."""
        ...

    async def backlog(self) -> Backlog:
        """The entries that are not in the tree yet. Errors: `LogDamaged`."""
        ...

    async def lead(self, *, wait: bool) -> bool:
        """Become the one who adds to the tree, until the unit ends. False where another is; or wait until it is not.

        Only who may change the tree can keep others from it.
        """
        ...

    async def state(self) -> Frontier:
        """The tree as it stands. Errors: `LogDamaged` where what is kept of it is no tree."""
        ...

    async def waiting(self, limit: int) -> list[LogEntry]:
        """At most `limit` entries that are not in the tree, oldest first by their ids."""
        ...

    async def extend(
        self,
        first: int,
        leaves: Sequence[tuple[LogEntryId, bytes]],
        nodes: Sequence[tuple[Node, bytes]],
        grown: Frontier,
        note: str,
    ) -> None:
        """Add the leaves of entries, from `first` on, the nodes they complete, and the signed checkpoint over them.

        The entries wait no longer. Errors: `LogDamaged` where one of them is in the tree already.
        """
        ...

    async def index_of(self, entry_id: LogEntryId) -> int | None:
        """Where an entry stands in the tree; None where it does not yet, or does not exist."""
        ...

    async def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """The hashes of so many nodes of a level that is kept, side by side. Fewer where there are no more."""
        ...

    async def newest_checkpoint(self) -> str | None:
        """The signed note over the whole tree; None over the empty one."""
        ...


class LogRecords(Protocol):
    """The whole log, as it is kept: for whoever checks it, exports it or deletes what is old.

    Errors as of `LogTree`, but for `leaves`.
    """

    async def leaves(self, first: int, limit: int) -> list[Leaf]:
        """At most `limit` leaves from an index on, in order, with their entries. What cannot be read is marked so."""
        ...

    async def checkpoints(self, above: int | None, limit: int) -> list[tuple[int, str]]:
        """At most `limit` checkpoints of more than so many entries, with the size each is kept under, in order.

        None: from the least on.
        """
        ...

    async def strays(self, limit: int) -> list[LogEntryId]:
        """Entries that are neither in the tree nor waiting to be."""
        ...

    async def lost(self, limit: int) -> list[LogEntryId]:
        """Entries that wait to be in the tree and are gone, or in it already."""
        ...

    async def older(self, than: datetime, first: int, limit: int) -> int:
        """How many leaves from an index on, one after the other and at most `limit`, are of entries older than this.

        Leaves whose entries are gone count as well.
        """
        ...

    async def pruned(self) -> int:
        """Of how many leaves, from the first on, the entries may be gone."""
        ...

    async def prune(self, until: int) -> int:
        """Delete the entries of all leaves below an index; the leaves stay. The number deleted."""
        ...


class LogKeys(Protocol):
    """The keys that sign checkpoints, and those that did."""

    async def all(self) -> Sequence[LogKey]:
        """Every key, oldest first; never locked."""
        ...

    async def all_to_change(self) -> Sequence[LogKey]:
        """The same for who will add or change some: until the unit ends no other unit gets an answer to it."""
        ...

    async def add(self, key: LogKey) -> None:
        """Store a new key."""
        ...

    async def save(self, key: LogKey) -> None:
        """Store a key that was sealed anew."""
        ...


class DenialLog(Protocol):
    async def note(self, actor: Actor, act: str, problem: str) -> None:
        """Record that an act was denied to somebody who is logged in, with the code of the error.

        Errors: `StoreUnavailable`; then it is counted, and recorded later.
        """
        ...
