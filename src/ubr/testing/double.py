"""All of ubr in memory, and what a test needs around it."""

from __future__ import annotations

import asyncio
import secrets
import sys
import threading
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from contextvars import Context
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from uuid import UUID

from msgspec import UNSET

from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.sessions.log_in import LogInCommand
from ubr.bootstrap import NO_EXTENSIONS, Extensions
from ubr.domain.actor import SYSTEM, Actor
from ubr.domain.ids import SessionId, UserId
from ubr.testing.memory import MovableClock, delivered, opened_in_memory

if TYPE_CHECKING:
    import httpx

    from ubr.adapters.memory.faults import Failure
    from ubr.application.app import Application
    from ubr.application.kernel.representations import TokensResult
    from ubr.application.ports.mail import Mail

T = TypeVar("T")

_MIN_PASSWORD_LENGTH: Final = 18


@dataclass(frozen=True)
class DoubleUser:
    """A user who exists. The first use of `actor`, `token` or `headers` logs the user in."""

    id: UUID
    email: str
    password: str
    _double: Double = field(repr=False, compare=False)

    def log_in(self) -> TokensResult:
        """The tokens of a new session."""
        return self._double.run(self._log_in)

    async def _log_in(self) -> TokensResult:
        return await self._double.ubr.log_in(LogInCommand(email=self.email, password=self.password))

    @cached_property
    def tokens(self) -> TokensResult:
        """The tokens of one session, which `actor` belongs to."""
        return self.log_in()

    @property
    def actor(self) -> Actor:
        """The user in that session, for use cases."""
        return Actor(UserId(self.id), SessionId(self.tokens.session_id))

    @property
    def token(self) -> str:
        """The access token of that session. It expires as any other when the clock moves."""
        return self.tokens.access_token

    @property
    def headers(self) -> dict[str, str]:
        """The header of a request by this user."""
        return {"Authorization": f"Bearer {self.token}"}


@cache
def _password_of(length: int) -> str:
    """The same for each double, because the estimate of its guesses takes long, and random, because it then takes a
    third of the time for words.
    """
    return secrets.token_urlsafe(length)[:length]


class Double:
    """All of ubr in memory, opened by `with` and independent of every other double.

        with Double(permissions=["notes:edit"]) as double:
            editor = double.a_user(permissions=["notes:edit"])

    `permissions` are those of the program, as in `UBR_PERMISSIONS`; `extensions` and `user_fields` are parts of the
    program, as in `connect`; `settings` are further fields of `Settings`.

    Its own methods are synchronous and do their work in a loop of their own, while the test waits. So they work in
    every kind of test. `ubr` belongs to the event loop of the test's first call of a use case.
    """

    ubr: Application
    """The use cases."""
    clock: MovableClock
    """Stands still until it is moved."""

    def __init__(
        self,
        *,
        permissions: Collection[str] = (),
        extensions: Extensions = NO_EXTENSIONS,
        user_fields: type[Any] | None = None,
        **settings: Any,
    ) -> None:
        self._opening = opened_in_memory(
            extensions=extensions, user_fields=user_fields, permissions=tuple(permissions), **settings
        )
        self._stack = ExitStack()
        self._numbers = count(1)
        self._password = _password_of(max(_MIN_PASSWORD_LENGTH, settings.get("password_min_length", 0)))
        self._turn = threading.Lock()
        self._roles: dict[frozenset[str], str] = {}

    def __enter__(self) -> Self:
        self._thread = self._stack.enter_context(ThreadPoolExecutor(1))
        self._loop = asyncio.new_event_loop()
        self._stack.callback(self._loop.close)
        try:
            self._parts = self._complete(self._opening.__aenter__)
        except BaseException:
            self._stack.close()
            raise
        self.ubr, self.clock = self._parts.ubr, self._parts.clock
        # The opening was its first call.
        self._home = self.ubr.authenticate.authorize.session_cache.home
        self._home.forget()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._stack:
            self.run(lambda: self._opening.__aexit__(None, None, None))

    def a_role(self, *permissions: str, name: str | None = None) -> str:
        """The name of a new role with these permissions. Errors: `Invalid` for an unknown one; `RoleNameTaken`."""
        command = CreateRoleCommand(name=name or f"role{next(self._numbers)}", permissions=list(permissions))

        async def made() -> str:
            return (await self.ubr.create_role(command, actor=SYSTEM)).name

        return self.run(made)

    def a_user(
        self,
        *,
        email: str | None = None,
        password: str | None = None,
        roles: Collection[str] = (),
        permissions: Collection[str] = (),
        fields: dict[str, Any] | None = None,
    ) -> DoubleUser:
        """A new user with these roles, which exist, a further role with these permissions, and these fields.

        Errors: those of `create_user` and `create_role`.
        """
        number = next(self._numbers)
        granted = list(roles)
        if permissions:
            wanted = frozenset(permissions)
            if wanted not in self._roles:
                self._roles[wanted] = self.a_role(*sorted(wanted))
            granted.append(self._roles[wanted])
        email = email or f"user{number}@example.org"
        password = password or self._password
        given = UNSET if fields is None else fields
        command = CreateUserCommand(email=email, password=password, roles=granted, fields=given)

        async def made() -> UUID:
            return (await self.ubr.create_user(command, actor=SYSTEM)).id

        return DoubleUser(self.run(made), email, password, self)

    def an_admin(self, *, fields: dict[str, Any] | None = None) -> DoubleUser:
        """A new administrator."""
        return self.a_user(roles=["admin"], fields=fields)

    def mails(self) -> list[Mail]:
        """The mails sent since the last call, oldest first."""
        return self.run(lambda: delivered(self.ubr))

    def failing(self, failure: Failure, *, times: int | None = None) -> AbstractContextManager[None]:
        """Within the context, units of work fail as with a database that is `unreachable` or `slow`, or in `conflict`.

        With `times`, so many units fail, and the next ones succeed. A use case repeats itself after a conflict, up to
        three times, so `times=1` shows a call that succeeds. Sessions that are in the cache stay there.
        """
        return self._parts.faults.failing(failure, times)

    @cached_property
    def http(self) -> httpx.AsyncClient:
        """A client of the HTTP interface, for asynchronous tests. Needs httpx."""
        from ubr.testing.http import async_client  # noqa: PLC0415 - an optional dependency

        return async_client(self.ubr, self._home)

    @cached_property
    def http_sync(self) -> httpx.Client:
        """A client of the HTTP interface, for tests without a loop. Needs httpx."""
        from ubr.testing.http import sync_client  # noqa: PLC0415 - an optional dependency

        return sync_client(self.ubr, self.run)

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Complete this while the test waits."""
        with self._home.lent():
            return self._complete(work)

    def _complete(self, work: Callable[[], Awaitable[T]]) -> T:
        async def done() -> T:
            return await work()

        def completed() -> T:
            return Context().run(lambda: self._loop.run_until_complete(done()))

        with self._turn:
            return self._thread.submit(completed).result() if _is_loop_running() else completed()


def _is_loop_running() -> bool:
    """True if a loop runs in this thread, which then cannot run another one. With trio loaded, it may be that of trio.

    A change of threads costs as much as a use case in memory.
    """
    return asyncio._get_running_loop() is not None or "trio" in sys.modules  # noqa: SLF001 - without an exception
