"""Fixtures of several groups of these tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.values import replace
from ubr.adapters.sql.migrations import upgrade
from ubr.bootstrap import Environment, open_environment
from ubr.settings import Settings
from ubr.testing import TINY_HASHING

CAP = 50
"""The maximum number of sessions of a user."""


@pytest.fixture(params=["memory", *(pytest.param(name, marks=pytest.mark.system) for name in ("sqlite", "postgresql"))])
async def each_environment(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Environment]:
    """An environment on each store."""
    settings = Settings.memory(**TINY_HASHING, sessions_per_user=CAP)
    if request.param == "sqlite":
        settings = replace(settings, database_url=f"sqlite+aiosqlite:///{tmp_path / 'ubr.db'}")
        await upgrade(settings.database_url)
    elif request.param == "postgresql":
        settings = replace(settings, database_url=request.getfixturevalue("new_database")())
    async with open_environment(settings) as made:
        yield made
