"""Fixtures for pytest, discovered automatically where ubr is installed."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ubr.application.app import Application
    from ubr.domain.actor import Actor
    from ubr.testing.memory import MovableClock

# Every run of pytest loads this module, even without any use of ubr, so it imports ubr only on use.


@pytest.fixture
def ubr_clock(_ubr_in_memory: tuple[Application, MovableClock]) -> MovableClock:
    """The clock of the fixture `ubr`."""
    return _ubr_in_memory[1]


@pytest.fixture
def ubr(_ubr_in_memory: tuple[Application, MovableClock]) -> Application:
    """All of ubr, in memory, new for each test."""
    return _ubr_in_memory[0]


@pytest.fixture
async def ubr_admin(ubr: Application) -> Actor:
    """A logged-in administrator."""
    from ubr import SYSTEM, CreateAdminCommand  # noqa: PLC0415
    from ubr.testing import log_in  # noqa: PLC0415

    email, password = "admin@example.org", secrets.token_urlsafe(24)
    await ubr.create_admin(CreateAdminCommand(email=email, password=password), actor=SYSTEM)
    return await log_in(ubr, email, password)


@pytest.fixture
async def _ubr_in_memory() -> AsyncIterator[tuple[Application, MovableClock]]:
    from ubr.testing import in_memory  # noqa: PLC0415

    async with in_memory() as made:
        yield made
