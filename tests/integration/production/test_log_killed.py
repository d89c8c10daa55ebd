"""The log while processes die: no change without its entry, no entry without its change, and the tree goes on.

Every write carries a request id of its own, by which its entries are found again. What was answered has to have all of
them; what broke off has all of them and its change, or neither.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeAlias
from uuid import UUID

import asyncpg
import httpx
import pytest
from sqlalchemy.engine import make_url

from tests.support.plugin import Desk, NewDatabase
from tests.support.reaper import children, freeze, kill_tree, thaw
from tests.support.servers import PostgresServer, run
from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD, UbrProcess, on_postgres
from ubr import SYSTEM, Settings, VerifyLogCommand, connect
from ubr.adapters.security.log_signing import Ed25519LogSigning
from ubr.adapters.security.secrets import SecretKeys
from ubr.adapters.security.system import Uuid7, random_bytes
from ubr.adapters.sql.engine import ConnectionLimits, make_engine
from ubr.adapters.sql.migrations import upgrade
from ubr.adapters.sql.unit_of_work import SqlUnitOfWork
from ubr.application.audit.recorder import Recorder
from ubr.application.audit.sequencer import Sequencer
from ubr.bootstrap import open_environment
from ubr.domain.errors import StoreUnavailable
from ubr.domain.events import LogInFailed
from ubr.domain.roles.role import ADMIN_ROLE_ID, USER_ROLE_ID
from ubr.testing import TINY_HASHING

pytestmark = [pytest.mark.anyio, pytest.mark.system]

PASSWORD: Final = "a long enough password"
PATIENCE: Final = 60.0
PROMISED: Final = 2.0
"""Seconds within which another process goes on where the one before died."""
GIVES_UP: Final = 10.0
"""A supervisor whose worker dies again before it is 5.5 s old ends as well. So many seconds are enough."""
OWN: Final = {
    "UBR_ISSUER": "https://users.example.org",
    "UBR_REVOCATION_POLL": "50ms",
    "UBR_REVOCATION_BOUND": "100ms",
    "UBR_SESSIONS_PER_USER": "10000",
    "UBR_ACCESS_TOKEN_LIFETIME": "15m",
}
"""Tokens are good at any port, who died is not waited for long, and no login ends another."""

EVERYONE_HAS: Final = str(USER_ROLE_ID)
BUILT_IN: Final = {str(ADMIN_ROLE_ID), EVERYONE_HAS}

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def until(condition: Callable[[], Awaitable[bool]], patience: float = PATIENCE, pause: float = 0.02) -> None:
    deadline = time.monotonic() + patience
    while not await condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(pause)


def dsn(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@asynccontextmanager
async def looking(url: str) -> AsyncIterator[Connection]:
    """A connection of the test's own."""
    connection = await asyncpg.connect(dsn(url), timeout=10)
    try:
        yield connection
    finally:
        connection.terminate()


def seeded(seed: int) -> random.Random:
    """Chance that can be had again."""
    return random.Random(seed)  # noqa: S311 - nobody has to be kept from guessing it


# --- what is written, and what became of it --------------------------------------------------------------------------


@dataclass(frozen=True)
class Write:
    """A request, the actions it has entries of if it is done, and whether it was answered."""

    id: str
    actions: tuple[str, ...]
    answered: bool


@dataclass
class Person:
    id: str
    email: str
    sessions: list[str] = field(default_factory=list)
    holds: set[str] = field(default_factory=set)


