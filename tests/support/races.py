"""Races are about what comes out, not how soon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ubr import Application, Settings, connect


def rounds(few: int, many: int) -> pytest.MarkDecorator:
    """So many with `make test`, so many with `make test-long`."""
    return pytest.mark.parametrize("rounds", [few, pytest.param(many, marks=pytest.mark.long)])


@asynccontextmanager
async def two_instances(settings: Settings) -> AsyncIterator[tuple[Application, Application]]:
    """Two on one database, each with a pool of its own, as in production."""
    async with connect(settings) as first, connect(settings) as second:
        yield first, second
