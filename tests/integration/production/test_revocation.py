"""Sessions that end while people use them: real workers, two instances, and Redis under every fault.

Each trial uses a token on many connections, so that workers know it; ends it through one; and, once that is answered,
uses it again on all of them. Not one of these uses may be answered as before.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.verifier.processes import PASSWORD, follower_key, running_beside
from tests.support.plugin import NewDatabase, PrivateRedis
from tests.support.reaper import children
from tests.support.servers import RedisServer
from tests.support.service import SECRET_KEY, UbrProcess, on_postgres, serving
from tests.support.wire import Answer, Wire
from ubr import (
    SYSTEM,
    Application,
    AssignRoleCommand,
    CreateRoleCommand,
    LogInCommand,
    RegisterUserCommand,
    Settings,
    connect,
)
from ubr.domain.errors import StoreUnavailable
from ubr.testing import TINY_HASHING

pytestmark = pytest.mark.system

BOUND = 1.0
PROMISED = BOUND + 0.25
ISSUER = "https://users.example.org"
ME = "/api/users/me"

Call = tuple[str, str, str] | tuple[str, str, str, object]
"""Method, path, token, and perhaps a body."""


@dataclass(frozen=True)
class Session:
    id: str
    access: str
    refresh: str


@dataclass
class Person:
    id: str
    sessions: list[Session]


class Pace:
    """Gives turns to those who ask, one in so many seconds: a load that does not grow where answers come sooner."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._next = 0.0

    async def turn(self) -> None:
        now = time.monotonic()
        at = max(now, self._next)
        self._next = at + self._every
        await asyncio.sleep(at - now)


@dataclass
class Tally:
    """What was seen in a campaign, and at what pace."""

    pace: Pace = field(default_factory=lambda: Pace(0))

    answered: list[float] = field(default_factory=list)
    before: Counter[tuple[str, int]] = field(default_factory=Counter)
    after: Counter[tuple[str, int]] = field(default_factory=Counter)
    repeated: int = 0
    fault: tuple[str, float] = ("the start", 0.0)
    late: list[str] = field(default_factory=list)
    """What was answered later than promised, and after which fault."""

    def struck(self, fault: str) -> None:
        self.fault = fault, time.monotonic()

    def took(self, seconds: float) -> None:
        self.answered.append(seconds)
        if seconds > PROMISED:
            name, since = self.fault
            self.late.append(f"{1000 * seconds:.0f} ms, {time.monotonic() - since:.1f} s after {name}")

    def accepted(self) -> list[tuple[str, int]]:
        return [seen for seen in self.after if seen[1] < 400]

    def __str__(self) -> str:
        times = sorted(self.answered)
        p50, p99 = (1000 * times[int(len(times) * part)] for part in (0.5, 0.99))
        return (
            f"{len(times)} revocations, {self.after.total()} uses after the answer, accepted {len(self.accepted())}; "
            f"answers p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {1000 * times[-1]:.0f} ms; repeated {self.repeated}; "
            f"before {dict(self.before)}; after {dict(self.after)}; late {self.late}"
        )