@dataclass
class Town:
    """Where writes go at the moment, and all that were sent there."""

    services: list[UbrProcess]
    client: httpx.AsyncClient
    writes: list[Write] = field(default_factory=list)
    refused: list[tuple[str, int, str]] = field(default_factory=list)

    async def send(self, to: UbrProcess, id: str, actions: Sequence[str], call: tuple[str, str], **more: Any) -> Any:
        """What was answered; None where it is not known whether anything was done.

        Errors: `httpx.ConnectError`, `httpx.ConnectTimeout` where nobody is there to send it to.
        """
        method, path = call
        token = more.pop("token", None)
        headers = {"X-Request-ID": id} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        try:
            answer = await self.client.request(method, to.url + path, headers=headers, **more)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise  # nobody is there, so nothing was sent
        except httpx.TransportError:
            self.writes.append(Write(id, tuple(actions), answered=False))
            return None
        done = answer.status_code < 300
        self.writes.append(Write(id, tuple(actions), answered=done))
        if not done:
            # What the store did not answer in time may be done all the same. Anything else is no answer to this.
            if answer.status_code != 503:
                self.refused.append((path, answer.status_code, answer.text))
            return None
        return answer.json() if answer.content else {}

    @property
    def acknowledged(self) -> list[Write]:
        return [write for write in self.writes if write.answered]


@dataclass
class Writer:
    """Somebody who does all kinds of things, by chance, to people and roles that nobody else touches.

    What broke off leaves something in a state that is not known. It is not touched again.
    """

    name: str
    town: Town
    chance: random.Random
    people: list[Person] = field(default_factory=list)
    roles: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    made: int = 0

    async def run(self, over: asyncio.Event) -> None:
        while not over.is_set():
            if self.token is None:
                tokens = await self.send(["session.opened"], "POST", "/api/auth/login", json=_as_admin())
                self.token = tokens and tokens["access_token"]
                continue
            await self.chance.choice(self._possible())()

    async def send(self, actions: Sequence[str], method: str, path: str, **more: Any) -> Any:
        self.made += 1
        while True:
            to = self.chance.choice(self.town.services)
            try:
                return await self.town.send(to, f"{self.name}.{self.made}", actions, (method, path), **more)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                await asyncio.sleep(0.05)

    def _possible(self) -> list[Callable[[], Awaitable[None]]]:
        acts: list[Callable[[], Awaitable[None]]] = [self.create_role]
        acts += [self.register] if len(self.people) < 4 else [self.log_in, self.rename, self.rename]
        acts += [self.log_out] if any(person.sessions for person in self.people) else []
        acts += [self.describe, self.assign, self.assign] if self.people and self.roles else []
        acts += [self.delete_role] if len(self.roles) > 4 else []
        acts += [self.unassign, self.unassign] if any(person.holds for person in self.people) else []
        return acts

    async def register(self) -> None:
        email = f"user{self.made}.{self.name}@example.org"
        body = {"email": email, "password": PASSWORD}
        user = await self.send(["user.registered"], "POST", "/api/auth/register", json=body)
        if user is not None:
            self.people.append(Person(user["id"], email))

    async def log_in(self) -> None:
        person = self.chance.choice(self.people)
        body = {"email": person.email, "password": PASSWORD}
        tokens = await self.send(["session.opened"], "POST", "/api/auth/login", json=body)
        if tokens is not None:
            person.sessions.append(tokens["access_token"])

    async def log_out(self) -> None:
        person = self.chance.choice([person for person in self.people if person.sessions])
        await self.send(["session.revoked"], "POST", "/api/auth/logout", token=person.sessions.pop())

    async def rename(self) -> None:
        path = f"/api/users/{self.chance.choice(self.people).id}"
        await self.send(["user.updated"], "PATCH", path, token=self.token, json={"full_name": f"Name {self.made}"})

    async def create_role(self) -> None:
        name = f"role{self.made}-{self.name}"
        body = {"name": name, "permissions": ["users:read"]}
        role = await self.send(["role.created"], "POST", "/api/roles", token=self.token, json=body)
        if role is not None:
            self.roles[name] = role["id"]

    async def describe(self) -> None:
        path = f"/api/roles/{self.chance.choice([*self.roles.values()])}"
        await self.send(["role.updated"], "PUT", path, token=self.token, json={"description": f"For {self.made}"})

    async def delete_role(self) -> None:
        name = self.chance.choice([*self.roles])
        for person in self.people:
            person.holds.discard(name)
        await self.send(["role.deleted"], "DELETE", f"/api/roles/{self.roles.pop(name)}", token=self.token)

    async def assign(self) -> None:
        person, name = self.chance.choice(self.people), self.chance.choice([*self.roles])
        if name not in person.holds:
            await self._grant(person, name, "role.assigned", "PUT", json={})
            person.holds.add(name)

    async def unassign(self) -> None:
        person = self.chance.choice([person for person in self.people if person.holds])
        name = self.chance.choice(sorted(person.holds))
        person.holds.discard(name)
        await self._grant(person, name, "role.unassigned", "DELETE")

    async def _grant(self, person: Person, role: str, action: str, method: str, **more: Any) -> None:
        path = f"/api/users/{person.id}/roles/{role}"
        if await self.send([action], method, path, token=self.token, **more) is None:
            self.people.remove(person)


