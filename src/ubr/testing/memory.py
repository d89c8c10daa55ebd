"""The in-memory environment with minimal hashing costs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ubr.adapters.memory.faults import FaultyStore, FaultyUnitOfWork, StoreFaults
from ubr.adapters.memory.mail import MemoryMailer
from ubr.application.app import Application
from ubr.application.ports.mail import Mail
from ubr.application.sessions.log_in import LogInCommand
from ubr.bootstrap import connect, open_environment
from ubr.bootstrap.ports import Ports
from ubr.domain.actor import SYSTEM, Actor
from ubr.settings import Settings

_START: Final = datetime(2030, 1, 1, tzinfo=UTC)

TINY_HASHING: Final[dict[str, Any]] = {"argon2_memory_kib": 8, "argon2_time": 1, "argon2_parallelism": 1}
"""The minimum that Argon2 accepts. Only for tests: `Settings.from_env` refuses it."""


class MovableClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = _START) -> None:
        self._now = now

    def __call__(self) -> datetime:
        return self._now

    def move(self, **by: float) -> None:
        """Move the clock by `days`, `hours`, `minutes`, `seconds` …, as in `timedelta`."""
        self._now += timedelta(**by)


@dataclass(frozen=True, slots=True)
class InMemory:
    """An application in memory, its clock, and the switch that makes its store fail."""

    ubr: Application
    clock: MovableClock
    faults: StoreFaults


@asynccontextmanager
async def opened_in_memory(**settings: Any) -> AsyncIterator[InMemory]:
    """A new application, with its parts. `settings` are fields of `Settings`."""
    clock, faults = MovableClock(), StoreFaults()

    def faulty(ports: Ports) -> Ports:
        return replace(
            ports,
            store=FaultyStore(ports.store, faults),
            unit_of_work=FaultyUnitOfWork(ports.unit_of_work, faults),
            background_unit_of_work=FaultyUnitOfWork(ports.background_unit_of_work, faults),
        )

    opening = open_environment(Settings.memory(**{**TINY_HASHING, **settings}), clock=clock, instrument=faulty)
    async with opening as environment:
        yield InMemory(environment.application, clock, faults)


@asynccontextmanager
async def in_memory(**settings: Any) -> AsyncIterator[tuple[Application, MovableClock]]:
    """A new application, and its clock. `settings` are fields of `Settings`."""
    clock = MovableClock()
    async with connect(Settings.memory(**{**TINY_HASHING, **settings}), clock=clock) as ubr:
        yield ubr, clock


async def delivered(ubr: Application) -> list[Mail]:
    """Deliver the queued mails. Returns those since the last call, oldest first.

    For an application in memory, where no background job delivers mails.
    """
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
