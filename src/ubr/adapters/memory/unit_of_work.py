"""Units of work over the tables in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from uuid import UUID

import msgspec

from ubr.adapters.memory.accounts import MemoryLinks, MemoryUsers
from ubr.adapters.memory.audit import MemoryLogKeys, MemoryLogRecords, MemoryLogs, MemoryLogTree
from ubr.adapters.memory.idempotency import MemoryIdempotencyStore
from ubr.adapters.memory.keys import MemorySigningKeys
from ubr.adapters.memory.leases import MemoryLeases
from ubr.adapters.memory.machines import MemoryMachineKeys, MemoryMachines
from ubr.adapters.memory.mail import MemoryOutbox
from ubr.adapters.memory.personal_data import MemoryPersonalData
from ubr.adapters.memory.protection import MemoryKnownClients, MemoryPasswordAttempts
from ubr.adapters.memory.roles import MemoryRoles
from ubr.adapters.memory.sessions import MemoryPrincipals, MemoryRefreshTokens, MemorySessions
from ubr.adapters.memory.store import Drafts, MemoryStore
from ubr.application.audit.recorder import Recorder
from ubr.application.kernel.hooks import NO_HOOKS, HookedUnit, Hooks
from ubr.application.ports.revocation import FeedPosition
from ubr.application.ports.system import Clock
from ubr.application.ports.unit_of_work import Repositories
from ubr.application.revocation.pending_changes import PendingChanges
from ubr.domain.actor import Actor, System
from ubr.domain.events import Event
from ubr.domain.revocation.changes import Change


class MemoryTransaction:
    """One unit: drafts of all tables, and the events so far."""

    def __init__(
        self,
        store: MemoryStore,
        recorder: Recorder,
        actor: Actor | System | None,
        now: datetime,
        hooks: Hooks = NO_HOOKS,
    ) -> None:
        self._drafts = Drafts(store)
        self._recorder = recorder
        self._actor = actor
        self._events: list[Event] = []
        self._store = store
        self._hooks = hooks
        self.committed: Sequence[Event] = ()
        self._pending = PendingChanges()
        self._epoch: str | None = None
        self.commit_id: UUID | None = None
        self.now = now
        self.users = MemoryUsers(self._drafts, self._events, now)
        self.roles = MemoryRoles(self._drafts, self._events)
        self.sessions = MemorySessions(self._drafts, self._events)
        self.refresh_tokens = MemoryRefreshTokens(self._drafts)
        self.logs = MemoryLogs(self._drafts)
        self.log_tree = MemoryLogTree(self._drafts)
        self.log_records = MemoryLogRecords(self._drafts)
        self.log_keys = MemoryLogKeys(self._drafts)
        self.signing_keys = MemorySigningKeys(self._drafts)
        self.idempotency = MemoryIdempotencyStore(self._drafts)
        self.principals = MemoryPrincipals(self._drafts)
        self.links = MemoryLinks(self._drafts)
        self.outbox = MemoryOutbox(self._drafts)
        self.password_attempts = MemoryPasswordAttempts(self._drafts, now)
        self.known_clients = MemoryKnownClients(self._drafts, now)
        self.leases = MemoryLeases(self._drafts, now)
        self.machines = MemoryMachines(self._drafts, self.users)
        self.machine_keys = MemoryMachineKeys(self._drafts, self._events)
        self.personal_data = MemoryPersonalData(self._drafts)

    async def feed_position(self) -> FeedPosition:
        return FeedPosition(epoch=self._store.epoch, number=len(self._store.feed))

    @property
    def must_propagate(self) -> bool:
        return self._pending.must_propagate

    def announce(self, change: Change, *, alone: bool = True) -> None:
        self._pending.announce(change, alone=alone)

    async def begin_epoch(self) -> None:
        self._epoch = self._recorder.random_bytes(16).hex()

    def record(self, event: Event) -> None:
        self._events.append(event)

    async def commit(self) -> None:
        if self._hooks.works_within:
            unit = HookedUnit(connection=None, actor=self._actor, now=self.now)
            await self._hooks.run_within(tuple(self._events), unit)
        committed = tuple(self._events)
        for entry in self._recorder.entries(self._events, actor=self._actor, now=self.now):
            self._drafts.logs.put(entry.id, entry)
            self._drafts.log_queue.put(entry.id, entry.id)
        self._pending.gather(self._events)
        self._events.clear()
        self._drafts.apply()
        self._store.epoch = self._epoch or self._store.epoch
        if changes := self._pending.changes:
            self.commit_id = self._recorder.new_id()
            self._store.append(self.commit_id, changes)
        self.committed = committed


class MemoryUnitOfWork(msgspec.Struct, frozen=True):
    """Writers run one after the other, as they do in SQLite; readers never wait."""

    store: MemoryStore
    recorder: Recorder
    clock: Clock
    hooks: Hooks = NO_HOOKS

    @asynccontextmanager
    async def begin(self, actor: Actor | System | None) -> AsyncIterator[MemoryTransaction]:
        self.store.home.check()
        async with self.store.writing:
            yield MemoryTransaction(self.store, self.recorder, actor, self.clock(), self.hooks)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[MemoryTransaction]:
        self.store.home.check()
        yield MemoryTransaction(self.store, self.recorder, None, self.clock())

    def peek(self) -> AbstractAsyncContextManager[Repositories]:
        return self.read()

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[Repositories]:
        async with self.begin(None) as tx:
            yield tx
            await tx.commit()