class Campaign:
    """One who ends things: an administrator's token, and connections to every instance and to a verifier."""

    def __init__(self, admin: Person, wires: Sequence[Wire], verifier: Sequence[Wire], tally: Tally) -> None:
        self.admin = admin.sessions[0].access
        self.elsewhere = f"/api/users/{admin.id}"
        self.wires = wires
        self.verifier = verifier
        self.tally = tally
        self.dice = random.Random(len(wires))  # noqa: S311

    async def run(self, person: Person, trials: int) -> None:
        """So many ends: half of them take a role from the last session, and the last of all disables the user."""
        *ending, last = person.sessions
        role = f"/api/users/{person.id}/roles/reader"
        for number in range(trials - 1):
            if number % 2:
                await self.trial("role taken", last, self.elsewhere, ("DELETE", role, self.admin))
                await self.insist("PUT", role, self.admin, {})
                continue
            session = await self.fresh(ending.pop())
            if number % 4:
                await self.trial("logout", session, ME, ("POST", "/api/auth/logout", session.access))
            else:
                path = f"/api/auth/sessions/{session.id}"
                await self.trial("revoked", session, ME, ("DELETE", path, self.admin))
            await self.refused(session)
        disabling = "PATCH", f"/api/users/{person.id}", self.admin, {"status": "disabled"}
        await self.trial("disabled", last, ME, disabling)
        await self.refused(last)

    async def trial(self, name: str, session: Session, use: str, call: Call) -> None:
        await self.tally.pace.turn()
        for answer in await self.everywhere(use, session.access):
            assert answer.status in {200, 503}, (name, answer, answer.body)
            self.tally.before[name, answer.status] += 1
        for answer in await self.at_verifier(session.access):
            # To a verifier a token is good until the roles change, which they have for the last session.
            assert answer.status in {200, 503} or name in {"role taken", "disabled"}, (name, answer, answer.body)
            self.tally.before[f"{name}, verifier", answer.status] += 1
        if not await self.end(call):
            # The answer was lost, and who asks again has no session to ask in: an administrator has.
            assert await self.end(("DELETE", f"/api/auth/sessions/{session.id}", self.admin))
        for answer in await self.everywhere(use, session.access):
            self.tally.after[name, answer.status] += 1
        for answer in await self.at_verifier(session.access):
            self.tally.after[f"{name}, verifier", answer.status] += 1

    async def end(self, call: Call) -> bool:
        """End something, asking until it is answered; False where who asks is not known any more."""
        for attempt in range(100):
            began = time.monotonic()
            with suppress(ConnectionError):
                answer = await self.dice.choice(self.wires).ask(*call)
                if answer.status in {200, 204}:
                    self.tally.took(time.monotonic() - began)
                    return True
                if answer.status == 401 and attempt:
                    return False
                assert answer.status == 503, (call, answer, answer.body)
            self.tally.repeated += 1
            await asyncio.sleep(0.02)
        raise AssertionError("it is never answered")

    async def fresh(self, session: Session) -> Session:
        """The session with a token that a verifier takes: the roles changed since the last."""
        answer = await self.insist("POST", "/api/auth/refresh", None, {"refresh_token": session.refresh})
        assert answer.status == 200, answer.body
        tokens = answer.json()
        return Session(session.id, tokens["access_token"], tokens["refresh_token"])

    async def refused(self, session: Session) -> None:
        """A refresh token ends with its session."""
        answer = await self.insist("POST", "/api/auth/refresh", None, {"refresh_token": session.refresh})
        self.tally.after["refresh", answer.status] += 1

    async def insist(self, method: str, path: str, token: str | None, body: object = None) -> Answer:
        """Ask until somebody answers who can."""
        async with asyncio.timeout(30):
            while True:
                with suppress(ConnectionError):
                    answer = await self.dice.choice(self.wires).ask(method, path, token, body)
                    if answer.status != 503:
                        return answer
                await asyncio.sleep(0.02)

    async def everywhere(self, path: str, token: str) -> list[Answer]:
        return await asyncio.gather(*(self.once(wire, path, token) for wire in self.wires))

    async def at_verifier(self, token: str) -> list[Answer]:
        return await asyncio.gather(*(self.once(wire, "/notes", token) for wire in self.verifier))

    async def once(self, wire: Wire, path: str, token: str) -> Answer:
        """Use a token. A connection whose worker died is opened anew, to another."""
        async with asyncio.timeout(30):
            while True:
                with suppress(ConnectionError):
                    return await wire.ask("GET", path, token)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def prepared(database_url: str) -> AsyncIterator[Application]:
    """The same installation in this process, where hashing costs nothing."""
    settings = Settings.memory(
        database_url=database_url,
        migrate="check",
        secret_keys=(SECRET_KEY.encode(),),
        issuer=ISSUER,
        access_token_lifetime=timedelta(hours=2),  # as long as any campaign
        **TINY_HASHING,
    )
    async with connect(settings) as ubr:
        yield ubr


async def log_in(ubr: Application, email: str) -> Session:
    """On a machine that is busy, more than once."""
    async with asyncio.timeout(60):
        while True:
            with suppress(StoreUnavailable):
                tokens = await ubr.log_in(LogInCommand(email=email, password=PASSWORD))
                actor = await ubr.authenticate(tokens.access_token)
                return Session(str(actor.session_id), tokens.access_token, tokens.refresh_token)


async def populate(database_url: str, people: int, sessions: int) -> tuple[Person, list[Person]]:
    """An administrator, and people with so many sessions each."""
    async with prepared(database_url) as ubr:
        await ubr.create_role(CreateRoleCommand(name="reader", permissions=["users:read"]), actor=SYSTEM)

        async def make(name: str, role: str, sessions: int) -> Person:
            email = f"{name}@example.org"
            user = await ubr.register_user(RegisterUserCommand(email=email, password=PASSWORD), actor=SYSTEM)
            await ubr.assign_role(AssignRoleCommand(user_id=user.id, role=role), actor=SYSTEM)
            return Person(str(user.id), [await log_in(ubr, email) for _ in range(sessions)])

        made: list[Person] = []
        while len(made) < people:
            more = range(len(made), min(len(made) + 8, people))
            made += await asyncio.gather(*(make(f"user{number}", "reader", sessions) for number in more))
        return await make("operator", "admin", 1), made


