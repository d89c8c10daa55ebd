"""Long runs of mixed work on several workers, in an order and with faults that a seed decides. A failing seed is
printed and replays: `Run(seed, Parts()).run()`.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import inf
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from tests.simulation import planted
from tests.simulation.loop import SimulatedLoop, worker_of
from tests.simulation.parts import GatedChangeFeed, GatedNotifier, GatedUnitOfWork, Storage, put_back, rows_of
from ubr.adapters.memory import MemoryChangeFeed, MemoryStore
from ubr.adapters.memory.rate_limit_store import MemoryRateLimitStore
from ubr.adapters.security.system import Uuid7
from ubr.application.access.authorization import Authorize
from ubr.application.access.session_cache import CacheTimes, SessionCache
from ubr.application.accounts.delete_user import DeleteUser, DeleteUserCommand
from ubr.application.accounts.get_user import GetUser, GetUserCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.update_user import UpdateUser, UpdateUserCommand, UserChanges
from ubr.application.audit.denials import DenialRecorder
from ubr.application.audit.recorder import Recorder
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.mail.queue import MailQueue
from ubr.application.ports.metrics import NO_METRICS
from ubr.application.ports.revocation import WorkerId
from ubr.application.protection.password_throttle import PasswordThrottle
from ubr.application.protection.rate_limits import Quotas, RateLimiter
from ubr.application.revocation.feed_follower import FeedFollower
from ubr.application.revocation.propagation import PropagatingUnitOfWork, RevocationBarrier
from ubr.application.revocation.worker_reaper import WorkerReaper
from ubr.application.roles.assign_role import AssignRole, AssignRoleCommand
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.roles.unassign_role import UnassignRole, UnassignRoleCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRole, UpdateRoleCommand
from ubr.application.sessions.log_in import LogInCommand
from ubr.application.sessions.log_out import LogOut
from ubr.application.sessions.revoke_session import RevokeSession, RevokeSessionCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessions, RevokeUserSessionsCommand
from ubr.bootstrap.memory import MemoryContainer
from ubr.bootstrap.ports import SecurityPorts
from ubr.bootstrap.security import hasher_of, security_of
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM, Actor
from ubr.domain.errors import Forbidden, LastAdmin, NotFound, StoreUnavailable, Unauthenticated
from ubr.domain.ids import SessionId, UserId
from ubr.settings import Settings
from ubr.testing import TINY_HASHING

NOW: Final = datetime(2030, 1, 1, tzinfo=UTC)
PASSWORD: Final = "correct horse battery staple"
USERS: Final = 3
SESSIONS: Final = 2
ACTS: Final = 120


@dataclass(frozen=True, slots=True)
class Start:
    rows: dict[str, Any]
    actors: tuple[Actor, ...]
    role_id: UUID


@lru_cache
def start() -> Start:
    """Two administrators, and three users of the role `reader` who are logged in twice. By the real use cases, once."""

    async def made() -> Start:
        container = MemoryContainer(settings=Settings.memory(**TINY_HASHING), clock=lambda: NOW)
        ubr = container.application()
        await ubr.initialize()
        role = await ubr.create_role(CreateRoleCommand(name="reader", permissions=["users:read"]), actor=SYSTEM)
        actors = []
        for number in range(USERS + 2):
            email = f"user{number}@example.org"
            user = await ubr.register_user(RegisterUserCommand(email=email, password=PASSWORD), actor=SYSTEM)
            given = AssignRoleCommand(user_id=user.id, role="reader" if number < USERS else "admin")
            await ubr.assign_role(given, actor=SYSTEM)
            for _ in range(SESSIONS if number < USERS else 0):
                tokens = await ubr.log_in(LogInCommand(email=email, password=PASSWORD))
                actors.append(Actor(UserId(user.id), SessionId(tokens.session_id)))
        return Start(rows_of(container.store()), tuple(actors), role.id)

    return asyncio.run(made())


@lru_cache
def security() -> SecurityPorts:
    """No act of a run has a password, so its hasher starts no thread."""
    settings = Settings.memory(**TINY_HASHING)
    return security_of(settings, hasher_of(settings, NO_METRICS))


@dataclass(slots=True)
class Write:
    value: object
    begun: float
    done: float = inf
    """When it was answered, or given up; `certain` where it was said to have been done."""
    certain: bool = False


class History:
    """What was written to something, and what a reading of it may therefore have found."""

    def __init__(self, value: object) -> None:
        self._writes = [Write(value, -inf, -inf, certain=True)]

    def begin(self, value: object, at: float) -> Write:
        write = Write(value, at)
        self._writes.append(write)
        return write

    def possible(self, entered: float, left: float) -> list[object]:
        """The values of all writes that may have been the newest at a moment between."""
        return [
            write.value
            for write in self._writes
            if write.begun <= left
            and not any(other.certain and other.done < entered and other.begun > write.done for other in self._writes)
        ]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a worker is made of: the real parts, or one with a bug in it."""

    session_cache: Callable[..., SessionCache] = SessionCache
    barrier: Callable[..., RevocationBarrier] = RevocationBarrier


