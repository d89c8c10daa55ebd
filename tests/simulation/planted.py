"""Bugs, each a small change of a real part. An exploration that does not find them all shows nothing."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from tests.simulation.parts import GatedChangeFeed, GatedNotifier, GatedTransaction, GatedUnitOfWork, Storage
from tests.support.values import replace
from ubr.adapters.memory import MemoryStore
from ubr.application.access.authorization import authority
from ubr.application.access.session_cache import SessionCache
from ubr.application.ports.revocation import ChangeFeed, CommittedChanges, Elapsed, FeedPosition, FeedRead, WorkerId
from ubr.application.ports.sessions import Principal
from ubr.application.revocation.propagation import RevocationBarrier
from ubr.application.revocation.worker_reaper import WorkerReaper
from ubr.application.sessions.log_out import LogOut
from ubr.application.sessions.revoke_session import RevokeSession, RevokeSessionCommand
from ubr.domain.actor import Actor, System
from ubr.domain.errors import InvalidToken
from ubr.domain.ids import SessionId
from ubr.domain.revocation.changes import ChangeRecord
from ubr.domain.sessions.termination import SecurityEvent


class AnswersAtOnce(RevocationBarrier, frozen=True):
    """The writer does not wait."""

    async def __call__(self, commit_id: UUID, *, must_propagate: bool) -> None:
        await super().__call__(commit_id, must_propagate=False)


class ShortWait(RevocationBarrier, frozen=True):
    """The writer's deadline is shorter than the bound."""

    async def __call__(self, commit_id: UUID, *, must_propagate: bool) -> None:
        shorter = replace(self.session_cache.times, bound=self.session_cache.times.bound - 1)
        session_cache = SessionCache(self.session_cache.worker, None, self.feed, self.elapsed, shorter)  # type: ignore[arg-type]
        await RevocationBarrier(session_cache, self.feed, self.notifier, self.elapsed)(
            commit_id, must_propagate=must_propagate
        )


class SubscribersOnly(GatedNotifier):
    """Only the workers that a nudge reached are waited for."""

    async def deliver(self, epoch: str, rows: Sequence[ChangeRecord], to: frozenset[WorkerId]) -> bool:
        task = asyncio.ensure_future(super().deliver(epoch, rows, to))
        task.cancel()
        return True


class NoRows(GatedChangeFeed):
    """Rows of workers are not there while their leases last."""

    async def committed_changes(self, commit_id: UUID) -> CommittedChanges:
        return replace(await super().committed_changes(commit_id), workers=frozenset())


class HastyReaper(WorkerReaper):
    """A row goes where it was not renewed for a shorter time than a lease lasts."""

    def __init__(self, feed: ChangeFeed, elapsed: Elapsed, row: float) -> None:
        super().__init__(feed, elapsed, row - 2)


class LateLease(SessionCache):
    """The lease that a cycle rests on is looked up when it ends."""

    async def _poll_feed(self) -> None:
        await super()._poll_feed()
        self._poll_lease = self._lease


class NoLease(SessionCache):
    """Being fresh is a matter of the cycle alone."""

    def _fresh(self) -> bool:
        return self._poll_began is not None and self._poll_began >= self._elapsed() - self.times.bound


class Replaces(SessionCache):
    """What a cycle reads is put in the place of what nudges brought."""

    async def _poll_feed(self) -> None:
        read = self._feed.read

        class Forgetful:
            async def read(_, since: int | None) -> FeedRead:  # noqa: N805
                found = await read(since)
                self._known.clear()
                return found

        feed = self._feed
        self._feed = Forgetful()  # type: ignore[assignment]
        try:
            await super()._poll_feed()
        finally:
            self._feed = feed


class EarlyRow(SessionCache):
    """A lease is used before its commit is known."""

    async def _renew(self) -> None:
        self._lease = self._elapsed()
        await super()._renew()


class CachedAcross(SessionCache):
    """A reading that crossed an end is kept."""

    def _keep(self, principal: Principal, number: int, until: int, read_at: float) -> Principal:
        known, self._known = self._known, OrderedDict()
        try:
            return super()._keep(principal, number, until, read_at)
        finally:
            self._known = known


class SilentRefusal(LogOut, frozen=True):
    """Who finds the session ended says so at once."""

    async def __call__(self, *, actor: Actor) -> None:
        async with self.unit_of_work.read() as tx:
            session = await tx.sessions.get(actor.session_id)
        if session is None or session.ended_at is not None:
            raise InvalidToken
        await super().__call__(actor=actor)


