"""Races are about what comes out, not how soon: on a machine that is busy otherwise, many at once take a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from dependency_injector import providers

from ubr import Settings
from ubr.adapters.sql import Limits
from ubr.bootstrap.core import times_of
from ubr.bootstrap.sql import SqlContainer

_SECONDS: Final = 30.0


@contextmanager
def unhurried(settings: Settings) -> Iterator[None]:
    """What is connected meanwhile is as in production, but for how long anything waits."""
    limits = Limits(connections=10, acquire=_SECONDS, connect=_SECONDS, statement=_SECONDS, lock=_SECONDS)
    times = replace(times_of(settings), patience=_SECONDS)
    with (
        SqlContainer.limits.override(providers.Object(limits)),
        SqlContainer.following.times.override(providers.Object(times)),
    ):
        yield
