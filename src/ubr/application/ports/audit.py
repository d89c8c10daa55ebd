"""The audit log: its entries, the Merkle tree over them, and the keys that sign it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from ubr.application.ports.paging import After, Found
    from ubr.domain.actor import Actor
    from ubr.domain.audit.checkpoint import LogKey, NoteKey
    from ubr.domain.audit.entry import LogEntry
    from ubr.domain.audit.log_check import Leaf
    from ubr.domain.audit.merkle import Frontier, Node
    from ubr.domain.events import Level
    from ubr.domain.ids import LogEntryId, SessionId, UserId


class LogFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects entries. All conditions must hold; `since` is inclusive, `until` exclusive.

    `session_id` selects the acts that were done in the session, and those whose target is the session.
    """

    level: Level | None = None
    action: str | None = None
    actor_id: UserId | None = None
    target_id: str | None = None
    request_id: str | None = None
    session_id: SessionId | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def equals(self) -> dict[str, object]:
        """The conditions that ask for one value of a field, by its name, the most telling one first."""
        wanted: dict[str, object] = {
            "request_id": self.request_id,
            "target_id": self.target_id,
            "actor_id": self.actor_id,
            "action": self.action,
            "level": self.level,
        }
        return {name: value for name, value in wanted.items() if value is not None}

    @property
    def several(self) -> bool:
        """True if no single list of entries in order of time answers it: a session has two of its own."""
        return self.session_id is not None or len(self.equals) > 1


class Logs(Protocol):
    async def page(self, which: LogFilter, after: After[datetime] | None, limit: int) -> list[LogEntry]:
        """At most `limit` entries after `after`, newest first. Entries are written by committing a unit of work."""
        ...

    async def search(self, which: LogFilter, after: After[datetime] | None, limit: int) -> Found[LogEntry, datetime]:
        """Like `page`, for a list that a person reads: it reads a bounded number of rows, so it may find fewer."""
        ...

    async def counts(self, action: str, moments: Sequence[datetime], most: int) -> list[int]:
        """The numbers of entries of an action from each moment, inclusive, to the next one, exclusive.

        `moments` are in order. Each number is at most `most`: no more entries are read.
        """
        ...

    async def get(self, entry_id: LogEntryId) -> LogEntry | None:
        """The entry; None if it is missing or pruned."""
        ...


class LogSigning(Protocol):
    """The keys of the log: Ed25519 (RFC 8032), stored encrypted."""

    def generate(self, now: datetime, after: LogKey | None = None, *, anew: bool = False) -> LogKey:
        """A new key, encrypted with the newest secret. It follows `after`, or is the first.

        It has the name of `after`, unless `anew` is True: then it has a new name, as the first key has.
        """
        ...

    def sign(self, key: LogKey, message: bytes) -> bytes:
        """A signature of 64 bytes. Errors: `LogKeyLocked` if no secret decrypts the key."""
        ...

    def check(self, key: LogKey) -> None:
        """Errors: `LogKeyLocked` if no secret decrypts the key."""
        ...

    def reseal(self, key: LogKey) -> LogKey:
        """The key, encrypted with the newest secret. Returns the same object if the newest secret decrypts it already.

        Errors: `LogKeyLocked` if no secret decrypts the key.
        """
        ...

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """True if the signature is valid."""
        ...


STORED_LEVELS: Final = 8
"""Every eighth level of nodes is stored, starting with the leaves.

Any other node is computed from at most 256 stored ones.
"""


class Backlog(msgspec.Struct, frozen=True):
    """The entries that are not in the tree yet. `oldest` is the time of the first of them.

    It is None if no entry is queued, or if the oldest entries are missing.
    """

    entries: int = 0
    oldest: datetime | None = None

    def age(self, now: datetime) -> timedelta:
        """The age of the oldest entry."""
        return timedelta(0) if self.oldest is None else max(timedelta(0), now - self.oldest)


