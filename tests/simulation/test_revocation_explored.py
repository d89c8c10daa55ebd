"""What `docs/sessions.md` promises, on every schedule of a small scope: once the answer to a revocation has been sent,
nobody who asks after it is served from before it. The real use cases, view and wait; a store and nudges with gates.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import pytest

from tests.simulation import planted
from tests.simulation.explore import Event, Outcome, Shapes, explore
from tests.simulation.loop import SimulatedLoop, thread, worker_of
from tests.simulation.parts import GatedChangeFeed, GatedNotifier, GatedUnitOfWork, Storage, put_back, rows_of
from tests.support.values import replace
from ubr.adapters.memory import MemoryChangeFeed, MemoryStore
from ubr.adapters.security.system import Uuid7, random_bytes
from ubr.application.access.authorization import Authorize
from ubr.application.access.session_cache import CacheTimes, SessionCache
from ubr.application.accounts.get_user import GetUser, GetUserCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.audit.denials import DenialRecorder
from ubr.application.audit.recorder import Recorder
from ubr.application.ports.revocation import WorkerId
from ubr.application.revocation.propagation import PropagatingUnitOfWork, RevocationBarrier
from ubr.application.revocation.worker_reaper import WorkerReaper
from ubr.application.sessions.log_in import LogInCommand
from ubr.application.sessions.log_out import LogOut
from ubr.application.sessions.revoke_session import RevokeSession, RevokeSessionCommand
from ubr.bootstrap.memory import MemoryContainer
from ubr.domain.actor import SYSTEM, Actor
from ubr.domain.errors import InvalidToken, SessionNotFound, StoreUnavailable
from ubr.domain.ids import SessionId, UserId
from ubr.domain.revocation.changes import Change
from ubr.settings import Settings
from ubr.testing import TINY_HASHING

NOW: Final = datetime(2030, 1, 1, tzinfo=UTC)
TIMES: Final = CacheTimes(poll=1, bound=1, lease=2, renewal=1, row=3, horizon=50, patience=3)
NARROW: Final = replace(TIMES, bound=0, lease=10, row=20)
"""Fresh for as long as time stands still: what takes two moments otherwise takes one."""


@dataclass(frozen=True, slots=True)
class Start:
    """What the store holds before anything is explored: two people who are logged in."""

    rows: dict[str, Any]
    victim: Actor
    other: Actor


@lru_cache
def start() -> Start:
    """Made by the real use cases, once."""

    async def made() -> Start:
        container = MemoryContainer(settings=Settings.memory(**TINY_HASHING), clock=lambda: NOW)
        ubr, store = container.application(), container.store()
        await ubr.initialize()
        actors = []
        for email in ("victim@example.org", "other@example.org"):
            await ubr.register_user(RegisterUserCommand(email=email, password="correct horse battery staple"))
            tokens = await ubr.log_in(LogInCommand(email=email, password="correct horse battery staple"))
            actors.append(Actor(UserId(tokens.user.id), SessionId(tokens.session_id)))
        return Start(rows_of(store), *actors)

    return asyncio.run(made())


@dataclass
class Worker:
    name: str
    id: WorkerId
    session_cache: SessionCache
    get_user: GetUser
    revoke_session: RevokeSession
    log_out: LogOut
    reaper: WorkerReaper


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What is explored: who does what, and what may break."""

    threads: tuple[str, ...]
    """`worker:act`, each begun at any moment."""
    warm: tuple[str, ...] = ("A",)
    """Workers that have served the one whose session ends."""
    awake: tuple[str, ...] = ()
    """Workers that have served somebody else."""
    rows_before: int = 0
    """How many rows the feed has that a restored database has not."""
    failing: bool = False
    """Whether what the store is asked for may fail, or succeed and not say so."""
    ticks: int = 5
    crashes: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    """`earlier`: a restored database; `same`: another server with the same rows."""
    steady: bool = True
    gates: tuple[str, ...] = ()
    """Which there are before something is done. An answer that only comes later is no more dangerous, so not all."""
    times: CacheTimes = TIMES


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a worker is made of: the real parts, or one with a bug in it."""

    session_cache: Callable[..., SessionCache] = SessionCache
    barrier: Callable[..., RevocationBarrier] = RevocationBarrier
    feed: Callable[..., Any] = GatedChangeFeed
    unit_of_work: Callable[..., Any] = GatedUnitOfWork
    notifier: Callable[..., Any] = GatedNotifier
    revoke_session: Callable[..., RevokeSession] = RevokeSession
    log_out: Callable[..., LogOut] = LogOut
    reaper: Callable[..., WorkerReaper] = WorkerReaper
    times: CacheTimes | None = None


class Installation:
    """Workers over one store, in one order of events."""

    def __init__(self, scope: Scope, parts: Parts) -> None:
        self.scope, self.parts = scope, parts
        self.loop = SimulatedLoop()
        self.violation: str | None = None
        self.answered: set[str] = set()
        self.late: set[str] = set()
        """Reads that were begun after an answer."""
        self.replacements = 0
        self.idle = list(scope.threads)
        self.times = parts.times or scope.times
        store = MemoryStore(steady=scope.steady, epoch="0")
        put_back(store, start().rows)
        self.storage = Storage(self.loop, store, Recorder(_new_id, random_bytes), lambda: NOW, gates=scope.gates)
        self.storage.kept.add(store.epoch)
        self.notifier = parts.notifier(self.loop, swift=True)
        self.workers = {name: self._worker(at, name) for at, name in enumerate("ABC", 1)}
        with self.loop.running():
            if scope.rows_before:
                store.append(_new_id(), [Change("role", "some")] * scope.rows_before)
            for name in scope.warm + scope.awake:
                actor = start().victim if name in scope.warm else start().other
                self._begin(f"{name}:warm", self._read(name, actor))
                while gates := self.loop.open_gates():
                    self.loop.open(gates[0])
        self.storage.faults = scope.failing

    def _worker(self, number: int, name: str) -> Worker:
        id = WorkerId(UUID(int=number))
        unit_of_work = self.parts.unit_of_work(self.storage)
        elapsed = self.loop.time
        feed = self.parts.feed(self.storage, MemoryChangeFeed(self.storage.store))
        session_cache = self.parts.session_cache(id, unit_of_work, feed, elapsed, self.times)
        propagating = PropagatingUnitOfWork(
            unit_of_work, self.parts.barrier(session_cache, feed, self.notifier, elapsed)
        )
        self.notifier.subscribe(id, f"{name}:", session_cache.apply)
        denials = DenialRecorder(propagating, lambda: NOW)
        get_user = GetUser(Authorize(session_cache, lambda: NOW), propagating, lambda: NOW, denials)
        reaper = self.parts.reaper(feed, elapsed, self.times.row)
        revoke_session, log_out = (
            self.parts.revoke_session(propagating, denials),
            self.parts.log_out(propagating, denials),
        )
        return Worker(name, id, session_cache, get_user, revoke_session, log_out, reaper)

    # --- what the threads do -----------------------------------------------------------------------------------------

    async def _read(self, worker: str, actor: Actor) -> None:
        if self.answered:
            self.late.add(thread())
        try:
            await self.workers[worker].get_user(GetUserCommand(user_id=actor.user_id), actor=actor)
        except StoreUnavailable:
            return
        except InvalidToken:
            if self.storage.store.sessions[actor.session_id].ended_at is None and not self.replacements:
                self.violation = f"{thread()} was refused though nothing has ended"
            return
        if thread() in self.late:
            self.violation = f"{thread()} was served after the answer"

    async def _revoke(self, worker: str, actor: Actor) -> None:
        command = RevokeSessionCommand(session_id=actor.session_id)
        try:
            await self.workers[worker].revoke_session(command, actor=SYSTEM)
        except (StoreUnavailable, SessionNotFound):
            return
        self._answer(actor)

    async def _log_out(self, worker: str, actor: Actor) -> None:
        with contextlib.suppress(InvalidToken):  # which says that it has ended, too
            await self.workers[worker].log_out(actor=actor)
        self._answer(actor)

    def _answer(self, actor: Actor) -> None:
        # What a restored database has forgotten, nobody can hold against a view of it.
        if actor == start().victim and self.storage.commits.get(thread(), "0") in self.storage.kept:
            self.answered.add(thread())

    async def _bury(self, worker: str) -> None:
        """What all who count rows do in the end, whenever they looked."""
        store, id = self.storage.store, self.workers[worker].id
        if id in store.workers and self.loop.time() - self.storage.renewed[id] >= self.times.row:
            del store.workers[id]

    async def _call(self, act: Callable[[], Awaitable[None]]) -> None:
        with contextlib.suppress(StoreUnavailable):
            await act()

    def _act(self, name: str) -> Coroutine[Any, Any, None]:
        worker, _, act = name.partition(":")
        session_cache = self.workers[worker].session_cache
        match act.rstrip("0123456789"):
            case "read":
                return self._read(worker, start().victim)
            case "revoke":
                return self._revoke(worker, start().victim)
            case "log-out":
                return self._call(lambda: self._log_out(worker, start().victim))
            case "census":
                return self._call(self.workers[worker].reaper)
            case "bury":
                return self._call(lambda: self._bury("A"))
            case "end-other":
                return self._revoke(worker, start().other)
            case "cycle":
                return self._call(session_cache.poll_feed)
            case "renew":
                return self._call(session_cache.renew)
            case "leave":
                return self._call(session_cache.leave)
            case _:
                raise AssertionError(name)

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self.loop.spawn(name, work)
        self.loop.run_ready()

    # --- what can happen ---------------------------------------------------------------------------------------------

    def events(self) -> list[Event]:
        gates = self.loop.open_gates()
        found = [Event(f"{gate.thread} {gate.label}", gate.thread) for gate in gates]
        found += [
            Event(f"{gate.thread} {gate.label} {fault}", gate.thread, fault=True)
            for gate in gates
            for fault in gate.faults
            if fault == "fail"
        ]
        seen: set[str] = set()
        for name in self.idle:
            kind = name.rstrip("0123456789")
            # Threads that do the same are begun in one order.
            if kind not in seen and worker_of(name) not in self.loop.stopped:
                seen.add(kind)
                found.append(Event(f"{name} begins", name))
        if not self._something_at_stake():
            return []
        if self.loop.time() < self.scope.ticks:
            found.append(Event("time passes"))
        found += [Event(f"{name} crashes", fault=True) for name in self.scope.crashes if name not in self.loop.stopped]
        if not self.replacements:
            found += [Event(f"database replaced: {rows}", fault=True) for rows in self.scope.replaced]
        return found

    def _something_at_stake(self) -> bool:
        """Whether somebody may still ask after an answer, or has."""
        return any("read" in name for name in self.idle) or not all(
            self.loop.threads[name].done() for name in self.late
        )

    def perform(self, event: Event) -> None:
        with self.loop.running():
            match event.name.split():
                case ["time", "passes"]:
                    self.loop.advance(self.loop.time() + 1)
                case [worker, "crashes"]:
                    self.loop.stopped.add(worker)
                    self.storage.crashed(worker)
                case ["database", "replaced:", rows]:
                    self.replacements += 1
                    if rows == "earlier":
                        self.answered.clear()
                        self.late.clear()
                    self.storage.replace(str(self.replacements), start().rows if rows == "earlier" else None)
                case [name, "begins"]:
                    self.idle.remove(name)
                    self._begin(name, self._act(name))
                case _:
                    named = event.name.removesuffix(" fail")
                    (gate,) = [gate for gate in self.loop.open_gates() if f"{gate.thread} {gate.label}" == named]
                    self.loop.open(gate, "fail" if event.fault else "")
        if self.loop.troubles and self.violation is None:
            self.violation = self.loop.troubles[0]

    def state(self) -> Hashable:
        store, shapes = self.storage.store, Shapes(self.loop.time(), self.times.row + 1)
        return (
            self.loop.time(),
            tuple(self.idle),
            bool(self.answered),
            self.replacements,
            frozenset(self.loop.stopped),
            frozenset(self.late),
            tuple([(shapes.moment(when), name) for when, name in self.loop.waiting()]),
            (store.epoch, self.storage.writer, shapes.of(store.feed), shapes.of(store.workers)),
            tuple([shapes.moment(at) for at in self.storage.renewed.values()]),
            store.sessions[start().victim.session_id].ended_at is None,
            tuple(
                [
                    (
                        shapes.of(vars(worker.session_cache)),
                        # Its tasks hold the object itself, so it is a shape only here.
                        shapes.of(vars(worker.session_cache._lookups)),  # noqa: SLF001 - what is under way
                        shapes.of(vars(worker.reaper)),
                    )
                    for worker in self.workers.values()
                ]
            ),
            frozenset([(gate.thread, gate.label) for gate in self.loop.gates]),
            tuple([(name, shapes.of(task)) for name, task in self.loop.threads.items() if not task.done()]),
        )

    def finish(self) -> None:
        with self.loop.running():
            self.loop.finish()


_new_id = Uuid7()


SCOPES: Final = {
    # a reading under way while the session ends elsewhere
    "crossing": Scope(threads=("A:read1", "A:read2", "A:cycle1", "B:revoke1"), warm=(), awake=("A",), ticks=1),
    # leases run out and are renewed, and the row of one that ran out may go
    "leases": Scope(threads=("A:read1", "A:cycle1", "A:renew1", "C:bury1", "B:revoke1"), ticks=5, gates=("renew",)),
    # a worker that starts
    "cold": Scope(threads=("A:read1", "A:read2", "A:cycle1", "B:revoke1"), warm=(), ticks=2),
    # a second revoker of the same session, and a first one that may not live to answer
    "second": Scope(
        threads=("A:read1", "A:cycle1", "B:revoke1", "C:revoke2"), ticks=2, crashes=("B",), gates=("workers",)
    ),
    # a second logout from the same session, which finds it ended
    "log-out": Scope(
        threads=("A:read1", "A:cycle1", "B:log-out1", "C:log-out2"), ticks=2, crashes=("B",), gates=("workers",)
    ),
    # a worker whose row goes because it does not renew it
    "census": Scope(threads=("A:read1", "A:cycle1", "B:census1", "B:census2", "B:revoke1"), ticks=4),
    # the session ends where it is used
    "here": Scope(threads=("A:read1", "A:read2", "A:cycle1", "A:revoke1"), warm=(), awake=("A",), ticks=2),
    # two workers that serve
    "two": Scope(threads=("A:read1", "C:read1", "A:cycle1", "C:cycle1", "B:revoke1"), warm=("A", "C"), ticks=1),
    # two who write at the same time
    "writers": Scope(threads=("A:read1", "A:cycle1", "B:revoke1", "C:end-other1"), ticks=2, gates=("commit",)),
    # and somebody who is read anew in between
    "writers, reader": Scope(threads=("A:read1", "A:read2", "B:revoke1", "C:end-other1"), ticks=2, gates=("commit",)),
    # a restored database that a reading meets before the view does
    "restored": Scope(
        threads=("A:read1", "A:read2", "A:cycle1", "B:revoke1"),
        warm=(),
        awake=("A",),
        rows_before=2,
        ticks=1,
        steady=False,
        replaced=("earlier", "same"),
        times=NARROW,
    ),
    # one that comes while a lease is being renewed
    "restored, renewal": Scope(
        threads=("A:read1", "A:read2", "A:renew1", "B:cycle1", "B:revoke1"),
        warm=(),
        awake=("A",),
        ticks=1,
        steady=False,
        replaced=("earlier",),
        times=NARROW,
    ),
    # one that comes while a worker asks for the feed
    "restored, asking": Scope(
        threads=("A:cycle1", "A:read1", "B:cycle1", "B:revoke1"),
        ticks=1,
        steady=False,
        replaced=("earlier", "same"),
        gates=("feed",),
        times=NARROW,
    ),
    # a worker that leaves
    "leaving": Scope(
        threads=("A:read1", "A:read2", "A:cycle1", "A:leave1", "B:revoke1"), warm=(), awake=("A",), ticks=1
    ),
    # a store that fails now and then
    "failing": Scope(
        threads=("A:read1", "A:cycle1", "A:renew1", "B:revoke1"), ticks=2, failing=True, gates=("workers",)
    ),
}


def explored(name: str, parts: Parts, *, interruptions: int, faults: int, pruned: bool = True) -> Outcome:
    scope = SCOPES[name]
    start()
    outcome = explore(lambda: Installation(scope, parts), interruptions=interruptions, faults=faults, pruned=pruned)
    print(f"{name}, {interruptions} interruptions, {faults} faults: {outcome}")  # noqa: T201 - how much was seen counts
    return outcome


BOUNDS: Final = {
    # how often a thread is interrupted, and how many faults there are: in every run of the tests, and in the long ones
    "crossing": ((2, 0), (4, 0)),
    "leases": ((0, 0), (1, 0)),
    "cold": ((0, 0), (1, 0)),
    "second": ((0, 0), (0, 1)),
    "log-out": ((0, 1), (1, 1)),
    "census": ((0, 0), (1, 0)),
    "here": ((1, 0), (3, 0)),
    "two": ((0, 0), (1, 0)),
    "writers": ((0, 0), (1, 0)),
    "writers, reader": ((0, 0), (1, 0)),
    "restored": ((0, 1), (1, 1)),
    "restored, renewal": ((0, 0), (1, 1)),
    "restored, asking": ((0, 1), (1, 1)),
    "leaving": ((1, 0), (2, 0)),
    "failing": ((0, 0), (1, 2)),
}


@pytest.mark.parametrize("name", SCOPES)
def test_nobody_is_served_from_before_an_end(name: str) -> None:
    interruptions, faults = BOUNDS[name][0]
    outcome = explored(name, Parts(), interruptions=interruptions, faults=faults)
    assert outcome.violation is None, str(outcome)


@pytest.mark.long
@pytest.mark.parametrize("name", SCOPES)
def test_nobody_is_served_from_before_an_end_on_more_schedules(name: str) -> None:
    interruptions, faults = BOUNDS[name][1]
    outcome = explored(name, Parts(), interruptions=interruptions, faults=faults)
    assert outcome.violation is None, str(outcome)


BUGS: Final = {
    "the writer answers at once": ("crossing", 0, 0, Parts(barrier=planted.AnswersAtOnce)),
    "only workers that get the nudge are waited for": ("crossing", 0, 0, Parts(notifier=planted.SubscribersOnly)),
    "the lease is looked up after the read": ("leases", 1, 0, Parts(session_cache=planted.LateLease)),
    "freshness is the read's alone": ("leases", 0, 0, Parts(session_cache=planted.NoLease)),
    "a read replaces what nudges brought": ("crossing", 2, 0, Parts(session_cache=planted.Replaces)),
    "the deadline is shorter than the bound": ("leases", 0, 0, Parts(barrier=planted.ShortWait)),
    "rows are not there while leases last": ("crossing", 0, 0, Parts(feed=planted.NoRows)),
    "rows are forgotten before leases end": ("census", 0, 0, Parts(reaper=planted.HastyReaper)),
    "who finds the session ended says so at once": ("log-out", 0, 1, Parts(log_out=planted.SilentRefusal)),
    "a second revoker answers at once": ("second", 0, 0, Parts(revoke_session=planted.SilentSecond)),
    "a lease is used before its commit is known": ("leases", 1, 0, Parts(session_cache=planted.EarlyRow)),
    "a principal is cached across a revocation": ("crossing", 1, 0, Parts(session_cache=planted.CachedAcross)),
    "the cursor is a sequence number": (
        "writers, reader",
        1,
        0,
        Parts(unit_of_work=planted.SequenceUnitOfWork, feed=planted.SequenceFeed),
    ),
    "the epoch is ignored": (
        "restored",
        1,
        1,
        Parts(feed=planted.EpochIgnored, unit_of_work=planted.EpochIgnoredUnitOfWork),
    ),
    "every database is trusted": ("restored, asking", 0, 1, Parts(session_cache=planted.TrustsAll)),
    "who leaves forgets and answers on": ("leaving", 1, 0, Parts(session_cache=planted.AnswersOn)),
}

HARDER: Final = {
    "a database is trusted since it was asked": ("restored, asking", 1, 1, Parts(session_cache=planted.TrustsTooSoon)),
    "a renewal counts for another database": ("restored, renewal", 1, 1, Parts(session_cache=planted.RenewalCrosses)),
    "numbers go on after a restore": ("restored", 1, 1, Parts(session_cache=planted.NumbersGoOn)),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    name, interruptions, faults, parts = BUGS[bug]
    assert explored(name, parts, interruptions=interruptions, faults=faults).violation is not None


@pytest.mark.long
@pytest.mark.parametrize("bug", HARDER)
def test_a_planted_bug_that_is_harder_to_find_is_found(bug: str) -> None:
    name, interruptions, faults, parts = HARDER[bug]
    assert explored(name, parts, interruptions=interruptions, faults=faults).violation is not None


def test_what_is_pruned_has_been_seen() -> None:
    for parts, holds in ((Parts(), True), (Parts(session_cache=planted.CachedAcross), False)):
        outcomes = [explored("crossing", parts, interruptions=1, faults=0, pruned=pruned) for pruned in (True, False)]
        assert [outcome.violation is None for outcome in outcomes] == [holds, holds]
