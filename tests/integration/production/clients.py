"""Clients of two instances behind a balancer, each with a ledger: what it wrote, and how every act ended.

An act is acknowledged, refused, or unknown: its answer was lost, or a 503 that leaves open whether it took effect. A
client finds out about each unknown act before the next one, so that at any time one state is right.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support.service import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.support.wire import Answer, Wire

PASSWORD: Final = "a long enough password"
ROLE: Final = "reader"
PATIENCE: Final = 180.0
"""Seconds within which a repeated call has to succeed: longer than any fault."""
RENEW_AFTER: Final = 240.0
"""Seconds after which an access token, which lasts for 600, is renewed."""
TOKEN_LASTS: Final = 540.0
USES: Final = 3
"""The connections to each instance on which a revoked token is used: more than an instance has workers."""
NO_SERVER: Final = "503 of the balancer"
"""The balancer knew no instance that was ready, so none got the request."""
WRITES: Final = {"register", "log in", "refresh", "rename", "grant role", "remove role", "log out", "revoke"}
"""The acts that change something."""
SLACK: Final = 15.0
"""Seconds by which the effects of a kill may be seen later than the kill, on a busy machine."""


@dataclass
class Fault:
    """A period, and the places that may fail in it: the balancer, or instances by their number."""

    name: str
    began: float
    places: frozenset[str]
    ended: float | None = None
    note: str = ""
    """For the report."""

    def covers(self, place: str, began: float, ended: float) -> bool:
        return place in self.places and began <= (self.ended or ended) + SLACK and ended >= self.began


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not answered as usual."""

    moment: float
    place: str
    act: str
    outcome: str
    waited: float
    """Seconds."""

    def __str__(self) -> str:
        return f"{self.place}, {self.act}: {self.outcome}, after {self.waited:.1f} s"


@dataclass
class Record:
    """What all clients saw."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Answers by act and outcome."""
    longest: dict[str, float] = field(default_factory=dict)
    """The longest wait for an answer, by act, in seconds."""
    failures: list[Failure] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    """When a write was acknowledged."""
    wrong: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    uses_after_end: Counter[str] = field(default_factory=Counter)
    later: list[asyncio.Task[None]] = field(default_factory=list)
    """Uses that a frozen instance has not answered yet."""
    began: float = field(default_factory=time.monotonic)

    def at(self, moment: float) -> str:
        return f"{moment - self.began:.1f} s"

    def blame(self, what: str) -> None:
        self.wrong.append(f"{self.at(time.monotonic())}: {what}")

    @asynccontextmanager
    async def fault(self, name: str, *places: str) -> AsyncIterator[Fault]:
        """Something is done to the servers, and these places may fail meanwhile."""
        fault = Fault(name, time.monotonic(), frozenset(places))
        self.faults.append(fault)
        try:
            yield fault
        finally:
            fault.ended = time.monotonic()

    def judge(self, place: str, act: str, began: float, answer: Answer | None) -> str:
        """The outcome of an answer of a place; None is a broken connection. Notes what must not be."""
        now = time.monotonic()
        self.longest[act] = max(self.longest.get(act, 0), now - began)
        if answer is None:
            outcome = "broken connection"
        elif answer.status < 500:
            self.outcomes[act, str(answer.status)] += 1
            if act in WRITES and answer.status < 300:
                self.writes.append(now)
            return str(answer.status)
        elif "x-request-id" in answer.headers:
            outcome = f"{answer.status} of ubr"
            if answer.status != 503 or int(answer.headers.get("retry-after", "0")) < 1:
                self.blame(f"{place}, {act}: {answer.status} {dict(answer.headers)} {answer.body!r}")
        else:
            outcome = NO_SERVER if answer.status == 503 else f"{answer.status} of the balancer"
        self.outcomes[act, outcome] += 1
        self.failures.append(Failure(now, place, act, outcome, now - began))
        if "of ubr" not in outcome and not any(fault.covers(place, began, now) for fault in self.faults):
            self.blame(f"{place}, {act}: {outcome} without a reason, after {now - began:.1f} s")
        return outcome


