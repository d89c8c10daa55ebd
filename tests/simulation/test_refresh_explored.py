"""Refresh tokens on every schedule of a small scope: three clients that hold one chain, four refreshes, answers that
are lost, requests that come twice or late, workers that crash.

A client keeps to this: it asks again with the same token where no answer came, no request of it arrives later than the
window after the first with that token was sent, and it takes the next token no sooner than that. A patient client is
the only one of its session; its requests arrive once each, and as late as the longer window allows.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Hashable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count
from typing import Any, Final
from uuid import UUID

import pytest

from tests.simulation.explore import Event, Outcome, Shapes, explore
from tests.simulation.loop import SimulatedLoop
from tests.simulation.parts import GatedUnitOfWork, Storage, put_back, rows_of
from ubr.adapters.memory import MemoryStore
from ubr.adapters.memory.rate_limit_store import MemoryRateLimitStore
from ubr.adapters.memory.sessions import MemoryRefreshTokens
from ubr.adapters.memory.store import Drafts
from ubr.adapters.security.refresh_tokens import OpaqueRefreshTokens
from ubr.adapters.security.secrets import SecretKeys
from ubr.adapters.security.system import Uuid7, random_bytes
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.audit.denials import DenialRecorder
from ubr.application.audit.recorder import Recorder
from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.representations import TokensResult
from ubr.application.ports.unit_of_work import Transaction
from ubr.application.protection.rate_limits import Quotas, RateLimiter
from ubr.application.revocation.propagation import PropagatingUnitOfWork
from ubr.application.sessions.log_in import LogInCommand
from ubr.application.sessions.refresh_session import RefreshSession, RefreshSessionCommand, UnusedSuccessor
from ubr.application.sessions.token_issuer import TokenIssuer
from ubr.bootstrap.memory import MemoryContainer
from ubr.domain.actor import Actor, System
from ubr.domain.errors import InvalidToken, StoreUnavailable
from ubr.domain.ids import SessionId, TokenDigest
from ubr.domain.keys.access_token import AccessClaims
from ubr.domain.revocation.changes import Change
from ubr.domain.sessions.session import RETRY_WINDOW, RefreshToken
from ubr.settings import Settings
from ubr.testing import TINY_HASHING

NOW: Final = datetime(2030, 1, 1, tzinfo=UTC)
SETTINGS: Final = Settings.memory(**TINY_HASHING)
WINDOW: Final = RETRY_WINDOW.total_seconds()
TICK: Final = 6.0
"""Two of them are longer than the window, one is not."""
LONGER_WINDOW: Final = 15.0
"""Two ticks are shorter, three are not."""
SECRETS: Final = SecretKeys(SETTINGS.secret_keys)
POLICY: Final = OperatorPolicy(refresh_retry_window=timedelta(seconds=LONGER_WINDOW))

_new_id = Uuid7()


@lru_cache
def start() -> tuple[dict[str, Any], str, SessionId]:
    """The rows of one who is logged in, and their refresh token. Made by the real use cases, once."""

    async def made() -> tuple[dict[str, Any], str, SessionId]:
        container = MemoryContainer(settings=SETTINGS, clock=lambda: NOW)
        ubr = container.application()
        await ubr.initialize()
        await ubr.register_user(
            RegisterUserCommand(email="member@example.org", password="correct horse battery staple")
        )
        tokens = await ubr.log_in(LogInCommand(email="member@example.org", password="correct horse battery staple"))
        return rows_of(container.store()), tokens.refresh_token, SessionId(tokens.session_id)

    return asyncio.run(made())


class PlainAccessTokens:
    """Access tokens that nobody looks at."""

    def issue(self, claims: AccessClaims) -> str:
        return str(claims.session_id)


class KeysAtHand:
    async def current(self) -> None:
        """There is nothing to be read."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    clients: tuple[str, ...]
    """Who refreshes, each as often as it stands here, and from one place where they keep their token."""
    ticks: int
    hasty: bool = False
    """Whether the next token may be taken at once."""
    patient: bool = False
    """Whether requests may arrive as late as the longer window allows."""
    thief: bool = False
    """Whether somebody holds a copy of the first token, and uses it once, at any time."""

    @property
    def latest(self) -> float:
        return LONGER_WINDOW if self.patient else WINDOW


