"""What the audit log costs a write: run it as `python -m bench.log_cost [SECONDS [ROUNDS]]`.

A durable PostgreSQL on this disk and 32 who write without a pause, in one process as a worker is one, each of them
logged in, on users and roles of their own. The same use cases with the log (entries, and a sequencer beside them as in
a worker) and without it (no entries, no sequencer) in short slices that take turns, so that whatever else the machine
does disturbs both alike. The figures are medians of the slices; p99 is of all writes together.

Before that the same writes one by one over one connection, with the log and without it in turn, and what the processors
spend on each: that is hardly disturbed by anything, and tells one or two percent apart.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import fmean, median
from typing import Final, TypeAlias, TypeVar
from uuid import UUID

import uvloop
from sqlalchemy import event, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.reaper import children
from tests.support.servers import PostgresServer
from ubr import (
    SYSTEM,
    Actor,
    Application,
    AssignRoleCommand,
    CreateRoleCommand,
    CreateUserCommand,
    LogInCommand,
    Origin,
    RoleChanges,
    Settings,
    UnassignRoleCommand,
    UpdateRoleCommand,
    UpdateUserCommand,
    UserChanges,
    calling_from,
    connect,
)
from ubr.adapters.security.log_signing import Ed25519LogSigning
from ubr.adapters.security.secrets import SecretKeys
from ubr.adapters.security.system import Uuid7, random_bytes, utc_now
from ubr.adapters.sql.engine import ConnectionLimits, make_engine
from ubr.adapters.sql.tables import log_queue, logs
from ubr.adapters.sql.unit_of_work import SqlUnitOfWork
from ubr.application.accounts.update_user import UpdateUser
from ubr.application.audit.recorder import Recorder
from ubr.application.audit.sequencer import Sequencer
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.periodic import running_beside
from ubr.application.roles.assign_role import AssignRole
from ubr.application.roles.unassign_role import UnassignRole
from ubr.application.roles.update_role import UpdateRole
from ubr.domain.actor import System
from ubr.domain.audit.entry import LogEntry
from ubr.domain.events import Event
from ubr.settings import LIFELINE
from ubr.testing import TINY_HASHING

WRITERS: Final = 32
EACH: Final = 40
"""Users, and roles, that one writer changes."""
WARM: Final = 0.7
"""Seconds before a slice that are not counted: by then the sequencer has had a full round to do."""
SEQUENCING: Final = 0.5
WRITES: Final = 512
"""A multiple of the next."""
A_ROUND: Final = 64
"""Entries that the sequencer finds, of those of one by one."""
ORIGIN: Final = Origin(ip="192.0.2.1", request_id="0197a3c2-5d8e-7cc3-98c4-dc0c0c07398f")
PASSWORD: Final = "a long enough password"
TARGET: Final = 15.0
ALL: Final = "all three in turn"

T = TypeVar("T")
Write: TypeAlias = Callable[[], Awaitable[object]]


class Silent(Recorder):
    """Writes nothing down."""

    def entries(
        self,
        events: Iterable[Event],  # noqa: ARG002
        *,
        actor: Actor | System | None,  # noqa: ARG002
        now: datetime,  # noqa: ARG002
    ) -> list[LogEntry]:
        return []


@dataclass
class Slice:
    seconds: float = 0.0
    took: list[float] = field(default_factory=list)
    processor: float = 0.0
    server: float = 0.0
    statements: int = 0

    @property
    def rate(self) -> float:
        return len(self.took) / self.seconds

    @property
    def median(self) -> float:
        return 1000 * median(self.took)

    @property
    def spent(self) -> float:
        """Milliseconds of this process's processor for one write, the sequencer's share included."""
        return 1000 * self.processor / len(self.took)

    @property
    def served(self) -> float:
        """The same of the database's processes."""
        return 1000 * self.server / len(self.took)

    @property
    def asked(self) -> float:
        """Statements for one write, without those of the sequencer; BEGIN and COMMIT come on top."""
        return self.statements / len(self.took)


