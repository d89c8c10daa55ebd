"""ubr in memory, and a verifier beside it, new for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.integration.http.kit import Service, in_process, memory_settings
from tests.integration.verifier.kit import Beside, running_beside

BOUND = timedelta(seconds=30)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with in_process(memory_settings()) as made:
        yield made


@pytest.fixture
async def unhurried() -> AsyncIterator[Service]:
    """Where an end that nobody acknowledges waits for half a minute: whoever waits for the bound is found out."""
    async with in_process(memory_settings(revocation_bound=BOUND)) as made:
        yield made


@pytest.fixture
async def here(service: Service) -> AsyncIterator[Beside]:
    async with running_beside(service) as made:
        yield made
