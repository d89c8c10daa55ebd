"""The emulator as an ASGI application: the HTTP interface over memory, and calls that control it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec

from ubr.adapters.memory.faults import Failure, StoreFaults
from ubr.adapters.memory.mail import MemoryMailer
from ubr.adapters.security.system import utc_now
from ubr.application.app import Application
from ubr.application.kernel.origin import calling_from
from ubr.application.ports.mail import Mail
from ubr.bootstrap.double import open_double
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import Invalid, NotFound, UbrError
from ubr.entrypoints.emulator.guard import Guard
from ubr.entrypoints.emulator.state import State, WrongState, fill, parse_state
from ubr.entrypoints.http.app import HttpOptions, create_app
from ubr.entrypoints.http.edge import Edge
from ubr.entrypoints.http.fields import Fields, fields_of
from ubr.entrypoints.http.log_lines import EVENTS
from ubr.entrypoints.http.origin import request_origin
from ubr.entrypoints.http.problems.errors import MethodNotAllowed
from ubr.entrypoints.http.problems.rendering import problem_response
from ubr.entrypoints.http.response import Response
from ubr.settings import Settings

CONTROL: Final = "/_emulator"
HEADER: Final = (b"ubr-emulator", b"in memory, for tests only")
_MAX_BODY: Final = 16 * 1024 * 1024


class _Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seconds: Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class _Failing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    failure: Failure
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None


class EmulatorClock:
    """The time of the machine, moved forward on request: clients compare it with the times in tokens."""

    def __init__(self) -> None:
        self._moved = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self._moved

    def move(self, seconds: float) -> None:
        self._moved += timedelta(seconds=seconds)


class _Generation:
    """The application between two resets. It closes when its last request is answered."""

    def __init__(self, ubr: Application, edge: Edge, clock: EmulatorClock, faults: StoreFaults) -> None:
        self.ubr = ubr
        self.edge = edge
        self.clock = clock
        self.faults = faults
        self.mails: list[Mail] = []
        self.stack = AsyncExitStack()
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        self._running += 1
        self._idle.clear()
        try:
            await self.edge(scope, receive, send)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def close(self) -> None:
        await self._idle.wait()
        await self.stack.aclose()

    async def read_mails(self) -> list[Mail]:
        """Every mail since the reset, oldest first."""
        await self.ubr.deliver_mail(actor=SYSTEM)
        mailer = self.ubr.deliver_mail.mailer
        assert isinstance(mailer, MemoryMailer), "an application in memory keeps its mails"  # noqa: S101
        self.mails += mailer.sent
        mailer.sent = []
        return self.mails


class Emulator:
    """`settings` are those of the memory environment. `state` is the state after the start and after a reset.

    It answers for this machine, for IP addresses, and for the host `names`.
    """

    def __init__(self, settings: Settings, state: State, *, names: Iterable[str] = ()) -> None:
        self._settings = settings
        self._guard = Guard(names)
        self._initial = state
        self._now: _Generation | None = None
        self._resetting = asyncio.Lock()
        self._controls: dict[tuple[str, str], Callable[[_Generation, bytes], Awaitable[Response]]] = {
            ("POST", "/reset"): self._reset,
            ("GET", "/clock"): self._show_clock,
            ("POST", "/clock"): self._move_clock,
            ("GET", "/mails"): self._show_mails,
            ("PUT", "/failure"): self._fail,
            ("DELETE", "/failure"): self._recover,
        }

    async def start(self) -> None:
        """Errors: `WrongState`."""
        self._now = await self._open(self._initial)

    async def stop(self) -> None:
        if self._now is not None:
            await self._now.close()
            self._now = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = str(scope["type"])
        if kind == "lifespan" or self._now is None:
            return

        async def marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], HEADER]}
            await send(message)

        if kind != "http":
            await self._now.answer(scope, receive, marked)
            return
        fields = fields_of(scope["headers"])
        controls = f"{scope['path']}/".startswith(f"{CONTROL}/")
        refused = self._refused(fields, controls=controls)
        if refused is None and not controls:
            await self._now.answer(scope, receive, marked)
            return
        origin = request_origin(None, fields, ())
        with calling_from(origin):
            if refused is None:
                response = await self._control(self._now, scope, receive)
            else:
                response = problem_response(refused, scope["path"])
        response.headers["x-request-id"] = origin.request_id or ""
        await response.send(marked)

    def _refused(self, fields: Fields, *, controls: bool) -> UbrError | None:
        """The error of a request that a page of another site may have sent; None for all others."""
        try:
            self._guard.check_host(fields)
            if controls:
                self._guard.check_origin(fields)
        except UbrError as error:
            return error
        return None

    async def _control(self, now: _Generation, scope: Any, receive: Any) -> Response:
        path = scope["path"].removeprefix(CONTROL)
        try:
            control = self._controls.get((scope["method"], path))
            if control is not None:
                return await control(now, await _body(receive))
            if allowed := [method for method, known in self._controls if known == path]:
                return problem_response(MethodNotAllowed(), scope["path"], {"allow": ", ".join(allowed)})
            raise NotFound("This path does not exist")
        except UbrError as error:
            return problem_response(error, scope["path"])

    async def _open(self, state: State) -> _Generation:
        settings = self._settings
        permissions = tuple(dict.fromkeys((*settings.permissions, *state.permissions)))
        clock, faults = EmulatorClock(), StoreFaults()
        opening = open_double(replace(settings, permissions=permissions), clock=clock, faults=faults)
        async with AsyncExitStack() as stack:
            ubr = await stack.enter_async_context(opening)
            await fill(ubr, state)
            # No proxy is in front of it.
            options = msgspec.structs.replace(HttpOptions.of(settings), trusted_proxies=())
            made = _Generation(ubr, create_app(ubr, options=options), clock, faults)
            made.stack = stack.pop_all()
        return made

    async def _reset(self, _: _Generation, body: bytes) -> Response:
        """The initial state again, or the one in the body."""
        async with self._resetting:
            try:
                new = await self._open(parse_state(body) if body else self._initial)
            except WrongState as error:
                raise Invalid(str(error)) from None
            before, self._now = self._now, new
        if before is not None:
            await before.close()
        EVENTS.info("reset")
        return Response(status=HTTPStatus.NO_CONTENT)

    async def _show_clock(self, now: _Generation, _: bytes) -> Response:
        return _json({"now": now.clock()})

    async def _move_clock(self, now: _Generation, body: bytes) -> Response:
        now.clock.move(_decode(body, _Move).seconds)
        return _json({"now": now.clock()})

    async def _show_mails(self, now: _Generation, _: bytes) -> Response:
        fields = ("to", "subject", "text", "html")
        return _json({"items": [{name: getattr(mail, name) for name in fields} for mail in await now.read_mails()]})

    async def _fail(self, now: _Generation, body: bytes) -> Response:
        wanted = _decode(body, _Failing)
        now.faults.begin(wanted.failure, wanted.times)
        return Response(status=HTTPStatus.NO_CONTENT)

    async def _recover(self, now: _Generation, _: bytes) -> Response:
        now.faults.end()
        return Response(status=HTTPStatus.NO_CONTENT)


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), status=HTTPStatus.OK)


def _decode(body: bytes, kind: Any) -> Any:
    """Errors: `Invalid`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{error}") from None


async def _body(receive: Any) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Invalid("The body is incomplete")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > _MAX_BODY:
            raise Invalid("The body is too large")
        if not message.get("more_body"):
            return b"".join(parts)