@dataclass
class Worker:
    name: str
    get_user: GetUser
    update_user: UpdateUser
    delete_user: DeleteUser
    revoke_session: RevokeSession
    revoke_user_sessions: RevokeUserSessions
    log_out: LogOut
    update_role: UpdateRole
    assign_role: AssignRole
    unassign_role: UnassignRole


@dataclass
class Run:
    """One schedule. `steps` counts what was chosen, one after the other; it stands for time where order counts."""

    seed: int
    parts: Parts
    steps: int = 0
    violation: str | None = None
    trace: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - no secret
        self.loop = SimulatedLoop(self.chance.choice)
        store = MemoryStore(epoch="0", steady=False)
        put_back(store, start().rows)
        self.new_id = Uuid7(self._now, self.chance.randbytes)
        self.storage = Storage(self.loop, store, Recorder(self.new_id, self.chance.randbytes), self._now)
        self.storage.faults = True
        self.notifier = GatedNotifier(self.loop, repeats=lambda: self.chance.random() < 0.2)
        self.workers: dict[str, Worker] = {}
        self.stalled: tuple[str, str] = ("", "")
        self.asked: list[tuple[str, str, Actor]] = []
        """Who is to look, at once, whether what was answered holds with them."""
        self.names = 0
        self.acts = 0
        self.epochs = 0
        self.live = {actor.session_id: History(True) for actor in start().actors}
        self.named: dict[UserId, History] = defaultdict(lambda: History(None))
        self.held = {actor.user_id: History(True) for actor in start().actors}
        self.role = History(True)
        self.status: dict[UserId, History] = defaultdict(lambda: History(True))

    def _now(self) -> datetime:
        return NOW + timedelta(seconds=min(self.loop.time(), 10.0**5))

    # --- workers -----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.names += 1
        name, rate = f"w{self.names}", 1 + self.chance.uniform(-0.04, 0.04)
        id = WorkerId(UUID(int=self.names))
        unit_of_work = GatedUnitOfWork(self.storage)

        def elapsed() -> float:
            return self.loop.time() * rate

        feed = GatedChangeFeed(self.storage, MemoryChangeFeed(self.storage.store))
        session_cache = self.parts.session_cache(id, unit_of_work, feed, elapsed, CacheTimes())
        propagating = PropagatingUnitOfWork(
            unit_of_work, self.parts.barrier(session_cache, feed, self.notifier, elapsed)
        )
        authorize, denials = Authorize(session_cache, self._now), DenialRecorder(propagating, self._now)
        limiter = RateLimiter(MemoryRateLimitStore(self._now), Quotas.off())
        passwords = PasswordThrottle(propagating, limiter, security().hasher, security().signer, elapsed)
        self.workers[name] = Worker(
            name,
            GetUser(authorize, propagating, self._now, denials),
            UpdateUser(propagating, passwords, limiter, MailQueue(uuid4), denials),
            DeleteUser(propagating, denials),
            RevokeSession(propagating, denials),
            RevokeUserSessions(propagating, denials),
            LogOut(propagating, denials),
            UpdateRole(propagating, OperatorPolicy(), denials),
            AssignRole(propagating, self._now, denials),
            UnassignRole(propagating, denials),
        )

        async def serve() -> None:
            async with AsyncExitStack() as stack:
                reaper = WorkerReaper(feed, elapsed, session_cache.times.row)
                await stack.enter_async_context(FeedFollower(session_cache, self.notifier, reaper).following())
                await self.loop.create_future()

        self.loop.spawn(f"{name}:tail", serve())
        self.loop.run_ready()

    def _stop(self, name: str) -> None:
        del self.workers[name]
        self.loop.stopped.add(name)
        self.storage.crashed(name)

    # --- acts --------------------------------------------------------------------------------------------------------

    def _act(self) -> None:
        self.acts += 1
        if self.asked:
            name, kind, actor = self.asked.pop()
            worker = self.workers.get(name) or self.chance.choice(list(self.workers.values()))
        else:
            worker = self.chance.choice(list(self.workers.values()))
            actor = self.chance.choice(start().actors)
            kind = self.chance.choices(
                ("read", "look", "name", "revoke", "log-out", "all", "role", "grant", "disable", "delete"),
                (30, 20, 8, 4, 2, 1, 8, 6, 0.3, 0.3),
            )[0]
        act: Callable[[Worker, Actor], Awaitable[None]] = getattr(self, "_" + kind.replace("-", "_"))
        self.trace.append(f"{worker.name} {kind}")
        self.loop.spawn(f"{worker.name}:{kind}{self.acts}", self._guarded(act(worker, actor)))
        self.loop.run_ready()

    @staticmethod
    async def _guarded(act: Awaitable[None]) -> None:
        with suppress(StoreUnavailable, NotFound, LastAdmin):
            await act

    def _check(self, what: str, history: History, found: object, entered: float) -> None:
        if found not in history.possible(entered, self.steps) and self.violation is None:
            self.violation = f"{what} was found to be {found!r}, entered at step {entered}, now {self.steps}"

    async def _read(self, worker: Worker, actor: Actor) -> None:
        entered = self.steps
        try:
            found = await worker.get_user(GetUserCommand(user_id=actor.user_id), actor=actor)
        except Unauthenticated:
            self._check_live(actor, False, entered)
            return
        self._check_live(actor, True, entered)
        self._check("a name", self.named[actor.user_id], found.full_name, entered)

    def _check_live(self, actor: Actor, found: bool, entered: float) -> None:
        self._check(f"session {start().actors.index(actor)}", self.live[actor.session_id], found, entered)

    async def _look(self, worker: Worker, actor: Actor) -> None:
        """Read somebody else, which takes the role, and the role its permission."""
        entered = self.steps
        other = next(each for each in start().actors if each.user_id != actor.user_id)
        try:
            await worker.get_user(GetUserCommand(user_id=other.user_id), actor=actor)
        except Unauthenticated:
            self._check_live(actor, False, entered)
        except Forbidden:
            held = self.held[actor.user_id].possible(entered, self.steps)
            if False not in held and False not in self.role.possible(entered, self.steps):
                self.violation = self.violation or "a permission was missing"
        except NotFound:
            self._may(actor, entered)
        else:
            self._may(actor, entered)

    def _may(self, actor: Actor, entered: float) -> None:
        self._check_live(actor, True, entered)
        self._check("a grant", self.held[actor.user_id], True, entered)
        self._check("a permission", self.role, True, entered)

    async def _writing(self, actor: Actor, kind: str, writes: list[Write], act: Awaitable[object]) -> None:
        try:
            await act
            for write in writes:
                write.certain = True
            self.asked = [(name, kind, actor) for name in self.workers]
        finally:
            for write in writes:
                write.done = self.steps

    def _sessions(self, user_id: UserId) -> list[Write]:
        found = [actor.session_id for actor in start().actors if actor.user_id == user_id]
        return [self.live[session_id].begin(False, self.steps) for session_id in found]

    async def _name(self, worker: Worker, actor: Actor) -> None:
        name = f"name {self.acts}"
        writes = [self.named[actor.user_id].begin(name, self.steps)]
        command = UpdateUserCommand(user_id=actor.user_id, changes=UserChanges(full_name=name))
        await self._writing(actor, "read", writes, worker.update_user(command, actor=SYSTEM))

    async def _revoke(self, worker: Worker, actor: Actor) -> None:
        writes = [self.live[actor.session_id].begin(False, self.steps)]
        command = RevokeSessionCommand(session_id=actor.session_id)
        await self._writing(actor, "read", writes, worker.revoke_session(command, actor=SYSTEM))

    async def _log_out(self, worker: Worker, actor: Actor) -> None:
        writes = [self.live[actor.session_id].begin(False, self.steps)]

        async def log_out() -> None:
            with suppress(Unauthenticated):  # which says that it has ended, too
                await worker.log_out(actor=actor)

        await self._writing(actor, "read", writes, log_out())

    async def _all(self, worker: Worker, actor: Actor) -> None:
        command = RevokeUserSessionsCommand(user_id=actor.user_id)
        await self._writing(
            actor, "read", self._sessions(actor.user_id), worker.revoke_user_sessions(command, actor=SYSTEM)
        )

    async def _role(self, worker: Worker, actor: Actor) -> None:
        given = self.chance.random() < 0.5
        writes = [self.role.begin(given, self.steps)]
        changes = RoleChanges(permissions=["users:read"] if given else [])
        command = UpdateRoleCommand(role_id=start().role_id, changes=changes)
        await self._writing(actor, "look", writes, worker.update_role(command, actor=SYSTEM))

    async def _grant(self, worker: Worker, actor: Actor) -> None:
        given = self.chance.random() < 0.5
        writes = [self.held[actor.user_id].begin(given, self.steps)]
        if given:
            assigned = AssignRoleCommand(user_id=actor.user_id, role="reader")
            await self._writing(actor, "look", writes, worker.assign_role(assigned, actor=SYSTEM))
        else:
            taken = UnassignRoleCommand(user_id=actor.user_id, role="reader")
            await self._writing(actor, "look", writes, worker.unassign_role(taken, actor=SYSTEM))

    async def _disable(self, worker: Worker, actor: Actor) -> None:
        command = UpdateUserCommand(user_id=actor.user_id, changes=UserChanges(status=UserStatus.DISABLED))
        await self._writing(actor, "read", self._sessions(actor.user_id), worker.update_user(command, actor=SYSTEM))

    async def _delete(self, worker: Worker, actor: Actor) -> None:
        command = DeleteUserCommand(user_id=actor.user_id)
        await self._writing(actor, "read", self._sessions(actor.user_id), worker.delete_user(command, actor=SYSTEM))

    # --- the order of things -----------------------------------------------------------------------------------------

    def run(self) -> Run:
        try:
            with self.loop.running():
                for _ in range(3):
                    self._start()
                while self.acts < ACTS and self.violation is None:
                    self._step()
                self._heal()
                self._check_store()
        finally:
            with self.loop.running():
                self.loop.finish()
        return self

    def _step(self) -> None:
        self.steps += 1
        chance = self.chance.random()
        gates = [gate for gate in self.loop.open_gates() if (worker_of(gate.thread), gate.label) != self.stalled]
        if self.asked and chance < 0.5:
            self._act()
        elif chance < 0.6 and gates:
            gate = self.chance.choice(gates)
            fault = self.chance.choice(gate.faults) if gate.faults and self.chance.random() < 0.03 else ""
            self.trace.append(f"{gate.thread} {gate.label} {fault}")
            self.loop.open(gate, fault)
        elif chance < 0.75:
            self._act()
        elif chance < 0.97:
            self._pass()
        else:
            self._break()
        if self.loop.troubles and self.violation is None:
            self.violation = self.loop.troubles[0]

    def _pass(self) -> None:
        """Time goes on: to what is due next, to shortly before it, or by a whole second or ten."""
        now, due = self.loop.time(), self.loop.next_moment
        to = now + self.chance.choice((0.01, 0.2, 1.0, 10.0) if due is None else (0.01, 0.2, 0.2, 1.0))
        if due is not None and self.chance.random() < 0.7:
            to = max(now, due)
        self.trace.append(f"time {to}")
        self.loop.advance(to)

    def _break(self) -> None:
        """A worker crashes and another takes its place, stands still for a while, or waits for the store for long."""
        name = self.chance.choice(list(self.workers))
        kind = self.chance.choice(("crash", "pause", "pause", "stall", "stall", "server"))
        self.trace.append(f"{kind} {name}")
        match kind:
            case "crash":
                self._stop(name)
                self._start()
            case "pause":
                # Whoever stood still goes on when another does not.
                self.loop.stopped.difference_update(self.workers)
                self.loop.stopped.add(name)
            case "stall":
                self.stalled = (name, self.chance.choice(("feed", "feed read", "renew", "renewed", "principal read")))
            case _:
                self.epochs += 1
                self.storage.replace(str(self.epochs), None)
        self.loop.run_ready()

    def _heal(self) -> None:
        """Everything works again, and what is under way comes to its end."""
        self.loop.stopped.difference_update(self.workers)
        self.stalled = ("", "")
        self.loop.run_ready()
        for _ in range(3000):
            self.steps += 1
            if not any(worker_of_act(task) for task in self.loop.names()):
                return
            for gate in self.loop.open_gates():
                if not gate.opened.done() and gate.may_open():
                    self.loop.open(gate)
            self.loop.advance(self.loop.time() + 0.05)
        self.violation = self.violation or "something never ended"

    def _check_store(self) -> None:
        """Nothing that was acknowledged is lost, and what must always hold does."""
        store = self.storage.store
        for actor in start().actors:
            session, user = store.sessions.get(actor.session_id), store.users.get(actor.user_id)
            self.steps += 1
            live = session is not None and session.ended_at is None
            self._check_live(actor, live, self.steps)
            if user is not None:
                self._check("the stored name", self.named[actor.user_id], user.full_name, self.steps)
                held = start().role_id in user.grants
                self._check("the stored grant", self.held[actor.user_id], held, self.steps)
        role = next(role for role in store.roles.values() if role.id == start().role_id)
        self._check("the stored permission", self.role, bool(role.permissions.names), self.steps)
        if not any(user.lasting_admin for user in store.users.values()):
            self.violation = self.violation or "nobody is administrator"
        if len({user.email.key for user in store.users.values()}) != len(store.users):
            self.violation = self.violation or "an e-mail has two accounts"


