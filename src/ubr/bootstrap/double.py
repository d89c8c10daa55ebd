"""An application in memory for tests: cheap hashing, a clock of the test, and a store that fails on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from ubr.adapters.security.password_strength import is_guessable
from ubr.bootstrap.environment import open_environment
from ubr.bootstrap.extensions import NO_EXTENSIONS, Extensions

if TYPE_CHECKING:
    from ubr.adapters.memory.faults import StoreFaults
    from ubr.application.app import Application
    from ubr.application.ports.system import Clock
    from ubr.bootstrap.ports import Ports
    from ubr.settings import Settings

TINY_HASHING: Final[dict[str, Any]] = {"argon2_memory_kib": 8, "argon2_time": 1, "argon2_parallelism": 1}
"""The minimum that Argon2 accepts. Only for tests: `Settings.from_env` refuses it."""

_is_guessable: Final = lru_cache(maxsize=256)(is_guessable)
"""Only for tests: they use few passwords, again and again, and an estimate takes longer than all else in a use case."""


@asynccontextmanager
async def open_double(
    settings: Settings,
    *,
    clock: Clock,
    faults: StoreFaults,
    extensions: Extensions = NO_EXTENSIONS,
    user_fields: type[Any] | None = None,
) -> AsyncIterator[Application]:
    """A new application in memory, whose store has these faults. `settings` are those of the memory environment."""
    from ubr.adapters.memory.faults import FaultyStore, FaultyUnitOfWork  # noqa: PLC0415 - with the first double

    def faulty(ports: Ports) -> Ports:
        return replace(
            ports,
            security=replace(ports.security, is_guessable=_is_guessable),
            store=FaultyStore(ports.store, faults),
            unit_of_work=FaultyUnitOfWork(ports.unit_of_work, faults),
            background_unit_of_work=FaultyUnitOfWork(ports.background_unit_of_work, faults),
        )

    opening = open_environment(settings, clock=clock, extensions=extensions, user_fields=user_fields, instrument=faulty)
    async with opening as environment:
        yield environment.application
