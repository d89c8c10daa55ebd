"""Fixtures for pytest, discovered automatically where ubr is installed.

All of them are synchronous, so that they work with anyio, with pytest-asyncio in each of its modes, and in tests
without a plugin: the application belongs to the event loop of the test's first call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx

    from ubr.application.app import Application
    from ubr.domain.actor import Actor
    from ubr.testing.double import Double, DoubleUser
    from ubr.testing.memory import MovableClock

# Failures of the published suites show what was compared. Naming the package does not import it.
pytest.register_assert_rewrite("ubr.testing.contracts")

# Every run of pytest loads this module, even without any use of ubr, so it imports ubr only on use.


@pytest.fixture
def ubr_settings() -> dict[str, Any]:
    """The arguments of the double of each test. Override it: `{"permissions": ["notes:edit"]}`."""
    return {}


@pytest.fixture
def ubr_double(ubr_settings: dict[str, Any]) -> Iterator[Double]:
    """All of ubr, in memory, new for each test, with what a test needs around it."""
    from ubr.testing.double import Double  # noqa: PLC0415

    with Double(**ubr_settings) as double:
        yield double


@pytest.fixture
def ubr(ubr_double: Double) -> Application:
    """The use cases of the double."""
    return ubr_double.ubr


@pytest.fixture
def ubr_clock(ubr_double: Double) -> MovableClock:
    """The clock of the double."""
    return ubr_double.clock


@pytest.fixture
def ubr_admin(ubr_double: Double) -> Actor:
    """A logged-in administrator."""
    return ubr_double.an_admin().actor


@pytest.fixture
def a_user(ubr_double: Double) -> Callable[..., DoubleUser]:
    """Makes a user of the double: `a_user(permissions=["notes:edit"])`."""
    return ubr_double.a_user


@pytest.fixture
def ubr_http(ubr_double: Double) -> httpx.AsyncClient:
    """A client of the HTTP interface of the double, for asynchronous tests."""
    return ubr_double.http


@pytest.fixture
def ubr_http_sync(ubr_double: Double) -> httpx.Client:
    """The same, for tests without a loop."""
    return ubr_double.http_sync
