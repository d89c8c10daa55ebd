"""Races are about what comes out, not how soon: on a machine that is busy otherwise, many at once take a while."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import pytest
from dependency_injector import providers

from ubr import Application, Settings, connect
from ubr.adapters.sql import ConnectionLimits
from ubr.bootstrap.decisions import decisions_of
from ubr.bootstrap.sql import SqlContainer

_SECONDS: Final = 30.0


def rounds(few: int, many: int) -> pytest.MarkDecorator:
    """So many with `make test`, so many with `make test-long`."""
    return pytest.mark.parametrize("rounds", [few, pytest.param(many, marks=pytest.mark.long)])


@asynccontextmanager
async def two_instances(settings: Settings) -> AsyncIterator[tuple[Application, Application]]:
    """Two on one database, each with a pool of its own, as in production but for how long anything waits."""
    limits = ConnectionLimits(connections=10, acquire=_SECONDS, connect=_SECONDS, statement=_SECONDS, lock=_SECONDS)
    decisions = decisions_of(settings)
    decisions = replace(decisions, times=replace(decisions.times, patience=_SECONDS))
    with (
        SqlContainer.limits.override(providers.Object(limits)),
        SqlContainer.decisions.override(providers.Object(decisions)),
    ):
        async with connect(settings) as first, connect(settings) as second:
            yield first, second