class NoOtherWorker:
    """One worker serves all requests here, so a change is propagated to nobody."""

    async def __call__(self, commit_id: UUID, *, must_propagate: bool) -> None: ...

    async def again(self, change: Change, *, recorded: bool) -> None: ...


class Chain:
    """A session, and all who hold a token of it."""

    def __init__(self, scope: Scope, refresh: type[RefreshSession]) -> None:
        self.scope = scope
        self.loop = SimulatedLoop()
        self.violation: str | None = None
        self.idle = [f"{client}:refresh" for client in scope.clients] + ["thief:replay"] * scope.thief
        rows, self.token, self.session_id = start()
        self.first = self.token
        self.taken_at = -WINDOW - 1
        self.sent_at: dict[str, float] = {}
        """When a token was sent for the first time."""
        self.under_way: list[tuple[str, str]] = []
        """Requests and the tokens that they hold."""
        self.stolen = False
        self.forgotten: set[TokenDigest] = set()
        self.replaced: str | None = None
        """The token of the owner for which the thief got another one."""
        store = MemoryStore()
        put_back(store, rows)
        self.storage = Storage(self.loop, store, Recorder(_new_id, random_bytes), self._now, gates=("commit",))
        self.storage.faults, self.storage.answers_late = True, False
        numbers = count(1)
        self.mint = OpaqueRefreshTokens(SECRETS, lambda size: next(numbers).to_bytes(size, "big"))
        issuer = TokenIssuer(PlainAccessTokens(), _new_id, OperatorPolicy())  # type: ignore[arg-type]
        unit_of_work = PropagatingUnitOfWork(GatedUnitOfWork(self.storage), barrier=NoOtherWorker())  # type: ignore[arg-type]
        self.refresh = refresh(
            unit_of_work=unit_of_work,
            rate_limiter=RateLimiter(MemoryRateLimitStore(self._now), Quotas.off()),
            keys=KeysAtHand(),  # type: ignore[arg-type]
            mint=self.mint,
            issuer=issuer,
            policy=POLICY,
            denials=DenialRecorder(unit_of_work, self._now),
        )
        self._served = 0

    def _now(self) -> datetime:
        return NOW + timedelta(seconds=min(self.loop.time(), 10.0**6))

    @property
    def ended(self) -> bool:
        return self.storage.store.sessions[self.session_id].ended_at is not None

    def _row(self, token: str) -> RefreshToken | None:
        return self.storage.store.refresh_tokens.get(self.mint.digest(token))

    def _spent(self, token: str) -> bool:
        row = self._row(token)
        return row is None or row.spent_at is not None

    def _tidy(self) -> None:
        """The step of the janitor. Tokens that are locked wait for the next one."""
        if self.storage.writer is None:
            drafts = Drafts(self.storage.store)
            before = self._now() - POLICY.refresh_retry_window - RETRY_WINDOW
            with suppress(StopIteration):
                MemoryRefreshTokens(drafts).forget_successors(before, 100).send(None)
            self.forgotten |= {token.digest for token in self.storage.store.refresh_tokens.values()}
            drafts.apply()
            self.forgotten -= set(self.storage.store.refresh_tokens)

    # --- who asks ----------------------------------------------------------------------------------------------------

    async def _client(self, name: str) -> None:
        """Exchange the token that lies where all clients keep it, however often that takes."""
        token = self.token
        self.sent_at.setdefault(token, self.loop.time())
        while True:
            answer: asyncio.Future[str | None] = self.loop.create_future()
            self._send(name, token, answer)
            successor = await answer
            if successor is not None:
                # What one client wrote stays where another comes later with what it was told of an older token.
                if self.token == token:
                    self.token, self.taken_at = successor, self.loop.time()
                return

    def _send(self, name: str, token: str, answer: asyncio.Future[str | None]) -> None:
        self._served += 1
        request = f"{name}:request{self._served}"
        self.under_way.append((request, token))
        self.loop.spawn(request, self._serve(request, token, answer))

    async def _serve(self, request: str, token: str, answer: asyncio.Future[str | None]) -> None:
        """One request on its way, in a worker, and its answer on its way back."""
        try:
            fault = await self.loop.gate("arrives", *(() if self.scope.patient else ("twice",)))
            if fault == "twice":
                self._send(request.partition(":")[0], token, self.loop.create_future())
            successor: str | None = None
            ended = self.ended
            try:
                successor = (await self.refresh(RefreshSessionCommand(refresh_token=token))).refresh_token
                if ended:
                    self.violation = f"{request} revived an ended session"
                if token == self.replaced:
                    self.violation = f"{request} was answered, though a thief had replaced its token"
            except StoreUnavailable:
                pass
            except InvalidToken:
                if not self.stolen:
                    self.violation = f"{request} of an honest client was refused"
                if token == self.replaced and not self.ended:
                    self.violation = f"{request} showed that there is a thief, and the session goes on"
                return
            lost = await self.loop.gate("is answered", "lost")
            if not answer.done():
                answer.set_result(None if lost else successor)
        except StoreUnavailable:
            answer.cancel()
        finally:
            self.under_way.remove((request, token))

    async def _replay(self) -> None:
        """Use the copy of the first token."""
        row = self._row(self.first)
        spent_at = NOW if row is None else row.spent_at
        late = spent_at is not None and self._now() - spent_at > POLICY.refresh_retry_window
        owned = None if row is None or row.successor is None else self.mint.unseal(row.successor, self.first)
        used = owned is not None and self._spent(owned)
        self.stolen = True
        try:
            taken = (await self.refresh(RefreshSessionCommand(refresh_token=self.first))).refresh_token
        except InvalidToken:
            if not self.ended:
                self.violation = "a replay was refused and the session goes on"
        except StoreUnavailable:
            return
        else:
            if late:
                self.violation = "a replay after the window was answered"
            if used:
                self.violation = "a replay after the successor was used was answered"
            if owned not in {None, taken}:
                self.replaced = owned

    # --- what can happen ---------------------------------------------------------------------------------------------

    def events(self) -> list[Event]:
        gates = self.loop.open_gates()
        found = [Event(f"{gate.thread} {gate.label}", gate.thread) for gate in gates]
        found += [
            Event(f"{gate.thread} {gate.label} {fault}", gate.thread, fault=True)
            for gate in gates
            for fault in gate.faults
        ]
        # The clients are alike: it is always the first of those at rest that begins.
        able = sorted(filter(self._may_begin, self.idle), key="thief:replay".__eq__)
        found += [Event(f"{name} begins", name) for at, name in enumerate(able) if at == 0 or name == "thief:replay"]
        passed = self.loop.time() + TICK
        in_time = all(passed - self.sent_at.get(token, passed) <= self.scope.latest for _, token in self.under_way)
        if passed <= self.scope.ticks * TICK and (in_time or self.stolen):
            found.append(Event("time passes"))
        return found

    def _may_begin(self, name: str) -> bool:
        if name == "thief:replay":
            return True
        now = self.loop.time()
        if any(request.startswith(name.partition(":")[0] + ":") for request, _ in self.under_way):
            return False
        if self.token in self.sent_at:  # others have begun with it
            return now - self.sent_at[self.token] <= WINDOW - TICK or self.stolen
        return self.scope.hasty or now - self.taken_at > WINDOW

    def perform(self, event: Event) -> None:
        with self.loop.running():
            match event.name.split():
                case ["time", "passes"]:
                    self.loop.advance(self.loop.time() + TICK)
                    self._tidy()
                case [name, "begins"]:
                    self.idle.remove(name)
                    self.loop.spawn(name, self._act(name))
                    self.loop.run_ready()
                case _:
                    for gate in self.loop.open_gates():
                        if event.name.startswith(f"{gate.thread} {gate.label}"):
                            self.loop.open(gate, event.name.removeprefix(f"{gate.thread} {gate.label}").strip())
                            break
        if self.loop.troubles and self.violation is None:
            self.violation = self.loop.troubles[0]

    def _act(self, name: str) -> Coroutine[Any, Any, None]:
        return self._replay() if name == "thief:replay" else self._client(name.partition(":")[0])

    def state(self) -> Hashable:
        shapes = ChainShapes(self.loop.time(), LONGER_WINDOW + TICK, self)
        store = self.storage.store
        return (
            self.loop.time(),
            len(self.idle),
            "thief:replay" in self.idle,
            self.ended,
            self.stolen,
            self.storage.writer is None,
            shapes.of(self.token),
            shapes.of(self.taken_at),
            tuple(sorted([shapes.moment(self.sent_at[token]) for _, token in self.under_way])),
            shapes.of(self.sent_at.get(self.token)),
            shapes.of(self.replaced),
            len(self.forgotten),
            tuple((row.issued_at, row.spent_at, row.successor is None) for row in store.refresh_tokens.values()),
            # Clients are alike, so it does not matter which of them is where.
            frozenset(Counter([shapes.of(task) for task in self.loop.tasks]).items()),
        )

    def finish(self) -> None:
        with self.loop.running():
            self.loop.finish()


