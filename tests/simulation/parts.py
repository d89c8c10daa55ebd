"""The parts of a simulated installation: a store that many workers reach through gates, and the workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Container, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tests.simulation.loop import SimulatedLoop, thread, worker_of
from tests.support.values import names_of
from ubr.adapters.memory import MemoryChangeFeed, MemoryStore
from ubr.adapters.memory.sessions import MemoryPrincipals
from ubr.adapters.memory.store import Drafts
from ubr.adapters.memory.unit_of_work import MemoryTransaction
from ubr.application.audit.recorder import Recorder
from ubr.application.ports.revocation import CommittedChanges, FeedRead, Listener, WorkerId
from ubr.application.ports.sessions import Principal
from ubr.application.ports.system import Clock
from ubr.domain.actor import Actor, System
from ubr.domain.errors import StoreUnavailable
from ubr.domain.ids import SessionId
from ubr.domain.revocation.changes import Change, ChangeRecord

_KEPT = ("epoch", "steady", "home", "writing", "renewals")


def rows_of(store: MemoryStore) -> dict[str, Any]:
    """A copy of all that a store holds but its workers."""
    held = {name: getattr(store, name).copy() for name in names_of(store) if name not in _KEPT}
    return {**held, "workers": {}}


def put_back(store: MemoryStore, rows: dict[str, Any]) -> None:
    """Let a store hold what it held once."""
    for name, value in rows.items():
        held = getattr(store, name)
        held.clear()
        if isinstance(held, list):
            held.extend(value)
        else:
            held.update(value)


@dataclass
class Storage:
    """The database as all workers reach it: it can be another one from one moment to the next."""

    loop: SimulatedLoop
    store: MemoryStore
    recorder: Recorder
    clock: Clock
    gates: Container[str] | None = None
    """Which gates there are before something is done; None for all."""
    answers_late: bool = True
    """Whether there is a gate between what is done and the knowledge of it."""
    faults: bool = False
    """Whether what asks it may be told that it failed, or not hear that it succeeded."""
    writer: str | None = None
    """Who holds the lock of writers."""
    numbered: int = 0
    """Numbers that were given to rows before their commit, where a planted bug does so."""
    commits: dict[str, str] = field(default_factory=dict)
    """By thread, the epoch in which its last unit was committed."""
    renewed: dict[WorkerId, float] = field(default_factory=dict)
    """When each worker's row was written last."""
    kept: set[str] = field(default_factory=set)
    """The epochs whose commits the present server has."""

    async def gate(self, label: str) -> None:
        if self.gates is None or label in self.gates:
            await self.loop.gate(label, *(("fail",) if self.faults else ()))

    async def returned(self, label: str) -> None:
        """What was asked for is done, and the answer on its way. It may be lost."""
        if self.answers_late:
            await self.loop.gate(label, *(("fail",) if self.faults else ()))

    def replace(self, epoch: str, rows: dict[str, Any] | None) -> None:
        """Another server from now on, with the same rows or with earlier ones. Units under way are lost."""
        self.kept.add(self.store.epoch)
        if rows is not None:
            put_back(self.store, rows)
            self.kept.clear()
        self.kept.add(epoch)
        self.store.epoch = epoch
        self.writer = None

    def crashed(self, worker: str) -> None:
        if self.writer is not None and worker_of(self.writer) == worker:
            self.writer = None


class GatedPrincipals(MemoryPrincipals):
    def __init__(self, drafts: Drafts, storage: Storage, epoch: str, *, gated: bool) -> None:
        super().__init__(drafts)
        self._storage = storage
        self._epoch = epoch
        self._gated = gated

    async def get(self, session_id: SessionId) -> Principal | None:
        if not self._gated:
            return await super().get(session_id)
        await self._storage.gate("principal")
        if self._storage.store.epoch != self._epoch:
            raise StoreUnavailable
        found = await super().get(session_id)
        await self._storage.returned("principal read")
        return found


class GatedTransaction(MemoryTransaction):
    """A unit that lives and dies with the server it began on."""

    def __init__(self, storage: Storage, actor: Actor | System | None, *, writing: bool) -> None:
        super().__init__(storage.store, storage.recorder, actor, storage.clock())
        self._storage = storage
        self.epoch = storage.store.epoch
        self.writing = writing
        self.principals = GatedPrincipals(self._drafts, storage, self.epoch, gated=not writing)

    async def commit(self) -> None:
        await self._storage.gate("commit")
        if self._storage.store.epoch != self.epoch:
            raise StoreUnavailable
        await super().commit()
        self._storage.commits[thread()] = self.epoch
        self._storage.writer = None
        commit_id, self.commit_id = self.commit_id, None
        if self._storage.gates is None:
            await self._storage.returned("committed")
        self.commit_id = commit_id


