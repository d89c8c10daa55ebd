"""Random acts on one session cache, in random order: every answer is compared with the history of the store."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from tests.contracts.kit import NOON, MovableClock, new_grant, new_role, new_session, new_user
from tests.simulation.parts import put_back, rows_of
from tests.support.feeds import PassedOn
from tests.support.values import replace
from ubr.adapters.memory import MemoryChangeFeed, MemoryStore, MemoryUnitOfWork
from ubr.adapters.memory.unit_of_work import MemoryTransaction
from ubr.application.access.cached_sessions import CachedSessions
from ubr.application.access.session_cache import CacheTimes, SessionCache
from ubr.application.audit.recorder import Recorder
from ubr.application.ports.revocation import FeedPosition, FeedRead, WorkerId
from ubr.application.ports.sessions import Principal
from ubr.domain.accounts.user import UserStatus
from ubr.domain.errors import StoreUnavailable
from ubr.domain.ids import RoleId, SessionId, UserId
from ubr.domain.revocation.changes import Change, ChangeRecord
from ubr.domain.roles.permissions import Permission, Permissions
from ubr.domain.sessions.termination import SecurityEvent

TIMES = CacheTimes(patience=3600.0, horizon=30.0)


def state_of(principal: Principal | None) -> Hashable:
    """All of a principal that decisions depend on."""
    if principal is None:
        return None
    user, session = principal.user, principal.session
    roles = frozenset((role.id, role.version, frozenset(map(str, role.permissions))) for role in principal.roles)
    held = frozenset(role.id for role in principal.roles) & frozenset(user.grants)
    return session.id, session.ended_at, user.id, user.status, user.version, held, roles


def about(principal: Principal | None, session_id: SessionId) -> Iterator[tuple[str, str]]:
    """The kinds and ids of the records that an answer depends on."""
    yield "session", str(session_id)
    if principal is not None:
        yield "user", str(principal.user.id)
        for role in principal.roles:
            yield "role", str(role.id)


@dataclass
class Call:
    session_id: SessionId
    since: int
    """The first state of the history that its answer may be."""
    applied: dict[tuple[str, str], int]
    """The same for an answer that depends on one of these."""
    task: asyncio.Task[Principal | None]
    cancelled: bool = False


class Statements:
    """A peek whose statements wait at gates, and each read the state of their moment."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.principals = self

    async def feed_position(self) -> FeedPosition:
        await self._run.gate()
        return self._run.head

    async def many(self, session_ids: Collection[SessionId]) -> dict[SessionId, Principal]:
        await self._run.gate()
        async with self._run.units.read() as tx:
            found = await tx.principals.many(session_ids)
        await self._run.gate()
        return found


class GatedFeed(PassedOn):
    """A feed whose reads wait at gates."""

    def __init__(self, run: Run) -> None:
        super().__init__(MemoryChangeFeed(run.store))
        self._run = run

    async def read(self, since: int | None) -> FeedRead:
        await self._run.gate()
        found = await super().read(since)
        await self._run.gate()
        return found


