"""The in-memory environment with minimal hashing costs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ubr.application.sessions.log_in import LogInCommand
from ubr.bootstrap import NO_EXTENSIONS, Extensions, connect
from ubr.bootstrap.double import TINY_HASHING, open_double
from ubr.domain.actor import SYSTEM, Actor
from ubr.settings import Settings

if TYPE_CHECKING:
    from ubr.adapters.memory.faults import StoreFaults
    from ubr.application.app import Application
    from ubr.application.ports.mail import Mail

# The application is loaded with the first one that is opened, as by `connect`.
# ruff: noqa: PLC0415

__all__ = ["TINY_HASHING", "InMemory", "MovableClock", "delivered", "in_memory", "log_in", "opened_in_memory"]

_START: Final = datetime(2030, 1, 1, tzinfo=UTC)


class MovableClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = _START) -> None:
        self._now = now

    def __call__(self) -> datetime:
        return self._now

    def move(self, **by: float) -> None:
        """Move the clock by `days`, `hours`, `minutes`, `seconds` …, as in `timedelta`."""
        self._now += timedelta(**by)


class InMemory(msgspec.Struct, frozen=True):
    """An application in memory, its clock, and the switch that makes its store fail."""

    ubr: Application
    clock: MovableClock
    faults: StoreFaults


@asynccontextmanager
async def opened_in_memory(
    *, extensions: Extensions = NO_EXTENSIONS, user_fields: type[Any] | None = None, **settings: Any
) -> AsyncIterator[InMemory]:
    """A new application, with its parts. `settings` are fields of `Settings`."""
    from ubr.adapters.memory.faults import StoreFaults

    clock, faults = MovableClock(), StoreFaults()
    given = Settings.memory(**{**TINY_HASHING, **settings})
    async with open_double(given, clock=clock, faults=faults, extensions=extensions, user_fields=user_fields) as ubr:
        yield InMemory(ubr, clock, faults)


@asynccontextmanager
async def in_memory(
    *, extensions: Extensions = NO_EXTENSIONS, user_fields: type[Any] | None = None, **settings: Any
) -> AsyncIterator[tuple[Application, MovableClock]]:
    """A new application, and its clock. `settings` are fields of `Settings`."""
    clock = MovableClock()
    given = Settings.memory(**{**TINY_HASHING, **settings})
    async with connect(given, clock=clock, extensions=extensions, user_fields=user_fields) as ubr:
        yield ubr, clock


async def delivered(ubr: Application) -> list[Mail]:
    """Deliver the queued mails. Returns those since the last call, oldest first.

    For an application in memory, where no background job delivers mails.
    """
    from ubr.adapters.memory.mail import MemoryMailer

    await ubr.deliver_mail(actor=SYSTEM)
    mailer = ubr.deliver_mail.mailer
    if not isinstance(mailer, MemoryMailer):
        raise TypeError("Only an application in memory keeps its mails")
    mails, mailer.sent = mailer.sent, []
    return mails


async def log_in(ubr: Application, email: str, password: str) -> Actor:
    """Log a user in and return the actor."""
    tokens = await ubr.log_in(LogInCommand(email=email, password=password))
    return await ubr.authenticate(tokens.access_token)