@dataclass
class Session:
    id: str
    access: str
    refresh: str
    since: float


class Caller:
    """Asks the balancer on one connection, and instances on connections of their own.

    `instances` has the address of each, by its name; it may change.
    """

    def __init__(self, record: Record, balancer: str, instances: Mapping[str, str]) -> None:
        self.record = record
        self.wire = Wire(balancer)
        self.instances = instances
        self.outcome = ""
        """That of the last attempt."""

    async def ask(self, act: str, method: str, path: str, **more: Any) -> Answer | None:
        """One attempt, by way of the balancer. None: the answer is unknown or a refusal for now."""
        return await self._ask(self.wire, "balancer", act, method, path, **more)

    async def directly(self, instance: str, url: str, act: str, method: str, path: str, **more: Any) -> Answer | None:
        """One attempt, at one instance."""
        async with Wire(url) as wire:
            return await self._ask(wire, instance, act, method, path, **more)

    async def _ask(self, wire: Wire, place: str, act: str, method: str, path: str, **more: Any) -> Answer | None:
        began = time.monotonic()
        answer: Answer | None = None
        with suppress(ConnectionError):
            answer = await wire.ask(method, path, **more)
        self.outcome = self.record.judge(place, act, began, answer)
        return None if answer is None or answer.status >= 500 else answer

    async def insist(self, act: str, method: str, path: str, **more: Any) -> tuple[Answer, bool]:
        """Repeat until it is answered. Also returns whether it took more than one attempt."""
        repeated = False
        async with asyncio.timeout(PATIENCE):
            while (answer := await self.ask(act, method, path, **more)) is None:
                repeated = True
                await asyncio.sleep(0.3)
        return answer, repeated