@dataclass
class Run:
    """One store with a history, one cache, and everything that is in progress."""

    dice: random.Random
    store: MemoryStore = field(default_factory=MemoryStore)
    now: float = 1000.0
    gates: list[asyncio.Future[None]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    polls: list[asyncio.Task[None]] = field(default_factory=list)
    history: list[dict[SessionId, Hashable]] = field(default_factory=list)
    moments: dict[tuple[str, int], int] = field(default_factory=dict)
    """The state of the history at a position of the feed."""
    applied: dict[tuple[str, str], int] = field(default_factory=dict)
    """By kind and id, the latest state whose change record the cache has applied."""
    sessions: list[SessionId] = field(default_factory=list)
    users: list[UserId] = field(default_factory=list)
    roles: list[RoleId] = field(default_factory=list)
    saved: dict[str, Any] | None = None
    answers: int = 0
    closed: bool = False

    def __post_init__(self) -> None:
        self.units = MemoryUnitOfWork(self.store, Recorder(uuid4, os.urandom), MovableClock())
        feed = GatedFeed(self)
        self.cache = SessionCache(WorkerId(uuid4()), self, feed, lambda: self.now, TIMES)  # type: ignore[arg-type]
        self.cache._entries = CachedSessions(12, TIMES.horizon, unpacked=3)  # noqa: SLF001 - so few that all are moved

    # --- the store ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def peek(self) -> AsyncIterator[Statements]:
        yield Statements(self)

    @property
    def head(self) -> FeedPosition:
        return FeedPosition(epoch=self.store.epoch, number=len(self.store.feed))

    async def gate(self) -> None:
        """Wait until the run goes on here, or fails here."""
        if self.closed:
            return
        opened = asyncio.get_running_loop().create_future()
        self.gates.append(opened)
        await opened

    async def note(self) -> None:
        """Append the present state to the history."""
        async with self.units.read() as tx:
            found = await tx.principals.many(self.sessions)
        self.history.append({each: state_of(found.get(each)) for each in self.sessions})
        for number in range(len(self.store.feed), -1, -1):
            if (self.store.epoch, number) in self.moments:
                break
            self.moments[self.store.epoch, number] = len(self.history) - 1

    async def change(self) -> None:
        """One random commit."""
        async with self.units.begin(None) as tx:
            await self.dice.choice(_CHANGES)(self, tx)
            await tx.commit()
        await self.note()

    async def another_database(self) -> None:
        """The same rows on another server, or those of an earlier moment."""
        if self.saved is None or self.dice.random() < 0.5:
            self.saved = rows_of(self.store)
        else:
            put_back(self.store, self.saved)
            self.saved = None
        self.store.epoch = uuid4().hex
        await self.note()

    # --- the cache ---------------------------------------------------------------------------------------------------

    def deliver(self) -> None:
        """Some records over the fast path: in any order, again, or ahead of the cursor."""
        if self.store.feed:
            near = self.store.feed[-self.dice.randint(1, 12) :]
            rows = self.dice.sample(near, self.dice.randint(1, len(near)))
            self.cache.apply(self.store.epoch, rows)
            if self.cache._epoch == self.store.epoch:  # noqa: SLF001 - otherwise it has ignored them
                self._applied(rows)

    def _applied(self, rows: list[ChangeRecord]) -> None:
        for row in rows:
            about = (row.change.kind, row.change.id)
            self.applied[about] = max(self.applied.get(about, 0), self.moments[self.store.epoch, row.number])

    def call(self) -> None:
        session_id = self.dice.choice(self.sessions)
        position = self.cache.position
        since = 0 if position is None else self.moments[position.epoch, position.number]
        ask = self.cache.look_up if self.dice.random() < 0.1 else self.cache.principal
        if ask == self.cache.look_up:
            since = len(self.history) - 1
        self.calls.append(Call(session_id, since, dict(self.applied), asyncio.create_task(ask(session_id))))

    def open_gate(self, *, failing: bool = False) -> None:
        if self.gates:
            opened = self.gates.pop(self.dice.randrange(len(self.gates)))
            if failing:
                opened.set_exception(StoreUnavailable())
            else:
                opened.set_result(None)

    def cancel(self) -> None:
        if self.calls:
            call = self.dice.choice(self.calls)
            call.cancelled |= call.task.cancel()

    def check(self) -> None:
        """Compare the answers that have come with the history."""
        for call in [call for call in self.calls if call.task.done()]:
            self.calls.remove(call)
            if call.task.cancelled():
                assert call.cancelled, "a call was cancelled that nobody cancelled"
            elif (error := call.task.exception()) is not None:
                assert isinstance(error, StoreUnavailable)
            else:
                self.answers += 1
                principal = call.task.result()
                answer = state_of(principal)
                since = max([call.since, *(call.applied.get(each, 0) for each in about(principal, call.session_id))])
                possible = [state.get(call.session_id) for state in self.history[since:]]
                assert answer in possible, f"{answer} is none of {set(possible)}"

    async def step(self) -> None:
        await self._act()
        for _ in range(self.dice.choice((0, 0, 1, 1, 2, 5))):
            await asyncio.sleep(0)
        self.check()

    async def _act(self) -> None:
        match self.dice.choices(range(9), weights=(6, 20, 30, 1, 2, 3, 1, 1.5, 0.1))[0]:
            case 0:
                await self.change()
            case 1:
                for _ in range(self.dice.choice((1, 1, 5))):
                    self.call()
            case 2:
                for _ in range(self.dice.choice((1, 1, 3, 8))):
                    self.open_gate()
            case 3:
                self.open_gate(failing=True)
            case 4:
                self.polls.append(asyncio.create_task(self.cache.poll_feed()))
            case 5:
                self.deliver()
            case 6:
                self.cancel()
            case 7:
                self.now += self.dice.choice((0.1, 0.1, 0.7, 8.0, 40.0))
            case _:
                await self.another_database()

    async def finish(self) -> None:
        """Without further gates and calls, every call in progress is answered."""
        self.closed = True
        while self.gates:
            self.open_gate()
        for _ in range(1000):
            if all(call.task.done() for call in self.calls):
                break
            await asyncio.sleep(0)
        assert all(call.task.done() for call in self.calls), "a call waits for nothing"
        self.check()
        await asyncio.gather(*self.polls, return_exceptions=True)
        self.polls.clear()
        self.closed = False


async def _new_session(run: Run, tx: MemoryTransaction) -> None:
    user = await tx.users.get(run.dice.choice(run.users))
    if user is not None:
        session = new_session(user)
        run.sessions.append(session.id)
        await tx.sessions.add(session)


async def _end_session(run: Run, tx: MemoryTransaction) -> None:
    session = await tx.sessions.get(run.dice.choice(run.sessions))
    if session is not None and session.ended_at is None:
        session.end(SecurityEvent.REVOKED, now=NOON)
        session.events.clear()
        await tx.sessions.save(session)
        tx.announce(Change("session", str(session.id)))


async def _change_user(run: Run, tx: MemoryTransaction) -> None:
    user = await tx.users.get(run.dice.choice(run.users))
    if user is None:
        return
    user.version += 1
    role_id = run.dice.choice(run.roles)
    role = await tx.roles.get(role_id)
    if run.dice.random() < 0.2:
        user.status = UserStatus.DISABLED if user.active else UserStatus.ACTIVE
    elif role_id in user.grants:
        del user.grants[role_id]
    elif role is not None:
        user.grants[role_id] = new_grant(role)
    await tx.users.save(user)
    tx.announce(Change("user", str(user.id)))


async def _change_role(run: Run, tx: MemoryTransaction) -> None:
    role = await tx.roles.get(run.dice.choice(run.roles))
    if role is not None:
        allowed = Permissions.of([Permission(run.dice.choice(("a:read", "a:write", "b:read")))])
        await tx.roles.save(replace(role, version=role.version + 1, permissions=allowed))
        tx.announce(Change("role", str(role.id)))


async def _replace_role(run: Run, tx: MemoryTransaction) -> None:
    """Delete a role, and create another with its name."""
    place = run.dice.randrange(len(run.roles))
    role = await tx.roles.get(run.roles[place])
    if role is not None:
        await tx.roles.remove(role)
        tx.announce(Change("role", str(role.id)))
    another = new_role()
    run.roles[place] = another.id
    await tx.roles.add(another)


_CHANGES: tuple[Callable[[Run, MemoryTransaction], Any], ...] = (
    _new_session,
    _end_session,
    _change_user,
    _change_user,
    _change_user,
    _change_role,
    _change_role,
    _replace_role,
)


async def begun(seed: int) -> Run:
    run = Run(random.Random(seed))  # noqa: S311 - a run that can be repeated
    roles = [new_role() for _ in range(3)]
    users = [new_user(grants=[new_grant(role) for role in roles]) for _ in range(4)]
    sessions = [new_session(user) for user in users for _ in range(5)]
    run.roles, run.users = [each.id for each in roles], [each.id for each in users]
    run.sessions = [each.id for each in sessions]
    async with run.units.begin(None) as tx:
        for role in roles:
            await tx.roles.add(role)
        for user in users:
            await tx.users.add(user)
        for session in sessions:
            await tx.sessions.add(session)
        await tx.commit()
    await run.note()
    return run


@pytest.mark.parametrize(
    ("seeds", "steps"), [(range(3), 300), pytest.param(range(100, 300), 1000, marks=pytest.mark.long)]
)
async def test_every_answer_is_a_state_since_the_call_began(seeds: range, steps: int) -> None:
    for seed in seeds:
        run = await begun(seed)
        for _ in range(steps // 100):
            for _ in range(100):
                await run.step()
            await run.finish()
        assert run.answers > steps // 2