class ChainShapes(Shapes):
    """A token is its place in the chain."""

    def __init__(self, now: float, old: float, chain: Chain) -> None:
        super().__init__(now, old)
        self._places = {digest: at for at, digest in enumerate(chain.storage.store.refresh_tokens)}
        self._places |= dict.fromkeys(chain.forgotten, -2)
        self._digest = chain.mint.digest
        self._clients = chain.scope.clients

    def of(self, value: object) -> Hashable:
        if isinstance(value, str):
            if value.startswith("ubr_rt_"):
                return self._places.get(self._digest(value), -1)
            return "client" if value.partition(":")[0] in self._clients else value
        if isinstance(value, bytes):
            return self._places.get(TokenDigest(value), -1)
        if isinstance(value, RefreshToken):
            return (self._places.get(value.digest, -1), value.spent_at)
        return super().of(value)


def explored(
    scope: Scope, refresh: type[RefreshSession] = RefreshSession, *, interruptions: int, faults: int
) -> Outcome:
    start()
    outcome = explore(lambda: Chain(scope, refresh), interruptions=interruptions, faults=faults)
    print(f"{interruptions} interruptions, {faults} faults: {outcome}")  # noqa: T201 - how much was seen counts
    return outcome


@dataclass(frozen=True, kw_only=True)
class Case:
    scope: Scope
    interruptions: int = 0
    faults: int = 0