class Client(Caller):
    """A user with sessions, and an administrator who grants and takes a role of that user."""

    def __init__(
        self, record: Record, balancer: str, instances: Mapping[str, str], *, number: int, seed: int, pace: float
    ) -> None:
        """`pace`: the seconds between two acts, about."""
        super().__init__(record, balancer, instances)
        self.number = number
        self.dice = random.Random(f"{seed} {number}")  # noqa: S311
        self.pace = pace
        self.email = f"client{number}@example.org"
        self.id = ""
        self.name = ""
        self.names: set[str] = set()
        self.has_role = False
        self.switches = 0
        """How often a grant of the role or its end has begun."""
        self.done: Counter[str] = Counter()
        """The acts that took effect, by the action of their log entries, without sessions."""
        self.opened: set[str] = set()
        self.unknown_logins = 0
        self.ending: set[str] = set()
        """The tokens of sessions whose end has begun."""
        self.ended: dict[str, Session] = {}
        self.registered: dict[str, str] = {}
        """The ids of the accounts that this client made, by their e-mail."""

    # --- the start ---------------------------------------------------------------------------------------------------

    async def arrive(self) -> None:
        self.id = await self.register(self.email)
        self.session = await self.log_in()
        self.admin = await self.as_admin()

    async def register(self, email: str) -> str:
        key = {"Idempotency-Key": f"{email}-{self.dice.random()}"}
        body = {"email": email, "password": PASSWORD, "full_name": email}
        answer, _ = await self.insist("register", "POST", "/api/auth/register", body=body, headers=key)
        if answer.status != 201 or answer.json()["email"] != email:
            self.record.blame(f"the registration of {email} got {answer.status} {answer.body!r}")
            return ""
        self.registered[email] = answer.json()["id"]
        return self.registered[email]

    async def log_in(self) -> Session:
        while True:
            body = {"email": self.email, "password": PASSWORD}
            answer = await self.ask("log in", "POST", "/api/auth/login", body=body)
            if answer is None:
                self.unknown_logins += self.outcome != NO_SERVER
                await asyncio.sleep(0.3)
                continue
            session = self._session(answer, self.id)
            self.opened.add(session.id)
            return session

    async def as_admin(self) -> Session:
        body = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        answer, _ = await self.insist("log in", "POST", "/api/auth/login", body=body)
        return self._session(answer, None)

    def _session(self, answer: Answer, user: str | None) -> Session:
        assert answer.status == 200, (answer, answer.body)
        told = answer.json()
        if user is not None and told["user"]["id"] != user:
            self.record.blame(f"{user} got the tokens of {told['user']['id']}")
        return Session(told["session_id"], told["access_token"], told["refresh_token"], time.monotonic())

    # --- the acts ----------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Act by act until it is enough."""
        acts = [self.read, self.read_user, self.list_users, self.rename, self.switch_role, self.come_and_go]
        weights = [6, 3, 2, 3, 2, 2]
        while not stop.is_set():
            for session in (self.session, self.admin):
                if time.monotonic() - session.since > RENEW_AFTER:
                    await self.renew(session)
            [act] = self.dice.choices([*acts, self.renew_own, self.invite], [*weights, 1, 1])
            await act()
            await asyncio.sleep(self.pace * self.dice.uniform(0.5, 1.5))

    async def read(self) -> None:
        answer, _ = await self.insist("read self", "GET", "/api/users/me", token=self.session.access)
        self._mine(answer, {self.name, *self.names})

    async def read_user(self) -> None:
        """As an administrator, because the own user comes from the session cache of a worker."""
        answer, _ = await self.insist("read user", "GET", f"/api/users/{self.id}", token=self.admin.access)
        self._mine(answer, {self.name})

    def _mine(self, answer: Answer, names: set[str]) -> None:
        told = answer.json() if answer.status == 200 else {}
        if told.get("id") != self.id or told.get("email") != self.email:
            self.record.blame(f"{self.id} got {answer.status} {answer.body!r}")
        elif self.name and told["full_name"] not in names:
            self.record.blame(f"{self.id} is {told['full_name']!r} and should be {self.name!r}")

    async def list_users(self) -> None:
        answer, _ = await self.insist("list users", "GET", "/api/users?limit=50", token=self.admin.access)
        if answer.status != 200:
            self.record.blame(f"the list of users got {answer.status} {answer.body!r}")
            return
        for user in answer.json()["items"]:
            if self.registered.get(user["email"], user["id"]) != user["id"]:
                self.record.blame(f"the list has {user}")

    async def rename(self) -> None:
        """Change the name; if that is unknown, look for the change."""
        wished = f"client {self.number} act {self.done.total()} {self.dice.random()}"
        self.names.add(wished)
        path = f"/api/users/{self.id}"
        answer = await self.ask("rename", "PATCH", path, token=self.session.access, body={"full_name": wished})
        if answer is not None and answer.status == 200 and answer.json()["full_name"] == wished:
            self._took("user.updated", name=wished)
            return
        if answer is not None:
            self.record.blame(f"a change of {self.id} got {answer.status} {answer.body!r}")
        told = await self._look()
        if told["full_name"] == wished:
            self._took("user.updated", name=wished)
        elif told["full_name"] != self.name:
            self.record.blame(f"lost: {self.id} is {told['full_name']!r} and should be {self.name!r}")

    def _took(self, action: str, *, name: str | None = None) -> None:
        self.done[action] += 1
        self.name = self.name if name is None else name

    async def _look(self) -> dict[str, Any]:
        """The own user, after an unknown act. What a killed worker has sent to the database is done by then."""
        await asyncio.sleep(1)
        answer, _ = await self.insist("look", "GET", f"/api/users/{self.id}", token=self.admin.access)
        assert answer.status == 200, (answer, answer.body)
        told: dict[str, Any] = answer.json()
        return told

    async def switch_role(self) -> None:
        """Grant the role, or take it, and use the right at once at every instance."""
        wished = not self.has_role
        self.switches += 1
        method, action, act = (
            ("PUT", "role.assigned", "grant role") if wished else ("DELETE", "role.unassigned", "remove role")
        )
        path = f"/api/users/{self.id}/roles/{ROLE}"
        answer = await self.ask(act, method, path, token=self.admin.access)
        if answer is not None and answer.status == 204:
            self._took(action)
            self.has_role = wished
            allowed = {200} if wished else {403}
            await self._everywhere(f"used after {act}", "/api/users?limit=1", self.session.access, allowed)
            return
        if answer is not None:
            self.record.blame(f"{act} of {self.id} got {answer.status} {answer.body!r}")
        if (ROLE in (await self._look())["roles"]) == wished:
            self._took(action)
            self.has_role = wished

    async def renew_own(self) -> None:
        await self.renew(self.session)

    async def renew(self, session: Session) -> None:
        body = {"refresh_token": session.refresh}
        answer, _ = await self.insist("refresh", "POST", "/api/auth/refresh", body=body)
        if answer.status != 200 or answer.json()["session_id"] != session.id:
            self.record.blame(f"a refresh got {answer.status} {answer.body!r}")
            return
        session.access, session.refresh = answer.json()["access_token"], answer.json()["refresh_token"]
        session.since = time.monotonic()

    async def invite(self) -> None:
        await self.register(f"guest{len(self.registered)}.{self.number}@example.org")

    async def come_and_go(self) -> None:
        """Log in, use the session at every instance, end it, and use it again at once at every instance."""
        session = await self.log_in()
        await self._everywhere("used before the end", "/api/users/me", session.access, {200})
        self.ending.add(session.access)
        if self.dice.random() < 0.5:
            answer, repeated = await self.insist("log out", "POST", "/api/auth/logout", token=session.access)
            good = answer.status == 204 or (repeated and answer.status == 401)
        else:
            path = f"/api/auth/sessions/{session.id}"
            answer, repeated = await self.insist("revoke", "DELETE", path, token=self.admin.access)
            good = answer.status == 204 or (repeated and answer.status == 404)
        if not good:
            self.record.blame(f"the end of a session got {answer.status} {answer.body!r}")
            return
        self.ended[session.id] = session
        await self._everywhere("used after the end", "/api/users/me", session.access, {401})

    async def _everywhere(self, act: str, path: str, token: str, allowed: set[int]) -> None:
        """Use a token at each instance, on several connections. A frozen instance answers later."""
        uses = [
            asyncio.create_task(self._use(instance, url, act, path, token=token, allowed=allowed))
            for instance, url in self.instances.items()
            for _ in range(USES)
        ]
        _, late = await asyncio.wait(uses, timeout=3)
        self.record.later += late

    async def _use(self, instance: str, url: str, act: str, path: str, *, token: str, allowed: set[int]) -> None:
        state = self.switches, token in self.ending
        answer = await self.directly(instance, url, act, "GET", path, token=token)
        if answer is None:
            return
        if "after the end" in act:
            self.record.uses_after_end[f"{instance}: {answer.status}"] += 1
        # While a frozen instance did not answer, the role may have changed again, or the session may have ended.
        changed = state != (self.switches, token in self.ending)
        if answer.status not in allowed and not changed:
            self.record.blame(f"{instance}, {act}: {answer.status} {answer.body!r}, session of {self.id}")

    async def use_ended(self) -> None:
        """Use every ended session whose token has not expired once more."""
        for session in self.ended.values():
            if time.monotonic() - session.since < TOKEN_LASTS:
                await self._everywhere("used after the end", "/api/users/me", session.access, {401})


async def arrived(
    record: Record, balancer: str, instances: Mapping[str, str], *, number: int, seed: int, pace: float
) -> list[Client]:
    """New clients of a new installation, each with an account, and the role that they grant and take."""
    clients = [Client(record, balancer, instances, number=each, seed=seed, pace=pace) for each in range(number)]
    admin = await clients[0].as_admin()
    body = {"name": ROLE, "description": None, "permissions": ["users:read"]}
    answer, _ = await clients[0].insist("create role", "POST", "/api/roles", token=admin.access, body=body)
    assert answer.status == 201, answer.body
    await asyncio.gather(*(client.arrive() for client in clients))
    return clients
