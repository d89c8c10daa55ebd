"""Programs that embed ubr, as processes: one that does the background jobs, and one that dies in its transactions.

    python -m tests.support.hosts NAME OPTIONS

`OPTIONS` is JSON, and the name is that of a function at the end of this file.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from tests.support.commands import clean_environment
from tests.support.people import NO_LIMITS
from ubr import (
    SYSTEM,
    Application,
    CreateRoleCommand,
    CreateUserCommand,
    DeleteUserCommand,
    GetUserByEmailCommand,
    HostedUseCases,
    Settings,
    UpdateUserCommand,
    UserChanges,
    connect,
)
from ubr.application.kernel.origin import Origin, calling_from
from ubr.bootstrap import preload
from ubr.testing import TINY_HASHING

KILLED: Final = 0.1
"""The share of acts with the kill of their process."""
CUT: Final = 0.15
"""The share of acts with the loss of their connection."""
ROLLED_BACK: Final = 0.1
LONGEST: Final = 0.06
"""Seconds after the begin of an act, until which a fault may come: longer than most acts take."""
FAULTY: Final = 70
"""The exit code of a process with an error that no fault explains."""


def settings_of(url: str, **more: Any) -> Settings:
    return Settings.memory(
        **{
            **TINY_HASHING,
            "login_rate_limit": NO_LIMITS,
            "database_url": url,
            "migrate": "check",
            "secret_keys": (bytes(32),),  # that of all processes
            "revocation_poll": timedelta(milliseconds=50),
            "revocation_bound": timedelta(milliseconds=100),  # a call waits so long for a process that was killed
            **more,
        }
    )


@contextmanager
def started(name: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program of this module in a process of its own, until the end of the context."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.hosts", name, json.dumps(options)],
        env=clean_environment() | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def tell(line: str) -> None:
    """A line for the test."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


# --- background -------------------------------------------------------------------------------------------------------


async def background(url: str, **more: Any) -> None:
    """Connect with background jobs, tell the name of the worker, and stay until the end of the input."""
    async with connect(settings_of(url, **more), background=True) as ubr:
        tell(str(ubr.authenticate.authorize.session_cache.worker))
        await asyncio.to_thread(sys.stdin.read)


# --- acts -------------------------------------------------------------------------------------------------------------