def _as_admin() -> dict[str, str]:
    return {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}


# --- what the tables say ---------------------------------------------------------------------------------------------


@dataclass
class Told:
    """What has to be in the tables, if the entries of the log are all that happened."""

    users: dict[str, int] = field(default_factory=dict)
    roles: dict[str, int] = field(default_factory=dict)
    grants: set[tuple[str, str]] = field(default_factory=set)
    sessions: dict[str, bool] = field(default_factory=dict)
    by_request: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    async def of(cls, connection: Connection) -> Told:
        told = cls()
        entries = "SELECT action, target_id, data::jsonb->>'role_id' AS role, request_id, request_id_given FROM logs"
        for entry in await connection.fetch(f"{entries} JOIN log_leaves ON entry_id = id ORDER BY leaf_index"):
            if entry["request_id_given"]:
                told.by_request[entry["request_id"]].append(entry["action"])
            told.take(entry["action"], entry["target_id"], entry["role"])
        return told

    def take(self, action: str, target: str, role: str) -> None:
        match action:
            case "user.registered" | "user.created":
                assert target not in self.users, "it came into being twice"
                self.users[target] = 1
            case "user.updated":
                self.users[target] += 1
            case "role.assigned":
                assert (target, role) not in self.grants, "it was given twice"
                self.users[target] += 1
                self.grants.add((target, role))
            case "role.unassigned":
                self.users[target] += 1
                self.grants.remove((target, role))
            case "role.created":
                assert target not in self.roles, "it came into being twice"
                self.roles[target] = 1
            case "role.updated":
                self.roles[target] += 1
            case "role.deleted":
                del self.roles[target]
                self.grants = {grant for grant in self.grants if grant[1] != target}
            case "session.opened":
                assert target not in self.sessions, "it was opened twice"
                self.sessions[target] = False
            case "session.revoked":
                assert self.sessions[target] is False, "it ended twice"
                self.sessions[target] = True
            case _:
                assert action in {"signing_key.created", "log_key.created", "requests.rejected"}, action


async def check_state(connection: Connection, writes: Sequence[Write]) -> Counter[str]:
    """State changes and entries are the same ones. How often what was done; what broke off and was done counts."""

    async def rows(query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await connection.fetch(query)]

    told = await Told.of(connection)
    assert dict(await rows("SELECT id::text, version FROM users")) == told.users
    roles = dict(await rows("SELECT id::text, version FROM roles"))
    assert {id: version for id, version in roles.items() if id not in BUILT_IN} == told.roles
    held = set(await rows("SELECT user_id::text, role_id::text FROM user_roles"))
    assert {(user, role) for user, role in held if role != EVERYONE_HAS} == told.grants
    assert dict(await rows("SELECT id::text, ended_at IS NOT NULL FROM sessions")) == told.sessions
    done: Counter[str] = Counter()
    for write in writes:
        found = tuple(told.by_request.pop(write.id, ()))
        assert found == write.actions or (not found and not write.answered), (write, found)
        done.update(found)
        done["broken off, and done"] += bool(found) and not write.answered
        done["broken off, and not done"] += not found
    assert told.by_request == {}, "entries of what nobody asked for"
    return done


