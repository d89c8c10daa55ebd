"""The service, new for each test unless it says otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.http.kit import Service, in_process, memory_settings, sqlite_settings
from ubr.entrypoints.http.app import HttpOptions


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """In memory."""
    async with in_process(memory_settings()) as made:
        yield made


@pytest.fixture(scope="module")
async def standing() -> AsyncIterator[Service]:
    """In memory, one for a whole module: for tests that only ask."""
    async with in_process(memory_settings(), HttpOptions()) as made:
        yield made


@pytest.fixture(params=["memory", pytest.param("sqlite", marks=pytest.mark.long)])
async def each_service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    """On every store that needs no server; what is refused comes to none, so that memory stands for all day by day."""
    settings = memory_settings() if request.param == "memory" else sqlite_settings(tmp_path)
    async with in_process(settings) as made:
        yield made


@pytest.fixture
def pictures(request: pytest.FixtureRequest) -> Path | None:
    """The folder for pictures of pages, given by `--pictures`."""
    folder: Path | None = request.config.getoption("--pictures")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return folder