@dataclass(frozen=True)
class Writer:
    """Somebody who may do everything, and what they alone change."""

    actor: Actor
    users: Sequence[UUID]
    roles: Sequence[UUID]
    given: str
    """A role that no other writer touches: whoever gives or takes one holds it until the unit ends."""
    holders: set[UUID] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    """Of both sides together: what one has written the other would not change by writing it again."""

    def writes(self, units: SqlUnitOfWork) -> dict[str, list[Write]]:
        """By kind; what is to be done in turn. Each of them changes something, each time it is called."""
        update_user, update_role = UpdateUser(units), UpdateRole(units, OperatorPolicy())
        assign, unassign = AssignRole(units, utc_now), UnassignRole(units)
        users, roles = itertools.poll_feed(self.users), itertools.poll_feed(self.roles)

        async def rename() -> None:
            changes = UserChanges(full_name=f"Somebody {next(self.numbers)}")
            await update_user(UpdateUserCommand(user_id=next(users), changes=changes), actor=self.actor)

        async def describe() -> None:
            changes = RoleChanges(description=f"What it is for {next(self.numbers)}")
            await update_role(UpdateRoleCommand(role_id=next(roles), changes=changes), actor=self.actor)

        async def give_or_take() -> None:
            user_id = next(users)
            if user_id in self.holders:
                self.holders.remove(user_id)
                await unassign(UnassignRoleCommand(user_id=user_id, role=self.given), actor=self.actor)
            else:
                self.holders.add(user_id)
                await assign(AssignRoleCommand(user_id=user_id, role=self.given), actor=self.actor)

        kinds: dict[str, list[Write]] = {
            "a role's description": [describe],
            "a user's name": [rename],
            "a role given or taken": [give_or_take],
        }
        kinds[ALL] = [describe, rename, give_or_take]
        return kinds


@dataclass(frozen=True)
class Parts:
    recorder: Recorder
    silent: Silent
    signing: Ed25519LogSigning


@dataclass
class Spent:
    """Microseconds of the processors for each write: of this process, and of the one that serves it."""

    here: list[float] = field(default_factory=list)
    there: list[float] = field(default_factory=list)

    async def on(self, do: Callable[[], Awaitable[T]], backend: int) -> T:
        here, there = time.process_time_ns(), processor_of(backend)
        done = await do()
        self.here.append((time.process_time_ns() - here) / 1000)
        self.there.append((processor_of(backend) - there) / 1000)
        return done


@dataclass(frozen=True)
class Side:
    """The units of one side, and what runs beside them."""

    name: str
    engine: AsyncEngine
    server: int
    """The process of the database whose children serve us."""
    kinds: dict[str, list[list[Write]]]
    sequencer: Sequencer | None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        if self.sequencer is None:
            yield
            return
        async with running_beside((self.sequencer, SEQUENCING)):
            yield
        await self.sequencer(wait=True)

    async def slice(self, kind: str, seconds: float) -> Slice:
        seen, counting, stop = Slice(), False, False

        async def write(doings: list[Write]) -> None:
            for do in itertools.poll_feed(doings):
                if stop:
                    return
                began = time.perf_counter()
                await do()
                if counting:
                    seen.took.append(time.perf_counter() - began)

        def count(*_: object) -> None:
            seen.statements += counting

        with calling_from(ORIGIN):
            async with self.running():
                writers = [asyncio.create_task(write(doings)) for doings in self.kinds[kind]]
                await asyncio.sleep(WARM)
                event.listen(self.engine.sync_engine, "before_cursor_execute", count)
                server = processor_of_children(self.server)
                counting, began, processor = True, time.perf_counter(), time.process_time()
                await asyncio.sleep(seconds)
                counting, stop = False, True
                seen.seconds, seen.processor = time.perf_counter() - began, time.process_time() - processor
                seen.server = processor_of_children(self.server) - server
                event.remove(self.engine.sync_engine, "before_cursor_execute", count)
                await asyncio.gather(*writers)
        return seen


def middle(values: Sequence[float]) -> float:
    """The mean without the tenths at both ends: of two kinds of writes in turn a median would be that of one."""
    tenth = len(values) // 10
    return fmean(sorted(values)[tenth : len(values) - tenth])


