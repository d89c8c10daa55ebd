"""Installations to examine, in the folder of each test."""

from __future__ import annotations

import json

import pytest

from tests.integration.cli.doctor.kit import CANARY, OTHER_SECRET, SECRET, Examine, Installed, Report
from tests.integration.cli.kit import Run
from tests.support.plugin import NewDatabase


@pytest.fixture
def examine(in_process: Run) -> Examine:
    def run(*arguments: str, **settings: str) -> Report:
        done = in_process("doctor", "--json", *arguments, **settings)
        for secret in (SECRET, OTHER_SECRET, CANARY):
            assert secret not in done.out + done.err
        assert done.err == ""
        told = json.loads(done.out)
        found = [(each["level"], each["subject"], each["sentence"]) for each in told["findings"]]
        levels = [level for level, _, _ in found]
        assert (told["errors"], told["warnings"]) == (levels.count("error"), levels.count("warning"))
        assert done.code == (1 if "error" in levels else 0)
        return Report(done.code, found)

    return run


@pytest.fixture
def embedded(in_process: Run) -> dict[str, str]:
    """The settings of an installation on the embedded database: none."""
    return _installed(in_process, {})


@pytest.fixture
def on_postgres(in_process: Run, new_database: NewDatabase) -> Installed:
    def install() -> dict[str, str]:
        settings = {
            "UBR_DATABASE_URL": new_database(),
            "UBR_SECRET_KEY": SECRET,
            "UBR_PUBLIC_URL": "https://accounts.example.org",
        }
        return _installed(in_process, settings)

    return install


def _installed(run: Run, settings: dict[str, str]) -> dict[str, str]:
    created = run("admin", "create", "--email", "admin@example.org", "--generate", **settings)
    assert created.code == 0, created.err
    return settings
