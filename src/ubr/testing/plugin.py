"""Fixtures for pytest, discovered automatically where ubr is installed.

All of them are synchronous, so that they work with anyio, with pytest-asyncio in each of its modes, and in tests
without a plugin: the application belongs to the event loop of the test's first call.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ubr.application.app import Application
    from ubr.domain.actor import Actor
    from ubr.testing.aside import Aside
    from ubr.testing.memory import MovableClock

# Every run of pytest loads this module, even without any use of ubr, so it imports ubr only on use.


@pytest.fixture
def ubr_clock(_ubr_in_memory: Aside) -> MovableClock:
    """The clock of the fixture `ubr`."""
    return _ubr_in_memory.clock


@pytest.fixture
def ubr(_ubr_in_memory: Aside) -> Application:
    """All of ubr, in memory, new for each test."""
    return _ubr_in_memory.ubr


@pytest.fixture
def ubr_admin(_ubr_in_memory: Aside) -> Actor:
    """A logged-in administrator."""
    from ubr import SYSTEM, CreateAdminCommand  # noqa: PLC0415
    from ubr.testing import log_in  # noqa: PLC0415

    async def made() -> Actor:
        email, password = "admin@example.org", secrets.token_urlsafe(24)
        command = CreateAdminCommand(email=email, password=password)
        await _ubr_in_memory.ubr.create_admin(command, actor=SYSTEM)
        return await log_in(_ubr_in_memory.ubr, email, password)

    return _ubr_in_memory.run(made)


@pytest.fixture
def _ubr_in_memory() -> Iterator[Aside]:
    from ubr.testing.aside import Aside  # noqa: PLC0415

    with Aside() as aside:
        yield aside