FOUR: Final = ("one", "two", "three", "one")
THREE: Final = ("one", "two", "three")
HONEST: Final = {
    "four refreshes": Case(scope=Scope(clients=FOUR, ticks=7)),
    "three at once, a fault": Case(scope=Scope(clients=THREE, ticks=3), faults=1),
    "one that waits, two faults": Case(scope=Scope(clients=("one", "one"), ticks=6, patient=True), faults=2),
}
HONEST_LONG: Final = {
    "four refreshes, a fault": Case(scope=Scope(clients=FOUR, ticks=7), faults=1),
    "three at once, interrupted, a fault": Case(scope=Scope(clients=THREE, ticks=3), interruptions=1, faults=1),
}
ROBBED: Final = {
    "two refreshes": Case(scope=Scope(clients=("one", "two"), ticks=4, thief=True)),
    "two refreshes of one": Case(scope=Scope(clients=("one", "one"), ticks=4, thief=True), faults=1),
    "a forgotten token": Case(scope=Scope(clients=("one", "one"), ticks=7, thief=True)),
}
ROBBED_LONG: Final = {
    "four refreshes": Case(scope=Scope(clients=FOUR, ticks=7, thief=True)),
    "two refreshes, interrupted, a fault": Case(
        scope=Scope(clients=("one", "two"), ticks=4, thief=True), interruptions=1, faults=1
    ),
}


def holds(case: Case) -> None:
    outcome = explored(case.scope, interruptions=case.interruptions, faults=case.faults)
    assert outcome.violation is None, str(outcome)


@pytest.mark.parametrize("case", HONEST)
def test_no_honest_client_is_signed_out(case: str) -> None:
    holds(HONEST[case])


@pytest.mark.long
@pytest.mark.parametrize("case", HONEST_LONG)
def test_no_honest_client_is_signed_out_on_more_schedules(case: str) -> None:
    holds(HONEST_LONG[case])


@pytest.mark.parametrize("case", ROBBED)
def test_every_replay_after_the_window_ends_the_session_for_good(case: str) -> None:
    holds(ROBBED[case])


@pytest.mark.long
@pytest.mark.parametrize("case", ROBBED_LONG)
def test_every_replay_after_the_window_ends_the_session_for_good_on_more_schedules(case: str) -> None:
    holds(ROBBED_LONG[case])


