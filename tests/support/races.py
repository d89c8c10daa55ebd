"""Support for races: their outcome matters, not their speed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ubr import Application, Settings, connect


def rounds(few: int, many: int) -> pytest.MarkDecorator:
    """The number of rounds with `make test`, and with `make test-long`."""
    return pytest.mark.parametrize("rounds", [few, pytest.param(many, marks=pytest.mark.long)])


@asynccontextmanager
async def two_instances(settings: Settings) -> AsyncIterator[tuple[Application, Application]]:
    """Two instances on one database, each with its own pool, as in production."""
    async with connect(settings) as first, connect(settings) as second:
        yield first, second
