"""Propagation of the revocations in a transaction that the host commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from ubr.application.ports.hosting import NotCommitted
from ubr.application.ports.revocation import ChangeFeed
from ubr.application.ports.unit_of_work import Repositories, Transaction, UnitOfWork
from ubr.application.revocation.propagation import RevocationBarrier
from ubr.domain.actor import Actor, System
from ubr.domain.errors import StoreUnavailable
from ubr.domain.revocation.changes import Change

_UNCOMMITTED: Final = (
    "The transaction has not been committed, or was rolled back: its revocations are not in the database"
)


@dataclass(frozen=True, slots=True)
class HostedPropagation:
    """Units of work in a transaction of the host. They announce nothing before its commit, and wait for nothing.

    Their change records are rows of the transaction. So every worker finds them with its next poll after the commit,
    also if this process dies, and no worker acts on the earlier state for longer than the bound.
    """

    inner: UnitOfWork
    barrier: RevocationBarrier
    _commits: dict[UUID, bool] = field(default_factory=dict, init=False)
    """For each unit that wrote change records, whether they have to be known everywhere."""
    _repeated: dict[Change, None] = field(default_factory=dict, init=False)
    """The changes of earlier commits: their callers may not have waited."""

    def read(self) -> AbstractAsyncContextManager[Transaction]:
        return self.inner.read()

    def peek(self) -> AbstractAsyncContextManager[Repositories]:
        return self.inner.peek()

    def autocommit(self) -> AbstractAsyncContextManager[Repositories]:
        return self.inner.autocommit()

    @asynccontextmanager
    async def begin(self, actor: Actor | System | None) -> AsyncIterator[Transaction]:
        async with self.inner.begin(actor) as transaction:
            yield transaction
        if transaction.commit_id is not None:
            self._commits[transaction.commit_id] = transaction.must_propagate

    @asynccontextmanager
    async def ending(self, change: Change, *, actor: Actor | System | None) -> AsyncIterator[Transaction]:
        async with self.inner.begin(actor) as transaction:
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
            found = [commit for commit in self._commits if (await self._feed.committed_changes(commit)).rows]
        except StoreUnavailable:  # then the barrier waits for the bound
            found = list(self._commits)
        if self._commits and not found:
            raise NotCommitted(_UNCOMMITTED)
        async with asyncio.TaskGroup() as waiting:
            for commit in found:
                waiting.create_task(self.barrier(commit, must_propagate=self._commits[commit]))
            for change in self._repeated:
                waiting.create_task(self.barrier.again(change, recorded=True))
        self._commits.clear()
        self._repeated.clear()

    @property
    def _feed(self) -> ChangeFeed:
        return self.barrier.feed