def test_a_client_that_refreshes_again_within_the_window_may_sign_out_one_whose_request_is_late() -> None:
    """The rule about older generations knows no difference between a late request and a copy."""
    outcome = explored(Scope(clients=("one", "two", "one"), ticks=1, hasty=True), interruptions=0, faults=0)
    assert outcome.violation is not None
    assert outcome.violation.endswith("of an honest client was refused")


class NoWindow(RefreshSession, frozen=True):
    """Whoever comes second is taken for a thief, however soon."""

    async def _again(self, digest: TokenDigest, secret: str, actor: Actor | System | None) -> TokensResult:
        raise InvalidToken


def test_a_planted_bug_is_found() -> None:
    case = HONEST["three at once, a fault"]
    found = explored(case.scope, NoWindow, interruptions=0, faults=1)
    assert found.violation is not None
    assert found.violation.endswith("of an honest client was refused")


def test_a_window_that_never_closes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ubr.application.sessions.refresh_session.RETRY_WINDOW", timedelta(days=1))
    found = explored(ROBBED["two refreshes"].scope, interruptions=0, faults=0)
    assert found.violation == "a replay after the window was answered"


class NoLongerWindow(RefreshSession, frozen=True):
    async def _replace(self, digest: TokenDigest, secret: str, actor: Actor | System | None) -> TokensResult | None:
        return None


class LongerWindowForEver(RefreshSession, frozen=True):
    async def _again(self, digest: TokenDigest, secret: str, actor: Actor | System | None) -> TokensResult:
        return await self._replace(digest, secret, actor) or await super()._again(digest, secret, actor)


class TwoSuccessors(RefreshSession, frozen=True):
    """The successor that is replaced stays good."""

    async def _replace(self, digest: TokenDigest, secret: str, actor: Actor | System | None) -> TokensResult | None:
        async with self.unit_of_work.begin(actor) as tx:
            spent = await tx.refresh_tokens.get(digest)
            assert spent is not None
            successor = self.mint.mint(spent.session_id)
            await tx.refresh_tokens.reseal(digest, successor=self.mint.seal(successor.secret, secret))
            return await self._exchange(tx, spent.session_id, successor)


class UsedSuccessorsToo(RefreshSession, frozen=True):
    """A successor that was used is replaced like one that was not."""

    async def _unused_successor(self, tx: Transaction, spent: RefreshToken, secret: str) -> UnusedSuccessor | None:
        if spent.successor is None:
            return None
        successor = self.mint.unseal(spent.successor, secret)
        token = await tx.refresh_tokens.get(self.mint.digest(successor))
        return None if token is None else UnusedSuccessor(successor, token)


class ForgivenOwner(RefreshSession, frozen=True):
    """A replaced token is refused, and its session goes on."""

    async def _again(self, digest: TokenDigest, secret: str, actor: Actor | System | None) -> TokensResult:
        async with self.unit_of_work.read() as tx:
            spent = await tx.refresh_tokens.get(digest)
        if spent is not None and spent.spent_at is not None and spent.successor is None:
            raise InvalidToken
        return await super()._again(digest, secret, actor)


class ForgottenThieves(RefreshSession, frozen=True):
    """A token that was spent and forgotten is a guess."""

    async def _named_session(self, tx: Transaction, secret: str) -> SessionId:
        raise InvalidToken


@pytest.mark.parametrize(
    ("bug", "case", "violation"),
    [
        (NoLongerWindow, HONEST["one that waits, two faults"], "of an honest client was refused"),
        (LongerWindowForEver, ROBBED["two refreshes"], "a replay after the window was answered"),
        (TwoSuccessors, ROBBED["two refreshes"], "was answered, though a thief had replaced its token"),
        (UsedSuccessorsToo, ROBBED["two refreshes"], "a replay after the successor was used was answered"),
        (ForgottenThieves, ROBBED["a forgotten token"], "a replay was refused and the session goes on"),
        (ForgivenOwner, ROBBED["two refreshes"], "showed that there is a thief, and the session goes on"),
    ],
)
def test_a_bug_in_the_longer_window_is_found(bug: type[RefreshSession], case: Case, violation: str) -> None:
    found = explored(case.scope, bug, interruptions=case.interruptions, faults=case.faults)
    assert found.violation is not None
    assert found.violation.endswith(violation), str(found)