async def one_by_one(url: str, writers: Sequence[Writer], parts: Parts, writes: int) -> None:
    """What the processors spend on one write. The sequencer's share is that of rounds of so many entries."""
    engine = make_engine(url, ConnectionLimits(connections=1))
    try:
        async with engine.connect() as connection:
            backend = (await connection.execute(select(func.pg_backend_pid()))).scalar_one()
        sequencer = Sequencer(SqlUnitOfWork(engine, parts.recorder), parts.signing)
        sides = [SqlUnitOfWork(engine, writes_down) for writes_down in (parts.silent, parts.recorder)]
        by_kind = [[writer.writes(units) for writer in writers] for units in sides]
        whole = [0.0, 0.0]
        for kind in [kind for kind in by_kind[0][0] if kind != ALL]:
            spent, sequenced, entries = (Spent(), Spent()), Spent(), 0
            doings = [itertools.poll_feed([do for each in side for do in each[kind]]) for side in by_kind]
            for number in range(writes):
                for side in (0, 1) if number % 2 else (1, 0):
                    await spent[side].on(next(doings[side]), backend)
                if number % A_ROUND == A_ROUND - 1:
                    entries += await sequenced.on(sequencer, backend)
            if entries != writes // A_ROUND * A_ROUND:
                raise AssertionError(f"{entries} entries of {writes} writes")
            plain, logged = ((middle(side.here), middle(side.there)) for side in spent)
            tree = sum(sequenced.here) / entries, sum(sequenced.there) / entries
            print(
                f"  {kind}: {plain[0]:.0f} us here and {plain[1]:.0f} in the database; the entry adds "
                f"{logged[0] - plain[0]:.0f} and {logged[1] - plain[1]:.0f}, its place in the tree "
                f"{tree[0]:.0f} and {tree[1]:.0f}: {100 * ((sum(logged) + sum(tree)) / sum(plain) - 1):.1f} %",
                flush=True,
            )
            whole = [whole[0] + sum(plain), whole[1] + sum(logged) + sum(tree)]
        print(f"  all three: {100 * (whole[1] / whole[0] - 1):.1f} %")
    finally:
        await engine.dispose()


async def people(ubr: Application) -> list[Writer]:
    found = []
    for writer in range(WRITERS):
        email = f"admin{writer}@example.org"
        await ubr.create_user(CreateUserCommand(email=email, password=PASSWORD, roles=["admin"]), actor=SYSTEM)
        tokens = await ubr.log_in(LogInCommand(email=email, password=PASSWORD))
        users, roles = [], []
        for number in range(EACH):
            user = await ubr.create_user(CreateUserCommand(email=f"user{number}.{writer}@example.org"), actor=SYSTEM)
            command = CreateRoleCommand(name=f"role{number}-{writer}", permissions=["users:read"])
            users.append(user.id)
            roles.append((await ubr.create_role(command, actor=SYSTEM)).id)
        given = f"given-{writer}"
        await ubr.create_role(CreateRoleCommand(name=given, permissions=["users:read"]), actor=SYSTEM)
        found.append(Writer(await ubr.authenticate(tokens.access_token), users, roles, given))
    return found


def processor_of(process: int) -> int:
    """Nanoseconds that a process has used so far; 0 where the system does not tell."""
    told = Path(f"/proc/{process}/schedstat")
    return int(told.read_text().split()[0]) if told.exists() else 0