async def check_tree(connection: Connection, url: str) -> int:
    """Every entry is in the tree once, in a row without a gap; nothing waits; and the log verifies. Its size."""
    entries = await connection.fetchval("SELECT count(*) FROM logs")
    found = await connection.fetchrow(
        "SELECT count(*) AS count, count(DISTINCT entry_id) AS entries, min(leaf_index) AS first, "
        "max(leaf_index) AS last FROM log_leaves JOIN logs ON id = entry_id"
    )
    assert found is not None
    assert dict(found) == {"count": entries, "entries": entries, "first": 0, "last": entries - 1}
    assert await connection.fetchval("SELECT count(*) FROM log_leaves") == entries
    assert await connection.fetchval("SELECT size FROM log_head") == entries
    assert await connection.fetchval("SELECT max(size) FROM log_checkpoints") == entries
    assert await nothing_waits(connection)
    async with open_environment(Settings.memory(database_url=url), prepared=False, following=False) as environment:
        verified = await environment.application.verify_log(VerifyLogCommand(), actor=SYSTEM)
    assert (verified.finding, verified.size) == (None, entries)
    return verified.size


async def nothing_waits(connection: Connection) -> bool:
    return not await connection.fetchval("SELECT EXISTS (SELECT FROM log_queue)")


async def waiting(connection: Connection) -> set[UUID]:
    return {row["entry_id"] for row in await connection.fetch("SELECT entry_id FROM log_queue")}


# --- killed at any moment --------------------------------------------------------------------------------------------


@dataclass
class Killing:
    """A service that is killed again and again, whole or one worker, and is there again."""

    folder: Path
    environment: Mapping[str, str]
    town: Town
    chance: random.Random
    done: Counter[str] = field(default_factory=Counter)
    _last: float = -GIVES_UP

    def start(self) -> UbrProcess:
        service = UbrProcess(self.folder, self.environment)
        self.town.services[:] = [service]
        return service

    async def strike(self) -> None:
        [service] = self.town.services
        workers = children(service.process.pid)
        if workers and time.monotonic() - self._last > GIVES_UP and self.chance.random() < 0.5:
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(workers), signal.SIGKILL)
            self._last = time.monotonic()
            self.done["a worker"] += 1
            return
        await asyncio.to_thread(kill_tree, service.process.pid)
        await asyncio.to_thread(service.process.wait)
        self.done["the service"] += 1
        await asyncio.to_thread(self.start().wait_until_ready)


