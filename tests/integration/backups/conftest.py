"""Installations with some data, and their backups."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.backups.kit import SECRETS, Installation
from tests.support.servers import ServerError, find_postgres


@pytest.fixture(scope="session", autouse=True)
def programs() -> Iterator[None]:
    """Finds the programs of PostgreSQL also where only a wheel has them."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            folder = find_postgres().program.parent
        except ServerError:  # a test that needs them says so
            folder = None
        if folder is not None:
            patch.setenv("PATH", str(folder), prepend=os.pathsep)
        yield


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No setting of ubr in the environment, except secrets."""
    for name in [name for name in os.environ if name.startswith("UBR_")]:  # noqa: TID251 - to have none of them
        monkeypatch.delenv(name)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installation on SQLite, some data and two backups. It is copied."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("UBR_")]:  # noqa: TID251 - to have none of them
            patch.delenv(name)
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        here = Installation(folder, "sqlite:///ubr.db", patch)
        here.fill()
        here.done("backup create")
        here.act()
        here.done("backup create")
    return folder


@pytest.fixture
def sqlite(made: Path, tmp_path: Path, clean: pytest.MonkeyPatch) -> Installation:
    """The installation on SQLite with two backups."""
    folder = Path(shutil.copytree(made, tmp_path / "here"))
    clean.chdir(folder)
    return Installation(folder, "sqlite:///ubr.db", clean)


@pytest.fixture
def postgresql(new_database: Callable[..., str], tmp_path: Path, clean: pytest.MonkeyPatch) -> Installation:
    """An installation on PostgreSQL with some data."""
    clean.chdir(tmp_path)
    here = Installation(tmp_path, new_database(), clean)
    here.fill()
    return here


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def each(request: pytest.FixtureRequest) -> Installation:
    found: Installation = request.getfixturevalue(request.param)
    return found