def processor_of_children(process: int) -> float:
    """Seconds that the processes below one have used so far; 0 where the system does not tell."""
    if not Path("/proc/self/stat").exists():
        return 0.0
    ticks = 0
    for child in children(process):
        with suppress(OSError):  # it has ended meanwhile
            after_name = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            ticks += int(after_name[11]) + int(after_name[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def p99(slices: Sequence[Slice]) -> float:
    took = sorted(itertools.chain.from_iterable(each.took for each in slices))
    return 1000 * took[int(len(took) * 0.99)]


def told(name: str, slices: Sequence[Slice]) -> str:
    return (
        f"  {name:11} {median(each.rate for each in slices):5.0f} writes/s, "
        f"median {median(each.median for each in slices):5.1f} ms, p99 {p99(slices):6.1f} ms; "
        f"{median(each.asked for each in slices):.2f} statements a write, "
        f"processor {median(each.spent for each in slices):.2f} ms here and "
        f"{median(each.served for each in slices):.2f} ms in the database"
    )


async def compare(kind: str, sides: Sequence[Side], seconds: float, rounds: int) -> float:
    """The cost of the log in percent: how much longer the same number of writes take with it."""
    seen: dict[str, list[Slice]] = {side.name: [] for side in sides}
    for number in range(rounds):
        # Whoever is second finds a warmer machine, or a checkpoint of the database: so each is, in turn.
        for side in sides if number % 2 else sides[::-1]:
            seen[side.name].append(await side.slice(kind, seconds))
    plain, logged = seen[sides[0].name], seen[sides[1].name]
    costs = sorted(100 * (one.rate / other.rate - 1) for one, other in zip(plain, logged, strict=True))
    work = [median(each.spent + each.served for each in side) for side in (plain, logged)]
    print(f"{kind}:")
    for side in sides:
        print(told(side.name, seen[side.name]))
    quarter = len(costs) // 4
    print(
        f"  the log costs {median(costs):.1f} % a write (half of the rounds: {costs[quarter]:.1f} to "
        f"{costs[-1 - quarter]:.1f}); of the processors' work {100 * (work[1] / work[0] - 1):.1f} %",
        flush=True,
    )
    return median(costs)


async def set_commit(server: PostgresServer, to: str) -> None:
    """Whether an answer waits for the disk. Sessions that are open hear of it too."""
    await asyncio.to_thread(server.query, f"ALTER SYSTEM SET synchronous_commit = {to}")
    await asyncio.to_thread(server.query, "SELECT pg_reload_conf()")


async def everything_is_in_the_tree(units: SqlUnitOfWork, engine: AsyncEngine) -> int:
    """A cost that leaves something undone would be none. The number of entries."""
    async with units.read() as tx:
        size = (await tx.log_tree.state()).size
    async with engine.connect() as connection:
        entries = (await connection.execute(select(func.count()).select_from(logs))).scalar_one()
        waiting = (await connection.execute(select(func.count()).select_from(log_queue))).scalar_one()
    if waiting or size != entries:
        raise AssertionError(f"{entries} entries, of which {waiting} wait and {size} are in the tree")
    return size


async def main(seconds: float, rounds: int) -> None:
    with PostgresServer.start(private=True, durable=True) as server:
        url = await asyncio.to_thread(server.create_database, "ubr")
        settings = Settings.memory(database_url=url, migrate="auto", **TINY_HASHING)
        async with connect(settings) as ubr:
            writers = await people(ubr)
        new_id = Uuid7()
        signing = Ed25519LogSigning(SecretKeys(settings.secret_keys), settings.issuer, random_bytes)
        parts = Parts(Recorder(new_id, random_bytes), Silent(new_id, random_bytes), signing)
        print(f"{server.origin}\n\none by one, processor time of a write:")
        with calling_from(ORIGIN):
            await one_by_one(url, writers, parts, WRITES)
        async with AsyncExitStack() as stack:
            engine = make_engine(url, ConnectionLimits(connections=WRITERS))
            lifeline = make_engine(url, ConnectionLimits(connections=LIFELINE))
            stack.push_async_callback(engine.dispose)
            stack.push_async_callback(lifeline.dispose)
            sequencer = Sequencer(SqlUnitOfWork(lifeline, parts.recorder), signing)
            folder = Path(str(await asyncio.to_thread(server.query, "SHOW data_directory")))
            postmaster = int((folder / "postmaster.pid").read_text().split()[0])
            sides = []
            for name, writes_down, beside_it in (
                ("without log", parts.silent, None),
                ("with log", parts.recorder, sequencer),
            ):
                units = SqlUnitOfWork(engine, writes_down)
                by_writer = [writer.writes(units) for writer in writers]
                kinds = {kind: [each[kind] for each in by_writer] for kind in by_writer[0]}
                sides.append(Side(name, engine, postmaster, kinds, beside_it))
            print(f"\n{WRITERS} at once, {rounds} rounds of {seconds:g} s each:")
            costs: dict[str, float] = {}
            for side in sides:  # so that statements are prepared, and pages in memory
                await side.slice(ALL, 1)
            for commit, compared in (("on", list(sides[0].kinds)), ("off", [ALL])):
                await set_commit(server, commit)
                for kind in compared:
                    print(f"\nsynchronous_commit {commit}, ", end="")
                    costs[f"{commit}, {kind}"] = await compare(kind, sides, seconds, rounds)
            size = await everything_is_in_the_tree(SqlUnitOfWork(lifeline, parts.recorder), lifeline)
            print(f"\n{size} entries, all of them in the tree")
            for case, cost in costs.items():
                print(f"{'ok  ' if cost < TARGET else 'over'} {cost:5.1f} %  synchronous_commit {case}")


if __name__ == "__main__":
    uvloop.run(
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 2, int(sys.argv[2]) if len(sys.argv) > 2 else 11)  # noqa: PLR2004
    )