@asynccontextmanager
async def campaigns(
    services: Sequence[UbrProcess], admin: Person, tally: Tally, count: int, wires: int, *, verifier: str | None = None
) -> AsyncIterator[list[Campaign]]:
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            own = [await stack.enter_async_context(Wire(service.url)) for service in services for _ in range(wires)]
            running_beside = [await stack.enter_async_context(Wire(verifier)) for _ in range(2)] if verifier else []
            made.append(Campaign(admin, own, running_beside, tally))
        yield made


async def work(campaigns: Sequence[Campaign], people: list[Person], trials: int) -> None:
    """Everybody takes one person after the other."""

    async def one(campaign: Campaign) -> None:
        while people:
            await campaign.run(people.pop(), trials)

    await asyncio.gather(*map(one, campaigns))


def environment(database_url: str, redis: RedisServer, *, workers: int) -> dict[str, str]:
    own = {"UBR_POOL_SIZE": "5", "UBR_ISSUER": ISSUER}
    return {**on_postgres(database_url, redis.url(), workers=workers), **own}


@pytest.mark.system(seconds=20)
async def test_no_worker_accepts_what_has_ended(
    tmp_path: Path, new_database: NewDatabase, private_redis: PrivateRedis
) -> None:
    url, redis, tally = new_database(), private_redis(), Tally()
    admin, people = await populate(url, 5, 5)
    with serving(tmp_path, environment(url, redis, workers=4)) as service:
        async with campaigns([service], admin, tally, 4, 10) as all_of_them:
            await work(all_of_them, people[:4], 6)
            healthy = len(tally.answered)
            await asyncio.to_thread(redis.kill)
            await work(all_of_them, people[4:], 3)
    print(tally)  # noqa: T201 - figures
    assert tally.accepted() == []
    assert healthy >= 24
    assert len(tally.answered) >= healthy + 3
    assert {status for _, status in tally.after} <= {401, 403, 503}


# --- the long one ----------------------------------------------------------------------------------------------------


async def harm(redis: RedisServer, tally: Tally, stop: asyncio.Event) -> Counter[str]:
    """Kill, freeze, empty and restart Redis, in turn, with a while of health in between."""

    async def kill() -> None:
        await asyncio.to_thread(redis.kill)
        await asyncio.sleep(1)
        await asyncio.to_thread(redis.restart)

    async def freeze() -> None:
        await asyncio.to_thread(redis.pause)
        await asyncio.sleep(3)
        await asyncio.to_thread(redis.resume)

    async def flush() -> None:
        await asyncio.to_thread(redis.flush)

    async def restart() -> None:
        await asyncio.to_thread(redis.restart)

    faults: list[Callable[[], Awaitable[None]]] = [kill, freeze, flush, restart]
    done: Counter[str] = Counter()
    while not stop.is_set():
        fault = faults[done.total() % len(faults)]
        tally.struck(fault.__name__)
        await fault()
        done[fault.__name__] += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                await stop.wait()
    return done


@pytest.mark.long
async def test_10_000_ends_hold_while_redis_is_killed_frozen_emptied_and_restarted(
    tmp_path: Path, new_database: NewDatabase, private_redis: PrivateRedis
) -> None:
    url, redis, tally, stop = new_database(), private_redis(), Tally(Pace(0.1)), asyncio.Event()
    admin, people = await populate(url, 250, 21)
    with (
        serving(tmp_path, environment(url, redis, workers=2)) as first,
        serving(tmp_path, environment(url, redis, workers=2)) as second,
        running_beside(
            "fastapi_service", tmp_path, first, follower_key(first.url, admin.sessions[0].access), issuer=ISSUER
        ) as notes,
    ):
        async with campaigns([first, second], admin, tally, 12, 4, verifier=notes) as all_of_them:
            harming = asyncio.create_task(harm(redis, tally, stop))
            working = asyncio.create_task(work(all_of_them, people, 40))
            for many in (2000, 6000):
                while len(tally.answered) < many and not working.done():  # noqa: ASYNC110 - it is a count
                    await asyncio.sleep(0.1)
                victim = random.choice(children(second.process.pid))  # noqa: S311
                os.kill(victim, signal.SIGKILL)
                tally.struck("the death of a worker")
            try:
                await working
            finally:
                stop.set()
                done = await harming
    print(tally)  # noqa: T201 - figures
    print(dict(done))  # noqa: T201
    assert tally.accepted() == []
    assert len(tally.answered) >= 10_000
    assert tally.before["logout, verifier", 200] >= 1_000
    assert set(done) == {"kill", "freeze", "flush", "restart"}
    assert {status for _, status in tally.after} <= {401, 403, 503}
    assert max(tally.answered) <= PROMISED  # of a machine that does nothing else
