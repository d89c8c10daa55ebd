"""Propagation of the revocations in a transaction that the host commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from ubr.application.ports.hosting import NotCommitted
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.application.revocation.propagation import RevocationBarrier
from ubr.domain.actor import Actor, System
from ubr.domain.errors import StoreUnavailable
from ubr.domain.revocation.changes import Change

_UNCOMMITTED: Final = (
    "The transaction has not been committed, or was rolled back: its revocations are not in the database"
)


class HostedPropagation:
    """Units of work in a transaction of the host. They announce nothing before its commit, and wait for nothing.

    Their change records are rows of the transaction. So every worker finds them with its next poll after the commit,
    also if this process dies, and no worker acts on the earlier state for longer than the bound.
    """

    def __init__(self, inner: UnitOfWork, barrier: RevocationBarrier) -> None:
        self._begin: Final = inner.begin
        self._barrier: Final = barrier
        # These announce no change, so they are those of the host's transaction.
        self.read: Final = inner.read
        self.peek: Final = inner.peek
        self.autocommit: Final = inner.autocommit
        self._commits: Final[dict[UUID, bool]] = {}
        """For each unit that wrote change records, whether they have to be known everywhere."""
        self._repeated: Final[dict[Change, None]] = {}
        """The changes of earlier commits: their callers may not have waited."""

    @asynccontextmanager
    async def begin(self, actor: Actor | System | None) -> AsyncIterator[Transaction]:
        async with self._begin(actor) as transaction:
            yield transaction
        if transaction.commit_id is not None:
            self._commits[transaction.commit_id] = transaction.must_propagate

    @asynccontextmanager
    async def ending(self, change: Change, *, actor: Actor | System | None) -> AsyncIterator[Transaction]:
        async with self._begin(actor) as transaction:
            yield transaction
            transaction.announce(change, alone=False)
            await transaction.commit()
        if transaction.commit_id is None:
            self._repeated[change] = None
        else:
            self._commits[transaction.commit_id] = True

    async def committed(self) -> None:
        """Return when the changes of the host's transaction are known everywhere, or when the bound has passed.

        Units that the host rolled back to a savepoint do not count. A second call does nothing.
        Errors: `NotCommitted` if there were changes and none of them is in the database.
        """
        try:
            found = [commit for commit in self._commits if (await self._barrier.feed.committed_changes(commit)).rows]
        except StoreUnavailable:  # then the barrier waits for the bound
            found = list(self._commits)
        if self._commits and not found:
            raise NotCommitted(_UNCOMMITTED)
        async with asyncio.TaskGroup() as waiting:
            for commit in found:
                waiting.create_task(self._barrier(commit, must_propagate=self._commits[commit]))
            for change in self._repeated:
                waiting.create_task(self._barrier.again(change, recorded=True))
        self._commits.clear()
        self._repeated.clear()
