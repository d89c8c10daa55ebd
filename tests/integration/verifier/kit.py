"""A service beside ubr: ubr in this process, a way to it that can be cut, and a verifier that follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import httpx

from tests.integration.http.kit import PASSWORD, Service
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.app import Application
from ubr.application.machines.create_machine import CreateMachineCommand
from ubr.application.machines.create_machine_key import CreateMachineKeyCommand, KeyToCreate
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import UbrError
from ubr.settings import Settings
from ubr.verifier import Access, Credentials, NotFresh, Refused, ServiceKey, Verifier

FOLLOWER = "notes@example.org"
ISSUER = Settings.memory().issuer


class Ticks:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Way(httpx.AsyncBaseTransport):
    """The way to ubr."""

    service: Service
    open: asyncio.Event = field(default_factory=asyncio.Event)
    down: bool = False
    asked: list[str] = field(default_factory=list)
    answers: dict[str, httpx.Response] = field(default_factory=dict)
    """What is answered in the place of ubr, by path."""

    def __post_init__(self) -> None:
        self.open.set()
        assert self.service.edge is not None
        self._inner = httpx.ASGITransport(self.service.edge, raise_app_exceptions=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.path}")
        await self.open.wait()
        if self.down:
            raise httpx.ConnectError("refused")
        if (answer := self.answers.get(request.url.path)) is not None:
            return answer
        return await self._inner.handle_async_request(request)

    def count(self, path: str) -> int:
        return sum(asked.endswith(path) for asked in self.asked)


@dataclass
class Beside:
    """All that a test here works with."""

    service: Service
    way: Way
    ticks: Ticks
    verifier: Verifier

    @property
    def ubr(self) -> Application:
        assert self.service.ubr is not None
        return self.service.ubr

    async def signed_in(self, email: str = "reader@example.org") -> dict[str, Any]:
        """A user who is logged in, made where there is none."""
        try:
            return await self.service.logged_in(email)
        except AssertionError:
            await self.service.register(email)
            return await self.service.logged_in(email)

    def be_quick(self) -> None:
        """From here on the verifier is asked what it cannot know: it need not wait long for that."""
        self.verifier._patience = 0.3  # noqa: SLF001 - what was needed before has to survive a busy machine

    async def accepts(self, tokens: dict[str, Any]) -> bool:
        try:
            await self.verifier.verify(tokens["access_token"])
        except Refused:
            return False
        return True

    async def refuses(self, tokens: dict[str, Any]) -> bool:
        return not await self.accepts(tokens)

    async def answers(self, tokens: dict[str, Any]) -> bool:
        """Whether it knows enough to accept a token that is good."""
        try:
            assert await self.accepts(tokens)
        except NotFresh:
            return False
        return True


async def make_follower(ubr: Application) -> Credentials:
    """A user for a service, which may follow what ends and nothing else."""
    try:
        await ubr.create_role(CreateRoleCommand(name="follower", permissions=["revocations:read"]), actor=SYSTEM)
        command = CreateUserCommand(email=FOLLOWER, password=PASSWORD, roles=["follower"])
        await ubr.create_user(command, actor=SYSTEM)
    except UbrError:
        return Credentials(FOLLOWER, PASSWORD)
    return Credentials(FOLLOWER, PASSWORD)


async def make_machine(ubr: Application, *permissions: str) -> tuple[UUID, ServiceKey]:
    """A machine for a service with a role of these permissions, and a key of it."""
    await ubr.create_role(CreateRoleCommand(name="service", permissions=list(permissions)), actor=SYSTEM)
    machine = await ubr.create_machine(CreateMachineCommand(name="notes", roles=["service"]), actor=SYSTEM)
    command = CreateMachineKeyCommand(machine_id=machine.id, key=KeyToCreate(name="production"))
    return machine.id, ServiceKey((await ubr.create_machine_key(command, actor=SYSTEM)).client_secret)


def make_verifier(service: Service, way: Way, access: Access | ServiceKey | Credentials, **options: Any) -> Verifier:
    clock = cast("Any", service.clock)
    usual = {"issuer": ISSUER, "patience": 2.0, "wait": 0.05, "transport": way, "clock": clock, "plain_http": True}
    return Verifier("http://ubr.test", access, **{**usual, **options})


@asynccontextmanager
async def running_beside(service: Service, **options: Any) -> AsyncIterator[Beside]:
    assert service.ubr is not None
    access = options.pop("access", None) or await make_follower(service.ubr)
    ticks = Ticks()
    way = Way(service)
    async with make_verifier(service, way, access, **{"elapsed": ticks, **options}) as verifier:
        yield Beside(service, way, ticks, verifier)


async def until(satisfied: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that is about to happen by itself."""
    async with asyncio.timeout(10):
        while not await satisfied():  # noqa: ASYNC110 - it is looked at from outside
            await asyncio.sleep(0.01)


async def grant(ubr: Application, user_id: Any, role: str) -> None:
    await ubr.assign_role(AssignRoleCommand(user_id=user_id, role=role), actor=SYSTEM)
