"""Code of the host that runs before an act, within its transaction, and after its commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from ubr.application.kernel.command import Command
from ubr.domain.actor import Actor, System
from ubr.domain.errors import Unavailable
from ubr.domain.events import Event

HOOK_TIMEOUT: Final = 5.0
"""Seconds that one hook may take."""

_log: Final = logging.getLogger("ubr.hooks")

C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)
T = TypeVar("T")


class HookedUnit(msgspec.Struct, frozen=True, kw_only=True):
    """The open transaction of an act, for a hook within it."""

    connection: Any
    """An `AsyncConnection` of SQLAlchemy on SQLite, a connection of asyncpg on PostgreSQL, None in memory. Do not
    commit or roll back."""

    actor: Actor | System | None
    """None before a login."""

    now: datetime


BeforeHook: TypeAlias = Callable[[C, Actor | System | None], Awaitable[None]]
WithinHook: TypeAlias = Callable[[E, HookedUnit], Awaitable[None]]
AfterHook: TypeAlias = Callable[[E, Actor | System | None], Awaitable[None]]


class Hooks:
    """The hooks of a host, in the order in which they were added. Each of the methods is a decorator.

    An event is also given to the hooks of its base classes. A hook that runs for more than `HOOK_TIMEOUT` is cancelled.
    """

    def __init__(self) -> None:
        self._before: list[tuple[type[Command], BeforeHook[Any]]] = []
        self._within: list[tuple[type[Event], WithinHook[Any]]] = []
        self._after: list[tuple[type[Event], AfterHook[Any]]] = []

    def before(self, command: type[C]) -> Callable[[BeforeHook[C]], BeforeHook[C]]:
        """Run a function before the acts of a command. An error that it raises is that of the act, which is not done.

        It runs before the check of permissions, outside any transaction, and again if the act is repeated after a
        conflict. The error is a `UbrError` of the host's choice. Errors: `Unavailable` for the act if the hook takes
        too long.
        """

        def added(hook: BeforeHook[C]) -> BeforeHook[C]:
            self._before.append((command, hook))
            return hook

        return added

    def within(self, event: type[E]) -> Callable[[WithinHook[E]], WithinHook[E]]:
        """Run a function in the transaction that an event is recorded in, just before its commit.

        An error that it raises is that of the act, and rolls everything back. Errors: as in `before`.
        """

        def added(hook: WithinHook[E]) -> WithinHook[E]:
            self._within.append((event, hook))
            return hook

        return added

    def after(self, event: type[E]) -> Callable[[AfterHook[E]], AfterHook[E]]:
        """Run a function after the commit of an event, before its caller continues: once at most.

        It does not run if the process ends or the caller is cancelled meanwhile, or if the outcome of the commit is
        unknown. Its errors are logged, and change nothing.
        """

        def added(hook: AfterHook[E]) -> AfterHook[E]:
            self._after.append((event, hook))
            return hook

        return added

    @property
    def commands(self) -> Sequence[type[Command]]:
        """The commands that hooks run before."""
        return [command for command, _ in self._before]

    @property
    def works_within(self) -> bool:
        """True if a hook runs in transactions."""
        return bool(self._within)

    async def run_before(self, command: Command, actor: Actor | System | None) -> None:
        for kind, hook in self._before:
            if isinstance(command, kind):
                await within_limit(hook(command, actor))

    async def run_within(self, events: Sequence[Event], unit: HookedUnit) -> None:
        for event in events:
            for kind, hook in self._within:
                if isinstance(event, kind):
                    await within_limit(hook(event, unit))

    async def run_after(self, events: Sequence[Event], actor: Actor | System | None) -> None:
        for event in events:
            for kind, hook in self._after:
                if isinstance(event, kind):
                    try:
                        await within_limit(hook(event, actor))
                    except Exception:  # noqa: BLE001 - the act has been done
                        _log.exception("A hook after %s failed", event.action)


NO_HOOKS: Final = Hooks()


async def within_limit(call: Awaitable[T]) -> T:
    """The result of code of the host. Errors: `Unavailable` if it takes too long."""
    limit = asyncio.timeout(HOOK_TIMEOUT)
    try:
        async with limit:
            return await call
    except TimeoutError:
        if not limit.expired():
            raise
        raise Unavailable("A check of this service took too long") from None
