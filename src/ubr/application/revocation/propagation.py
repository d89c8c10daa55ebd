"""The revocation barrier: a response that reports an end is sent only when no worker acts on the earlier state."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID

import msgspec

from ubr.application.access.session_cache import CLOCK_RATES, SessionCache
from ubr.application.kernel.hooks import NO_HOOKS, Hooks
from ubr.application.ports.metrics import NO_METRICS, Metrics
from ubr.application.ports.revocation import ChangeFeed, ChangeNotifier, CommittedChanges, Elapsed, Listener, WorkerId
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.errors import InvalidToken, NotFound, RoleNotFound, SessionNotFound, StoreUnavailable, UserNotFound
from ubr.domain.revocation.changes import Change, ChangeKind, ChangeRecord

_REMEMBERED: Final = 10_000
"""Maximum number of verifiers whose last acknowledgement is remembered."""


_GONE: Final[Mapping[ChangeKind, type[NotFound]]] = {
    "session": SessionNotFound,
    "user": UserNotFound,
    "role": RoleNotFound,
}
"""The error for a missing target of a change. For other errors, the change record is not known."""


class RevocationBarrier(msgspec.Struct, frozen=True):
    """Applies committed changes to this worker, notifies the others, and waits for them."""

    session_cache: SessionCache
    feed: ChangeFeed
    notifier: ChangeNotifier
    elapsed: Elapsed
    metrics: Metrics = NO_METRICS

    async def __call__(self, commit_id: UUID, *, must_propagate: bool) -> None:
        """Return when every worker that may hold a lease has acknowledged a commit, or when the bound has passed.

        Without `must_propagate` this worker knows at once, and the others with their next poll.
        """
        began = self.elapsed()
        in_time = False
        try:
            committed = await self.feed.committed_changes(commit_id)
        except StoreUnavailable:
            if must_propagate:
                await self._pause(self._deadline(began))
        else:
            self.session_cache.apply(committed.epoch, committed.rows)
            if must_propagate:
                in_time = await self._acknowledged(committed, self._deadline(began))
        if must_propagate:
            self._waited(began, in_time=in_time)

    async def again(self, change: Change, *, recorded: bool) -> None:
        """Wait for the change of an earlier commit, because the caller of that commit may not have waited.

        The feed holds its record, so this writes nothing. If the record is not about `change`, the bound passes.
        """
        began = self.elapsed()
        until = self._deadline(began)
        try:
            committed = await self.feed.latest_change(change)
        except StoreUnavailable:
            await self._pause(until)
            self._waited(began, in_time=False)
            return
        self.session_cache.apply(committed.epoch, committed.rows)
        in_time = True
        if committed.rows:
            in_time = await self._acknowledged(committed, until)
        if not recorded and committed.workers - {self.session_cache.worker}:
            await self._pause(until)
            in_time = False
        self._waited(began, in_time=in_time)

    def _deadline(self, began: float) -> float:
        return began + self.session_cache.times.bound + CLOCK_RATES

    def _waited(self, began: float, *, in_time: bool) -> None:
        self.metrics.revocation_waited(self.elapsed() - began, in_time=in_time)

    async def _acknowledged(self, committed: CommittedChanges, until: float) -> bool:
        """True if every worker acknowledged; False if the bound has passed."""
        others = committed.workers - {self.session_cache.worker}
        whole = not (committed.steady or self.session_cache.trusts(committed.epoch))
        known = not others
        if others:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, until - self.elapsed())):
                    known = await self.notifier.deliver(committed.epoch, committed.rows, others)
        if whole or not known:
            await self._pause(until)
            return False
        return True

    async def _pause(self, until: float) -> None:
        while (left := until - self.elapsed()) > 0:  # noqa: ASYNC110 - waits for time to pass, not for an event
            await asyncio.sleep(left)


class PollingOnly:
    """The notifier without a fast path: sends no messages. Workers learn of an end with their next poll of the feed.

    An acknowledgement by a verifier still counts if it arrives at the worker that waits for it.
    """

    def __init__(self) -> None:
        self._acknowledged: OrderedDict[WorkerId, tuple[str, int]] = OrderedDict()
        self._news = asyncio.Event()

    async def deliver(self, epoch: str, rows: Sequence[ChangeRecord], to: frozenset[WorkerId]) -> bool:
        number = max((row.number for row in rows), default=0)
        while not all(self._acts(worker, epoch, number) for worker in to):
            await self._news.wait()
        return True

    def _acts(self, worker: WorkerId, epoch: str, number: int) -> bool:
        known, reached = self._acknowledged.get(worker, ("", 0))
        return known == epoch and reached >= number

    async def acknowledge(self, worker: WorkerId, epoch: str, number: int) -> None:
        self._acknowledged[worker] = (epoch, number)
        self._acknowledged.move_to_end(worker)
        while len(self._acknowledged) > _REMEMBERED:
            self._acknowledged.popitem(last=False)
        told, self._news = self._news, asyncio.Event()
        told.set()

    @asynccontextmanager
    async def listen(self, worker: WorkerId, listener: Listener) -> AsyncIterator[None]:  # noqa: ARG002
        yield


class PropagatingUnitOfWork:
    """Units of work whose changes reach other workers before the caller continues.

    A failed or cancelled unit waits for no worker, because its caller gets no answer either.
    """

    def __init__(self, inner: UnitOfWork, barrier: RevocationBarrier, hooks: Hooks = NO_HOOKS) -> None:
        self._begin: Final = inner.begin
        self._barrier: Final = barrier
        self._hooks: Final = hooks
        # These announce no change, so they are those of the store.
        self.read: Final = inner.read
        self.peek: Final = inner.peek
        self.autocommit: Final = inner.autocommit

    @asynccontextmanager
    async def begin(self, actor: Actor | System | None) -> AsyncIterator[Transaction]:
        async with self._begin(actor) as transaction:
            yield transaction
        # The connection has been returned by now, so the wait keeps none from other requests.
        if transaction.commit_id is not None:
            await self._barrier(transaction.commit_id, must_propagate=transaction.must_propagate)
        await self._hooks.run_after(transaction.committed, actor)

    @asynccontextmanager
    async def ending(self, change: Change, *, actor: Actor | System | None) -> AsyncIterator[Transaction]:
        try:
            async with self._begin(actor) as transaction:
                yield transaction
                transaction.announce(change, alone=False)
                await transaction.commit()
        except NotFound as gone:
            await self._barrier.again(change, recorded=isinstance(gone, _GONE.get(change.kind, NotFound)))
            raise
        except InvalidToken:
            if isinstance(actor, Actor):
                await self._barrier.again(Change("session", str(actor.session_id)), recorded=True)
            raise
        if transaction.commit_id is None:
            await self._barrier.again(change, recorded=True)
        else:
            await self._barrier(transaction.commit_id, must_propagate=True)
        await self._hooks.run_after(transaction.committed, actor)