@dataclass(frozen=True, slots=True)
class GatedUnitOfWork:
    storage: Storage

    @asynccontextmanager
    async def begin(self, actor: Actor | System | None) -> AsyncIterator[GatedTransaction]:
        if self.storage.writer is not None:
            await self.storage.loop.gate("turn", may_open=lambda: self.storage.writer is None)
        self.storage.writer = me = thread()
        try:
            yield GatedTransaction(self.storage, actor, writing=True)
        finally:
            if self.storage.writer == me:
                self.storage.writer = None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[GatedTransaction]:
        await self.storage.gate("begin")
        yield GatedTransaction(self.storage, None, writing=False)

    def peek(self) -> AbstractAsyncContextManager[GatedTransaction]:
        return self.read()

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[GatedTransaction]:
        async with self.begin(None) as tx:
            yield tx
            await tx.commit()


@dataclass(frozen=True, slots=True)
class GatedChangeFeed:
    """The feed at a distance: asked, it may answer from any moment until the answer arrives."""

    storage: Storage
    inner: MemoryChangeFeed

    async def read(self, since: int | None) -> FeedRead:
        await self.storage.gate("feed")
        read = await self.inner.read(since)
        await self.storage.returned("feed read")
        return read

    async def committed_changes(self, commit_id: UUID) -> CommittedChanges:
        # The answer comes with the asking: one that comes later only makes the writer wait for longer.
        await self.storage.gate("workers")
        return await self.inner.committed_changes(commit_id)

    async def latest_change(self, change: Change) -> CommittedChanges:
        await self.storage.gate("workers")
        return await self.inner.latest_change(change)

    async def renew(self, worker: WorkerId) -> None:
        await self.storage.gate("renew")
        await self.inner.renew(worker)
        self.storage.renewed[worker] = self.storage.loop.time()
        await self.storage.returned("renewed")

    async def leave(self, worker: WorkerId) -> None:
        await self.storage.gate("leave")
        await self.inner.leave(worker)
        await self.storage.returned("left")

    async def workers(self) -> Mapping[WorkerId, Hashable]:
        await self.storage.gate("census")
        found = await self.inner.workers()
        await self.storage.returned("census taken")
        return found

    async def remove_worker(self, worker: WorkerId, renewal: Hashable) -> None:
        await self.storage.gate("bury")
        await self.inner.remove_worker(worker, renewal)

    async def forget(self, older: timedelta, limit: int) -> int:
        await self.storage.gate("forget")
        return await self.inner.forget(older, limit)


class GatedNotifier:
    """Messages that arrive late, never, or again, as do their acknowledgements unless those are `swift`."""

    def __init__(self, loop: SimulatedLoop, *, repeats: Callable[[], bool] | None = None, swift: bool = False) -> None:
        self._loop = loop
        self._repeats = repeats
        self._swift = swift
        self._listeners: dict[WorkerId, tuple[str, Listener]] = {}
        self._sent = 0

    async def deliver(self, epoch: str, rows: Sequence[ChangeRecord], to: frozenset[WorkerId]) -> bool:
        acknowledged: set[WorkerId] = set()
        all_did = asyncio.Event()

        async def message(worker: WorkerId, listener: Listener) -> None:
            again = True
            while again:
                await self._loop.gate("nudge")
                listener(epoch, rows)
                if not self._swift:
                    await self._loop.gate("acknowledgement")
                acknowledged.add(worker)
                if to <= acknowledged:
                    all_did.set()
                again = self._repeats is not None and self._repeats()

        self._sent += 1
        for worker, (name, listener) in sorted(self._listeners.items()):
            if worker in to:
                self._loop.spawn(f"{name}:nudge{self._sent}", message(worker, listener))
        await all_did.wait()
        return True

    @asynccontextmanager
    async def listen(self, worker: WorkerId, listener: Listener) -> AsyncIterator[None]:
        self.subscribe(worker, thread(), listener)
        try:
            yield
        finally:
            del self._listeners[worker]

    async def acknowledge(self, worker: WorkerId, epoch: str, number: int) -> None:
        """Nobody listens elsewhere."""

    def subscribe(self, worker: WorkerId, who: str, listener: Listener) -> None:
        self._listeners[worker] = (worker_of(who), listener)


def moment(store_time: datetime, loop: SimulatedLoop) -> Clock:
    """A clock of the day that goes with the loop's time."""
    return lambda: store_time + timedelta(seconds=min(loop.time(), 10.0**6))