class SilentSecond(RevokeSession, frozen=True):
    """Who finds the work done says so at once."""

    async def __call__(self, command: RevokeSessionCommand, /, *, actor: Actor | System) -> None:
        async with self.unit_of_work.begin(actor) as tx:
            await authority(tx, actor)
            session = await tx.sessions.get(SessionId(command.session_id))
            assert session is not None
            session.end(SecurityEvent.REVOKED, now=tx.now)
            await tx.sessions.save(session)
            await tx.commit()


class EpochIgnored(GatedChangeFeed):
    """A restored database is taken for the one before."""

    async def read(self, since: int | None) -> FeedRead:
        found = await super().read(since)
        return replace(found, position=replace(found.position, epoch="0"))


class EpochIgnoredReader(GatedTransaction):
    async def feed_position(self) -> FeedPosition:
        return replace(await super().feed_position(), epoch="0")


class EpochIgnoredUnitOfWork(GatedUnitOfWork):
    """The same for look-ups."""

    @asynccontextmanager
    async def read(self) -> AsyncIterator[GatedTransaction]:
        await self.storage.gate("begin")
        yield EpochIgnoredReader(self.storage, None, writing=False)


class RenewalCrosses(SessionCache):
    """A renewal counts though the database was replaced before it was known."""

    async def _renew(self) -> None:
        began = self._elapsed()
        await self._feed.renew(self.worker)
        self._lease = began


class TrustsTooSoon(SessionCache):
    """A database is taken to have been there since it was asked, not since it answered."""

    async def _poll_feed(self) -> None:
        began, epoch = self._elapsed(), self._epoch
        await super()._poll_feed()
        if self._epoch != epoch:
            self._epoch_since = began


class NumbersGoOn(SessionCache):
    """A restored database is taken to have had no rows below those of the one before."""

    def _begin(self, position: FeedPosition) -> None:
        super()._begin(position)
        self._known_from = 0


class AnswersOn(SessionCache):
    """Who leaves forgets, and may be fresh again by what was under way."""

    async def leave(self) -> None:
        self._entries.clear()
        self._known.clear()
        self._lease = self._poll_began = self._poll_lease = None
        await self._feed.leave(self.worker)


class TrustsAll(SessionCache):
    """Any database that this worker reads from is taken to have been there for long."""

    def trusts(self, epoch: str) -> bool:
        return epoch == self._epoch


def _newest(store: MemoryStore) -> int:
    return max((row.number for row in store.feed), default=0)


class SequenceReader(GatedTransaction):
    """Takes the highest number that it sees for where the feed stands."""

    async def feed_position(self) -> FeedPosition:
        return FeedPosition(epoch=self._store.epoch, number=_newest(self._store))


class SequenceTransaction(SequenceReader):
    """Takes the number of its row when it begins."""

    def __init__(self, storage: Storage, actor: Actor | System | None, *, writing: bool) -> None:
        super().__init__(storage, actor, writing=writing)
        storage.numbered += 1
        self._number = storage.numbered

    async def commit(self) -> None:
        store, before = self._store, len(self._store.feed)
        await super().commit()
        store.feed[before:] = [ChangeRecord(self._number, row.change) for row in store.feed[before:]]
        if self.commit_id is not None:
            store.commits[self.commit_id] = tuple(store.feed[before:])


class SequenceUnitOfWork(GatedUnitOfWork):
    """Rows are numbered when they are written, as a sequence does, not when they are committed."""

    @asynccontextmanager
    async def begin(self, actor: Actor | System | None) -> AsyncIterator[GatedTransaction]:
        yield SequenceTransaction(self.storage, actor, writing=True)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[GatedTransaction]:
        await self.storage.gate("begin")
        yield SequenceReader(self.storage, None, writing=False)


class SequenceFeed(GatedChangeFeed):
    async def read(self, since: int | None) -> FeedRead:
        await self.storage.gate("feed")
        rows = tuple(row for row in self.inner.store.feed if since is not None and row.number > since)
        newest = _newest(self.inner.store)
        await self.storage.returned("feed read")
        return FeedRead(position=FeedPosition(epoch=self.inner.store.epoch, number=newest), rows=rows)
