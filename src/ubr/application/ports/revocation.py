"""Propagation of revocations to all workers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import NewType, Protocol, TypeAlias
from uuid import UUID

import msgspec

from ubr.domain.revocation.changes import Change, ChangeRecord

WorkerId = NewType("WorkerId", UUID)

Elapsed: TypeAlias = Callable[[], float]
"""Seconds on a monotonic clock that also runs while the machine sleeps. Its zero is arbitrary."""


class FeedPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position in the feed. A new epoch means a new history: after a restore, or a restart of the database."""

    epoch: str
    number: int


class FeedRead(msgspec.Struct, frozen=True, kw_only=True):
    """Change records in order of their numbers, and the position of the feed when they were read."""

    position: FeedPosition
    rows: tuple[ChangeRecord, ...]


class CommittedChanges(msgspec.Struct, frozen=True, kw_only=True):
    """The change records of one commit, and every registered worker: its lease may still be valid."""

    epoch: str
    rows: tuple[ChangeRecord, ...]
    workers: frozenset[WorkerId]
    steady: bool
    """True if no other database can have replaced one that a worker read from."""


class ChangeFeed(Protocol):
    """The change feed and the workers that follow it, both in the primary store."""

    async def read(self, since: int | None) -> FeedRead:
        """Every change record numbered above `since`, read from the primary without writing.

        None: only the position.
        """
        ...

    async def committed_changes(self, commit_id: UUID) -> CommittedChanges:
        """The change records of a committed unit, and every registered worker."""
        ...

    async def latest_change(self, change: Change) -> CommittedChanges:
        """The newest record about the target of this change, if the feed has one, and every registered worker."""
        ...

    async def renew(self, worker: WorkerId) -> None:
        """Renew a worker's lease.

        Every later `committed_changes` includes the worker, until the worker leaves or is removed.
        """
        ...

    async def leave(self, worker: WorkerId) -> None:
        """Remove a worker that answers no more requests, so that no unit waits for it. A second call does nothing."""
        ...

    async def workers(self) -> Mapping[WorkerId, Hashable]:
        """Every registered worker, with a value that changes with each renewal."""
        ...

    async def remove_worker(self, worker: WorkerId, renewal: Hashable) -> None:
        """Remove a worker that has not renewed since this renewal was seen; else do nothing."""
        ...

    async def forget(self, older: timedelta, limit: int) -> int:
        """Delete at most `limit` change records that are older than this, the oldest first.

        Returns the number deleted.
        """
        ...


Listener: TypeAlias = Callable[[str, Sequence[ChangeRecord]], None]
"""Applies change records of an epoch. When it returns, the worker acts on them."""


class ChangeNotifier(Protocol):
    """The fast path for change records. They may be lost, late or repeated: only speed depends on them."""

    async def deliver(self, epoch: str, rows: Sequence[ChangeRecord], to: frozenset[WorkerId]) -> bool:
        """Send change records to workers. Returns True as soon as every worker has acknowledged them.

        Returns False if it cannot send the records. Errors of the technology are not raised. The call has no
        time limit; the caller cancels it.
        """
        ...

    async def acknowledge(self, worker: WorkerId, epoch: str, number: int) -> None:
        """Acknowledge every change record up to a number, on behalf of a verifier, which does not listen itself.

        Errors of the technology are not raised.
        """
        ...

    def listen(self, worker: WorkerId, listener: Listener) -> AbstractAsyncContextManager[None]:
        """Pass received change records to the listener and acknowledge them, until the context ends."""
        ...
