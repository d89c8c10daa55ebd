"""Races are about what comes out, not how soon: on a machine that is busy otherwise, many at once take a while."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import pytest
from dependency_injector import providers

from ubr import Application, Settings, connect
from ubr.adapters.sql import Limits
from ubr.bootstrap.policy import policy_of
from ubr.bootstrap.sql import SqlContainer

_SECONDS: Final = 30.0


def rounds(few: int, many: int) -> pytest.MarkDecorator:
    """So many with `make test`, so many with `make test-long`."""
    return pytest.mark.parametrize("rounds", [few, pytest.param(many, marks=pytest.mark.long)])


@asynccontextmanager
async def two_instances(settings: Settings) -> AsyncIterator[tuple[Application, Application]]:
    """Two on one database, each with a pool of its own, as in production but for how long anything waits."""
    limits = Limits(connections=10, acquire=_SECONDS, connect=_SECONDS, statement=_SECONDS, lock=_SECONDS)
    policy = policy_of(settings)
    policy = replace(policy, times=replace(policy.times, patience=_SECONDS))
    with (
        SqlContainer.limits.override(providers.Object(limits)),
        SqlContainer.policy.override(providers.Object(policy)),
    ):
        async with connect(settings) as first, connect(settings) as second:
            yield first, second
