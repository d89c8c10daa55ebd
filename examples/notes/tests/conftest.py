"""The service with each framework and each way to have users, over a double of ubr.

The service and its database are made once: that takes longer than a test. The users, and all else of ubr, are new in
each test, so each test sees only its own notes.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from examples.notes import with_fastapi, with_litestar
from examples.notes.store import open_store
from examples.notes.users import Invite, InviteInTransaction, InviteOverHttp, Machine, OverHttp
from ubr import SYSTEM, Actor, CreateMachineCommand, CreateMachineKeyCommand, KeyToCreate, Settings
from ubr.contrib.auth import Auth, Library, TokenGate
from ubr.contrib.fastapi import FastApiAuth
from ubr.contrib.litestar import LitestarAuth
from ubr.testing import Double
from ubr.verifier import Verifier


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def ubr_settings() -> dict[str, Any]:
    return {"permissions": ["notes:edit"]}


class InviteOfTheTest:
    """Invites as the running test does."""

    current: Invite

    async def __call__(self, connection: AsyncConnection, email: str, /) -> Any:
        return await self.current(connection, email)


class Service:
    """The running service, whose users each test replaces."""

    def __init__(self, framework: str) -> None:
        engine = open_store("sqlite+aiosqlite://")
        self.dispose = engine.dispose
        self.invite = InviteOfTheTest()
        self.auth: Auth[Any]
        self.app: Any
        if framework == "fastapi":
            self.auth = fastapi = FastApiAuth[Actor](Library())
            self.app = app = with_fastapi.create_app(fastapi, self.invite, engine)
            self.running = app.router.lifespan_context(app)
        else:
            self.auth = litestar = LitestarAuth[Actor](Library())
            self.app = with_litestar.create_app(litestar, self.invite, engine)
            self.running = self.app.lifespan()


@pytest.fixture(scope="session", params=["fastapi", "litestar"])
async def service(request: pytest.FixtureRequest) -> AsyncGenerator[Service]:
    with Double() as double:
        service = Service(request.param)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(service.dispose)
            stack.enter_context(service.auth.using(double.ubr))
            await stack.enter_async_context(service.running)
            yield service


class ToTheDouble(httpx.AsyncBaseTransport):
    """A way to the double for a client that makes its own requests."""

    def __init__(self, users: httpx.AsyncClient) -> None:
        self._users = users

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._users.send(request)


async def machine_of(double: Double) -> Machine:
    """The account of this service."""
    role = double.a_role("users:read", "users:write", "revocations:read")
    made = await double.ubr.create_machine(CreateMachineCommand(name="notes", roles=[role]), actor=SYSTEM)
    command = CreateMachineKeyCommand(machine_id=made.id, key=KeyToCreate(name="tests"))
    key = await double.ubr.create_machine_key(command, actor=SYSTEM)
    return Machine(double.http, key.client_secret)


@pytest.fixture(params=["library", "http", "verifier"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def notes(service: Service, way: str, ubr_double: Double) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the service, with the users of `ubr_double`."""
    async with AsyncExitStack() as stack:
        gate: Any = ubr_double.ubr
        service.invite.current = InviteInTransaction(service.auth)
        if way != "library":
            machine = await machine_of(ubr_double)
            service.invite.current = InviteOverHttp(ubr_double.http, machine)
            gate = OverHttp(ubr_double.http)
            if way == "verifier":
                verifier = Verifier(
                    "https://ubr.test",
                    machine.token,
                    issuer=Settings.memory().issuer,
                    transport=ToTheDouble(ubr_double.http),
                    clock=ubr_double.clock,
                )
                gate = TokenGate(await stack.enter_async_context(verifier))
        stack.enter_context(service.auth.using(gate))
        transport = httpx.ASGITransport(service.app)
        client = httpx.AsyncClient(transport=transport, base_url="http://notes.test")
        yield await stack.enter_async_context(client)