@pytest.mark.parametrize(
    ("writes", "kills", "workers"),
    [
        pytest.param(60, 1, 1, id="60-writes", marks=pytest.mark.long),
        pytest.param(1000, 25, 1, id="one-worker", marks=pytest.mark.long),
        pytest.param(1000, 25, 2, id="two-workers", marks=pytest.mark.long),
    ],
)
async def test_changes_and_entries_agree_after_every_kill(
    tmp_path: Path, new_database: NewDatabase, writes: int, kills: int, workers: int
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201
    chance = seeded(seed)
    url = new_database()
    environment = {**on_postgres(url, workers=workers), **OWN}
    async with looking(url) as connection, httpx.AsyncClient(timeout=20) as client:
        town = Town([], client)
        killing = Killing(tmp_path, environment, town, chance)
        try:
            await asyncio.to_thread(killing.start().wait_until_ready)
            over = asyncio.Event()
            working = asyncio.gather(
                *(Writer(f"w{number}", town, seeded(seed + number)).run(over) for number in range(3 * workers))
            )
            for kill in range(kills):
                enough = (kill + chance.random()) * writes / kills
                await until(lambda: _so_many(town, enough), pause=0.005)  # noqa: B023
                await asyncio.sleep(0.05 * chance.random())
                left = await waiting(connection)
                await killing.strike()
                await until(lambda: _none_of(connection, left))  # noqa: B023
            await until(lambda: _so_many(town, writes))
            over.set()
            await working
            await until(lambda: nothing_waits(connection))
        finally:
            for service in town.services:
                await asyncio.to_thread(kill_tree, service.process.pid)
                service.process.wait()
        size = await check_tree(connection, url)
        done = await check_state(connection, town.writes)
    print(f"{len(town.writes)} writes, {len(town.acknowledged)} answered, {size} entries; killed {dict(killing.done)}")  # noqa: T201
    print(dict(done))  # noqa: T201
    assert town.refused == []
    assert killing.done.total() == kills
    assert len(town.acknowledged) > writes / 2


async def _so_many(town: Town, writes: float) -> bool:
    return len(town.writes) >= writes


async def _none_of(connection: Connection, entries: set[UUID]) -> bool:
    return not entries & await waiting(connection)


# --- two services, of which one adds to the tree ---------------------------------------------------------------------


@dataclass
class Pair:
    """Two services on one database, each of them there in a role of its own, by which its connections are known."""

    folder: Path
    url: str
    urls: Mapping[str, str]
    services: dict[str, UbrProcess] = field(default_factory=dict)

    async def both(self) -> Pair:
        """Both of them, started again where they are not there."""
        missing = [role for role in self.urls if role not in self.services]
        for role in missing:
            environment = {**on_postgres(self.urls[role], workers=1), **OWN, "UBR_MIGRATE": "check"}
            self.services[role] = UbrProcess(self.folder, environment)
        for role in missing:
            await asyncio.to_thread(self.services[role].wait_until_ready)
        return self

    def kill(self, role: str) -> None:
        service = self.services.pop(role)
        kill_tree(service.process.pid)
        service.process.wait()

    def end(self) -> None:
        for role in [*self.services]:
            self.kill(role)


@pytest.fixture(scope="module")
def pair(
    desk: Desk, tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, migrated_template: str
) -> Iterator[Pair]:
    name, password = f"{desk.run_id}_{secrets.token_hex(6)}", secrets.token_hex(16)
    with ExitStack() as stack:
        for role in (f"{name}_one", f"{name}_other"):
            postgres_server.query(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
            stack.callback(postgres_server.query, f"DROP ROLE {role}")
            # Two roles tell the services apart. In an installation they share one, so they can end their connections.
            postgres_server.query(f"GRANT pg_signal_backend, pg_read_all_stats TO {role}")
        url = postgres_server.create_database(name, migrated_template)
        stack.callback(postgres_server.drop_database, name)
        urls = {}
        for role in (f"{name}_one", f"{name}_other"):
            run(upgrade(url, service=role))
            urls[role] = make_url(url).set(username=role, password=password).render_as_string(hide_password=False)
        pair = Pair(tmp_path_factory.mktemp("pair"), url, urls)
        stack.callback(pair.end)
        yield pair


_HOLDS: Final = (
    "SELECT usename FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE NOT granted "
    "AND relation = 'log_checkpoints'::regclass AND datname = current_database()"
)
"""Who leads comes to the checkpoints once the leaves are written."""


async def leading(connection: Connection, pair: Pair) -> str:
    """Whichever of the two has the lock."""
    deadline = time.monotonic() + PATIENCE
    while (leader := await connection.fetchval(_HOLDS)) not in pair.services:
        assert time.monotonic() < deadline, "nobody adds to the tree"
        await asyncio.sleep(0.005)
    return str(leader)


@asynccontextmanager
async def nobody_gets_to_the_end(url: str) -> AsyncIterator[None]:
    """While this lasts, whoever leads stands in the midst of it, before the last row that is to be written."""
    async with looking(url) as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE log_checkpoints IN EXCLUSIVE MODE")
        yield


@dataclass
class Stream:
    """Writes through both services, one after the other, each of which is looked for in the tree."""

    pair: Pair
    client: httpx.AsyncClient
    connection: Connection
    token: str
    since: float = 0.0
    """Before this nothing counts: until then there was nobody who could have gone on."""
    waiting: dict[str, float] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def over(cls, pair: Pair) -> AsyncIterator[Stream]:
        async with looking(pair.url) as connection, httpx.AsyncClient(timeout=20) as client:
            service = next(iter(pair.services.values()))
            answer = await client.post(f"{service.url}/api/auth/login", json=_as_admin())
            stream = cls(pair, client, connection, answer.json()["access_token"])
            tasks = [asyncio.create_task(stream._write(role)) for role in pair.services]
            tasks.append(asyncio.create_task(stream._look()))
            try:
                yield stream
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, role: str) -> None:
        while True:
            await asyncio.sleep(0.03)
            if (service := self.pair.services.get(role)) is None:
                continue
            id = secrets.token_hex(8)
            headers = {"X-Request-ID": id, "Authorization": f"Bearer {self.token}"}
            body = {"name": f"role-{id}", "permissions": []}
            with suppress(httpx.TransportError):
                answer = await self.client.post(f"{service.url}/api/roles", headers=headers, json=body)
                if answer.status_code == 201:
                    self.waiting[id] = time.monotonic()

    async def _look(self) -> None:
        query = "SELECT request_id FROM logs JOIN log_leaves ON entry_id = id WHERE request_id = ANY($1::text[])"
        while True:
            for row in await self.connection.fetch(query, [*self.waiting]):
                self.took.append(time.monotonic() - max(self.since, self.waiting.pop(row["request_id"])))
            await asyncio.sleep(0.01)

    async def until_in_the_tree(self, more: int = 5) -> float:
        """Wait for all that is answered by now, and so many more. The longest that one of them took."""
        before, seen = {*self.waiting}, len(self.took)

        async def all_of_them() -> bool:
            return not before & self.waiting.keys() and len(self.took) >= seen + len(before) + more

        await until(all_of_them)
        return max(self.took[seen:])


@pytest.mark.long
async def test_who_acts_waits_for_nobody_who_leads_and_hangs(pair: Pair) -> None:
    await pair.both()
    async with Stream.over(pair) as stream, looking(pair.url) as connection, looking(pair.url) as hangs:
        await stream.until_in_the_tree()
        await hangs.execute("BEGIN")
        await hangs.execute("SELECT FROM log_head FOR UPDATE")
        size, answered = await connection.fetchval("SELECT size FROM log_head"), len(stream.waiting)
        await until(lambda: _as_many(stream.waiting, answered + 20))
        assert await connection.fetchval("SELECT size FROM log_head") == size
        hangs.terminate()
        stream.since = time.monotonic()
        longest = await stream.until_in_the_tree()
    print(f"in the tree {longest:.2f} s after the end of one that hung, at most")  # noqa: T201
    async with looking(pair.url) as connection:
        await until(lambda: nothing_waits(connection))
        await check_tree(connection, pair.url)


async def _as_many(things: Mapping[str, object], many: int) -> bool:
    return len(things) >= many


@pytest.mark.long
@pytest.mark.parametrize("rounds", [20])
async def test_the_other_worker_continues_if_the_writer_of_the_tree_is_killed(pair: Pair, rounds: int) -> None:
    longest = []
    await pair.both()
    async with Stream.over(pair) as stream, looking(pair.url) as connection:
        for _ in range(rounds):
            await pair.both()
            await stream.until_in_the_tree()
            async with nobody_gets_to_the_end(pair.url):
                leader = await leading(connection, pair)
                await asyncio.to_thread(pair.kill, leader)
            stream.since = time.monotonic()
            longest.append(await stream.until_in_the_tree())
    print(f"in the tree after the death of the one that led: {[f'{seconds:.2f}' for seconds in longest]} s")  # noqa: T201
    async with looking(pair.url) as connection:
        await until(lambda: nothing_waits(connection))
        await check_tree(connection, pair.url)
    assert median(longest) <= PROMISED


@pytest.mark.long
async def test_where_the_one_that_leads_freezes_the_other_goes_on_when_the_database_has_lost_patience(
    pair: Pair,
) -> None:
    await pair.both()
    async with Stream.over(pair) as stream, looking(pair.url) as connection:
        await stream.until_in_the_tree()
        async with nobody_gets_to_the_end(pair.url):
            leader = await leading(connection, pair)
            process = pair.services[leader].process.pid
            await asyncio.to_thread(freeze, process)
        stream.since = time.monotonic()
        try:
            longest = await stream.until_in_the_tree()
        finally:
            await asyncio.to_thread(thaw, process)
        await stream.until_in_the_tree(50)
    print(f"in the tree {longest:.2f} s after the one that led froze, at most")  # noqa: T201
    async with looking(pair.url) as connection:
        await until(lambda: nothing_waits(connection))
        await check_tree(connection, pair.url)
    assert longest < ConnectionLimits().idle + 2 * PROMISED


async def test_one_that_hangs_in_its_unit_leads_no_longer_than_the_database_is_patient(
    new_database: NewDatabase,
) -> None:
    url = new_database()
    settings = Settings.memory(database_url=url, migrate="auto", **TINY_HASHING)
    async with connect(settings, background=True):
        pass  # there is a key now
    recorder = Recorder(Uuid7(), random_bytes)
    signing = Ed25519LogSigning(SecretKeys(settings.secret_keys), settings.issuer, random_bytes)
    engine, impatient = make_engine(url), make_engine(url, ConnectionLimits(idle=1.0))
    units = SqlUnitOfWork(engine, recorder)
    sequencer = Sequencer(units, signing)
    try:
        async with units.begin(SYSTEM) as tx:
            tx.record(LogInFailed(user_id=None, reason="unknown_email"))
            await tx.commit()
        async with SqlUnitOfWork(impatient, recorder).begin(SYSTEM) as hangs:
            assert await hangs.log_tree.lead(wait=False)
            assert await sequencer(wait=True) == 1
            with pytest.raises(StoreUnavailable):
                await hangs.commit()
        async with looking(url) as connection:
            await check_tree(connection, url)
    finally:
        await engine.dispose()
        await impatient.dispose()


@pytest.mark.system(seconds=11)
async def test_a_writer_that_freezes_between_two_messages_of_a_statement_is_ended(new_database: NewDatabase) -> None:
    """Neither the statement timeout of PostgreSQL nor that of idle transactions ends it."""
    url = new_database()
    settings = Settings.memory(database_url=url, migrate="auto", **TINY_HASHING)
    async with connect(settings, background=True):
        pass
    recorder = Recorder(Uuid7(), random_bytes)
    engine = make_engine(url)
    units = SqlUnitOfWork(engine, recorder)
    sequencer = Sequencer(units, Ed25519LogSigning(SecretKeys(settings.secret_keys), settings.issuer, random_bytes))
    try:
        async with units.begin(SYSTEM) as tx:
            tx.record(LogInFailed(user_id=None, reason="unknown_email"))
            await tx.commit()
        async with looking(url) as frozen:
            await frozen.execute(
                "BEGIN; SET LOCAL statement_timeout = 1000; SET LOCAL idle_in_transaction_session_timeout = 1000;"
                "SET LOCAL search_path = ubr, public; SELECT FROM log_head FOR UPDATE"
            )
            await frozen.prepare("INSERT INTO log_checkpoints (size, note) VALUES ($1, $2)")

            async def signed() -> bool:
                return await sequencer() == 1

            await until(signed, pause=0.2)
            with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
                await frozen.execute("COMMIT")
        async with looking(url) as connection:
            await check_tree(connection, url)
    finally:
        await engine.dispose()