class LogTree(Protocol):
    """The stored tree. It only grows, by whole batches.

    Every reading method raises `LogDamaged` for data that this service cannot have written.
    """

    async def anything_waiting(self) -> bool:
        """True if an entry is not in the tree yet."""
        ...

    async def backlog(self) -> Backlog:
        """The entries that are not in the tree yet. Errors: `LogDamaged`."""
        ...

    async def lead(self, *, wait: bool) -> bool:
        """Become the one writer of the tree until the unit ends.

        If another unit is the writer: wait for it to end if `wait` is set, else return False. It requires the privilege
        to change the tree.
        """
        ...

    async def state(self) -> Frontier:
        """The current tree. Errors: `LogDamaged` if the stored data is not a tree."""
        ...

    async def waiting(self, limit: int) -> list[LogEntry]:
        """At most `limit` entries that are not in the tree yet, oldest first by id."""
        ...

    async def extend(
        self,
        first: int,
        leaves: Sequence[tuple[LogEntryId, bytes]],
        nodes: Sequence[tuple[Node, bytes]],
        grown: Frontier,
        note: str,
    ) -> None:
        """Add the leaves of entries, from index `first` on, the nodes they complete, and the signed checkpoint over
        them.

        The entries leave the queue. Errors: `LogDamaged` if one of them is in the tree already.
        """
        ...

    async def index_of(self, entry_id: LogEntryId) -> int | None:
        """The index of an entry in the tree; None if it is not in the tree yet, or does not exist."""
        ...

    async def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """The hashes of `count` adjacent nodes of a stored level. Fewer if the level has fewer."""
        ...

    async def newest_checkpoint(self) -> str | None:
        """The signed note over the whole tree; None if the tree is empty."""
        ...


class ComparedEntries(msgspec.Struct, frozen=True):
    """One page of entries. `strays` are those that are neither in the tree nor on the waiting list.

    `last` is the last entry of the page; None if it was the last page.
    """

    strays: Sequence[LogEntryId]
    last: LogEntryId | None


class LogRecords(Protocol):
    """The whole log as stored, for verification, export and pruning.

    Errors: those of `LogTree`, except for `leaves`.
    """

    async def leaves(self, first: int, limit: int) -> list[Leaf]:
        """At most `limit` leaves from an index on, in order, with their entries. Unreadable entries are marked."""
        ...

    async def checkpoints(self, above: int | None, limit: int) -> list[tuple[int, str]]:
        """At most `limit` checkpoints of more than `above` entries, each with the size it is stored under, in order.

        None starts at the smallest.
        """
        ...

    async def strays(self, after: LogEntryId | None, limit: int) -> ComparedEntries:
        """Compare the next `limit` entries after `after`, in the order of ids, with the tree and the queue."""
        ...

    async def lost(self, limit: int) -> list[LogEntryId]:
        """Queued entries that are deleted, or in the tree already."""
        ...

    async def older(self, than: datetime, first: int, limit: int) -> int:
        """The length of the run of leaves from index `first` on, at most `limit`, whose entries are older than this.

        Leaves with deleted entries count as well.
        """
        ...

    async def pruned(self) -> int:
        """The number of leaves, counted from the first, whose entries may be deleted."""
        ...

    async def prune(self, until: int) -> int:
        """Delete the entries of all leaves below an index; the leaves stay. Returns the number deleted."""
        ...

    async def mentions(self, user_id: UserId) -> bool:
        """True if the log has an entry of an act of this user, or about this user."""
        ...

    async def forget_client_ips(self, user_id: UserId, limit: int) -> int:
        """Delete the client IPs of at most `limit` entries whose `person` is this user. Returns the number deleted.

        A session is known to be the user's if an entry of an act of theirs names it. Entries of earlier versions keep
        their client IPs.
        """
        ...


class LogKeys(Protocol):
    """The current and former keys that sign checkpoints."""

    async def all(self) -> Sequence[LogKey]:
        """Every key, oldest first; never locked."""
        ...

    async def note_keys(self) -> Sequence[NoteKey]:
        """The public part of every key, oldest first; never locked. This reads no private key, encrypted or not."""
        ...

    async def all_to_change(self) -> Sequence[LogKey]:
        """Every key, for a unit that adds or changes keys. Other units that call this wait until the unit ends."""
        ...

    async def add(self, key: LogKey) -> None:
        """Store a new key."""
        ...

    async def save(self, key: LogKey) -> None:
        """Store a key that was encrypted again."""
        ...


class DenialLog(Protocol):
    async def note(self, actor: Actor, act: str, problem: str) -> None:
        """Record that an act was denied to a logged-in user, with the code of the error.

        Errors: `StoreUnavailable`; the denial is then counted, and recorded later.
        """
        ...

    async def settle_user(self, user_id: UserId) -> None:
        """Record the denials of a user that this process has counted so far. Errors: `StoreUnavailable`."""
        ...
