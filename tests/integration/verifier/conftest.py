"""ubr in memory, and a verifier beside it, new for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.http.kit import Service, in_process, memory_settings
from tests.integration.verifier.kit import Beside, running_beside


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with in_process(memory_settings()) as made:
        yield made


@pytest.fixture
async def here(service: Service) -> AsyncIterator[Beside]:
    async with running_beside(service) as made:
        yield made