def worker_of_act(thread: str) -> bool:
    """Whether a thread is one of those that answer somebody."""
    return bool(worker_of(thread)) and not thread.endswith(":tail") and ":nudge" not in thread


def failing(seeds: range, parts: Parts) -> Run | None:
    """The first run that breaks what must hold."""
    for seed in seeds:
        run = Run(seed, parts).run()
        if run.violation is not None:
            print(f"seed {seed} fails after {run.steps} steps: {run.violation}")  # noqa: T201 - so that it can be replayed
            return run
    return None


def test_runs_hold() -> None:
    run = failing(range(100), Parts())
    assert run is None, f"seed {run.seed}: {run.violation}"


@pytest.mark.long
@pytest.mark.parametrize("part", range(8))
def test_many_runs_hold(part: int) -> None:
    run = failing(range(1000 + part * 1300, 2300 + part * 1300), Parts())
    assert run is None, f"seed {run.seed}: {run.violation}"


def test_a_failing_seed_is_printed_and_replays(capsys: pytest.CaptureFixture[str]) -> None:
    bug = Parts(barrier=planted.AnswersAtOnce)
    found = failing(range(500), bug)
    assert found is not None
    assert f"seed {found.seed} fails" in capsys.readouterr().out
    again = Run(found.seed, bug).run()
    assert (again.violation, again.trace) == (found.violation, found.trace)
