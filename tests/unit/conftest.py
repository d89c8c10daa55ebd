"""The application in memory, new for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.support.people import World, new_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with new_world() as made:
        yield made