def new_engine(url: str) -> AsyncEngine:
    """The engine of the host. Its role finds the tables of the host in the schema public."""
    if url.startswith("postgresql"):
        address = url if "+asyncpg" in url else url.replace("postgresql:", "postgresql+asyncpg:")
        return create_async_engine(address, pool_pre_ping=True)  # a connection may be lost after its transaction
    engine = create_async_engine(url)
    event.listen(engine.sync_engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys=ON"))
    return engine


@dataclass(frozen=True)
class Transaction:
    """An open transaction of the host, over one of the kinds of connections that `within` takes."""

    given: Any
    execute: Callable[[str], Awaitable[object]]
    commit: Callable[[], Awaitable[object]]
    roll_back: Callable[[], Awaitable[object]]
    cut: Callable[[], None]
    """Close the socket at once."""


@dataclass
class Acting:
    """A host that does acts in its own transactions, and dies in some of them.

    `ledger` gets a line for each act that begins, and for each one whose end is known.
    """

    url: str
    ledger: Path
    next: int
    until: int
    lanes: int
    random: random.Random
    ubr: Application = field(init=False)
    engine: AsyncEngine = field(init=False)

    async def __call__(self) -> None:
        self.engine = new_engine(self.url)
        async with connect(settings_of(self.url)) as self.ubr, asyncio.TaskGroup() as tasks:
            for lane in range(self.lanes):
                tasks.create_task(self._lane(lane))
        await self.engine.dispose()

    async def _lane(self, lane: int) -> None:
        while self.next < self.until:
            number, self.next = self.next, self.next + 1
            self._note("begun", number)
            fault, moment = self.random.random(), self.random.uniform(0, LONGEST)
            if fault < KILLED:
                timer = threading.Timer(moment, os.kill, [os.getpid(), signal.SIGKILL])
                timer.daemon = True
                timer.start()
            is_cut = KILLED <= fault < KILLED + CUT and self.url.startswith("postgresql")
            try:
                committed = await self._act(number, lane, moment if is_cut else None)
            except Exception:  # of any kind: it is the host that lost its connection
                if not is_cut:
                    raise
            else:
                self._note("done" if committed else "rolled back", number)

    def _note(self, what: str, number: int) -> None:
        with self.ledger.open("a") as file:
            file.write(f"{number} {what}\n")

    async def _act(self, number: int, lane: int, cut_after: float | None) -> bool:
        """One act in one transaction. False if the host rolled it back."""
        back, row_first = self.random.random() < ROLLED_BACK, self.random.random() < 0.5
        async with AsyncExitStack() as stack:
            transaction = await stack.enter_async_context(self._transaction(lane))
            if cut_after is not None:
                stack.callback(asyncio.get_running_loop().call_later(cut_after, transaction.cut).cancel)
            users = self.ubr.within(transaction.given)
            if row_first:
                await transaction.execute(f"INSERT INTO acts VALUES ({number})")  # noqa: S608 - a number
            with calling_from(Origin(request_id=f"act-{number}")):
                await do(users, number)
            if not row_first:
                await transaction.execute(f"INSERT INTO acts VALUES ({number})")  # noqa: S608 - a number
            await (transaction.roll_back() if back else transaction.commit())
        if not back:
            await users.committed()
        return not back

    @asynccontextmanager
    async def _transaction(self, lane: int) -> AsyncIterator[Transaction]:
        if not self.url.startswith("postgresql"):
            async with self.engine.connect() as connection:
                yield transaction_of(connection, lambda: None)
        elif lane % 3 == 0:
            async with self.engine.connect() as connection:
                yield transaction_of(connection, await cut_of(connection))
        elif lane % 3 == 1:
            async with AsyncSession(self.engine) as session:
                yield transaction_of(session, await cut_of(await session.connection()))
        else:
            raw = await asyncpg.connect(self.url.replace("+asyncpg", ""))
            try:
                transaction = raw.transaction()
                await transaction.start()
                yield Transaction(raw, raw.execute, transaction.commit, transaction.rollback, raw.terminate)
            finally:
                raw.terminate()


async def cut_of(connection: AsyncConnection) -> Callable[[], None]:
    driver: Any = (await connection.get_raw_connection()).driver_connection
    cut: Callable[[], None] = driver.terminate
    return cut


def transaction_of(connection: AsyncConnection | AsyncSession, cut: Callable[[], None]) -> Transaction:
    async def execute(statement: str) -> None:
        await connection.execute(text(statement))

    return Transaction(connection, execute, connection.commit, connection.rollback, cut)


async def do(users: HostedUseCases, number: int) -> None:
    """The act with this number. `KINDS` names them."""
    email = f"act-{number}@example.org"
    match number % len(KINDS):
        case 0:
            await users.create_user(CreateUserCommand(email=email), actor=SYSTEM)
        case 1:
            role = await users.create_role(CreateRoleCommand(name=f"act{number}", permissions=[]), actor=SYSTEM)
            await users.create_user(CreateUserCommand(email=email, roles=[role.name]), actor=SYSTEM)
        case 2:
            victim = await users.get_user_by_email(GetUserByEmailCommand(email=email), actor=SYSTEM)
            await users.delete_user(DeleteUserCommand(user_id=victim.id), actor=SYSTEM)
        case _:
            user = await users.get_user_by_email(GetUserByEmailCommand(email=email), actor=SYSTEM)
            command = UpdateUserCommand(user_id=user.id, changes=UserChanges(full_name=f"Act {number}"))
            await users.update_user(command, actor=SYSTEM)


KINDS: Final = ("a new user", "a new role with a user", "a deletion", "a change")


def noted(ledger: Path, what: str) -> set[int]:
    """The acts of which the ledger says this."""
    lines = [line.partition(" ") for line in ledger.read_text().splitlines()]
    return {int(number) for number, _, told in lines if told == what}


def acts(url: str, ledger: str, until: int, lanes: int, seed: int) -> None:
    """Live again after each kill, as a fork of this process, until all acts were begun. Prints the number of lives."""
    preload(settings_of(url))
    lives = first = 0
    while first < until:
        lives += 1
        if (pid := os.fork()) == 0:
            try:
                asyncio.run(Acting(url, Path(ledger), first, until, lanes, random.Random(f"{seed} {first}"))())  # noqa: S311
                os._exit(0)
            except BaseException:  # noqa: BLE001 - a fork never returns
                traceback.print_exc()
                os._exit(FAULTY)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status not in {0, -signal.SIGKILL}:
            sys.exit(FAULTY)
        first = max(noted(Path(ledger), "begun")) + 1
    tell(str(lives))


if __name__ == "__main__":
    name, options = sys.argv[1], json.loads(sys.argv[2])
    if name == "acts":
        acts(**options)
    else:
        asyncio.run(background(**options))
