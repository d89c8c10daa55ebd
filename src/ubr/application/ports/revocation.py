"""How an end becomes known everywhere."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import NewType, Protocol, TypeAlias
from uuid import UUID

from ubr.domain.revocation.changes import Change, ChangeRecord

WorkerId = NewType("WorkerId", UUID)

Elapsed: TypeAlias = Callable[[], float]
"""Seconds on a clock that never goes back and that runs on while the machine sleeps. Its zero means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPosition:
    """Where the feed stands. Another epoch means another history: after a restore, or a restart of the database."""

    epoch: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRead:
    """Rows in the order of their numbers, and where the feed stood when they were read."""

    position: FeedPosition
    rows: tuple[ChangeRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedChanges:
    """The rows of one commit, and every worker that has a row: its lease may still last."""

    epoch: str
    rows: tuple[ChangeRecord, ...]
    workers: frozenset[WorkerId]
    steady: bool
    """Whether no other database can have come in the place of one that a worker read from."""


class ChangeFeed(Protocol):
    """The feed and the workers that follow it, both where the truth is."""

    async def read(self, since: int | None) -> FeedRead:
        """Every row numbered above `since`, from where writers write, without writing. None: only where it stands."""
        ...

    async def committed_changes(self, commit_id: UUID) -> CommittedChanges:
        """What a unit that has committed wrote to the feed, and every worker that has a row."""
        ...

    async def latest_change(self, change: Change) -> CommittedChanges:
        """The newest record about the target of this change, and every worker that has a row. No record where the feed
        holds none.
        """
        ...

    async def renew(self, worker: WorkerId) -> None:
        """Renew a worker's lease: every `announced` after this counts it, until it leaves or is buried."""
        ...

    async def leave(self, worker: WorkerId) -> None:
        """A worker that answers nothing any more need not be waited for. A second time does nothing."""
        ...

    async def workers(self) -> Mapping[WorkerId, Hashable]:
        """Every worker that has a row, with something that is another thing after each renewal."""
        ...

    async def remove_worker(self, worker: WorkerId, renewal: Hashable) -> None:
        """Remove the row of a worker that has not renewed since this renewal was seen; else do nothing."""
        ...

    async def forget(self, older: timedelta, limit: int) -> int:
        """Delete at most `limit` rows that are older than this, the oldest first; how many it were."""
        ...


Listener: TypeAlias = Callable[[str, Sequence[ChangeRecord]], None]
"""Takes an epoch and rows of it. When it returns, the worker acts on them."""


class ChangeNotifier(Protocol):
    """Rows on the short way. They may be lost, late or repeated: nothing rests on them but speed."""

    async def deliver(self, epoch: str, rows: Sequence[ChangeRecord], to: frozenset[WorkerId]) -> bool:
        """Send rows to workers; True as soon as each has acknowledged, False where there is no hope of it.

        Never raises for its technology; the caller cancels it when it has waited long enough.
        """
        ...

    async def acknowledge(self, worker: WorkerId, epoch: str, number: int) -> None:
        """Pass on that somebody who does not listen here, a verifier, acts on every row up to a number.

        Never raises for its technology.
        """
        ...

    def listen(self, worker: WorkerId, listener: Listener) -> AbstractAsyncContextManager[None]:
        """Hand what arrives to the listener, acknowledging what it took, for as long as the context lasts."""
        ...
