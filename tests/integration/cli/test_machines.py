"""`ubr machines`: accounts for programs, and their keys, as an operator makes and ends them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.kit import Ended, Run
from tests.support.servers import run
from ubr import LogInMachineCommand, Settings, connect
from ubr.domain.errors import InvalidClient
from ubr.domain.machines.key_text import key_id_of

pytestmark = pytest.mark.system

SETTINGS = {
    "UBR_DATABASE_URL": "sqlite+aiosqlite:///ubr.db",
    "UBR_SECRET_KEY": "a-secret-for-tests-" * 3,
    "UBR_MIGRATE": "auto",
}
UNKNOWN = "01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10"


@pytest.fixture
def ubr(in_process: Run) -> Run:
    def with_settings(*arguments: str) -> Ended:
        return in_process("machines", *arguments, **SETTINGS)

    return with_settings


@pytest.fixture
def machine(ubr: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ubr("create", "report", "--description", "Of the night", "--json").out)
    return found


def accepted(folder: Path, key: str) -> bool:
    """True if the key is exchanged for a token."""

    async def log_in() -> bool:
        async with connect(Settings.from_env({**SETTINGS, "UBR_DATABASE_URL": f"sqlite:///{folder}/ubr.db"})) as app:
            try:
                await app.log_in_machine(LogInMachineCommand(client_secret=key))
            except InvalidClient:
                return False
            return True

    return run(log_in())


def test_a_machine_is_created_listed_disabled_enabled_and_deleted(ubr: Run, machine: dict[str, Any]) -> None:
    assert machine["name"] in ubr("list").out
    assert [each["id"] for each in json.loads(ubr("list", "--json").out)] == [machine["id"]]
    assert "is disabled" in ubr("disable", "report").out
    assert json.loads(ubr("list", "--json").out)[0]["status"] == "disabled"
    assert "is enabled" in ubr("enable", machine["id"]).out
    again = ubr("create", "report")
    assert again.code == 1
    assert "Another machine has this name" in again.err
    assert "is deleted" in ubr("delete", "report").out
    assert "There is no machine" in ubr("list").out


def test_a_key_is_printed_once_rotated_and_revoked(ubr: Run, machine: dict[str, Any], tmp_path: Path) -> None:
    assert "has no key" in ubr("list-keys", "report").out
    made = ubr("create-key", "report", "--name", "production", "--scope", "users:read", "--expires", "90d")
    key = made.out.strip()  # alone, for a pipe
    its_id = str(key_id_of(key))
    assert its_id in made.err
    assert accepted(tmp_path, key)
    listed = ubr("list-keys", "report")
    assert {its_id, "production", "users:read"} <= set(listed.out.split())
    assert key not in listed.out + ubr("list-keys", "report", "--json").out
    rotated = json.loads(ubr("rotate-key", "report", its_id, "--overlap", "1h", "--json").out)
    assert accepted(tmp_path, key)
    assert accepted(tmp_path, rotated["client_secret"])
    assert "is revoked" in ubr("revoke-key", "report", its_id).out
    assert "revoked" in ubr("list-keys", machine["id"]).out
    assert not accepted(tmp_path, key)
    assert accepted(tmp_path, rotated["client_secret"])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("create", "Report"), 2, "must match"),
        (("disable", "nothing"), 1, "No machine has the name or the id nothing"),
        (("create-key", "report"), 2, "--name"),
        (("create-key", "report", "--name", "k", "--expires", "soon"), 2, "--expires must be a whole number"),
        (("create-key", "report", "--name", "k", "--scope", "nothing:at-all"), 2, "is not a permission"),
        (("rotate-key", "report", "1"), 2, "not a valid UUID"),
        (("rotate-key", "report", UNKNOWN), 1, "does not have this key"),
        (("rotate-key", "report", UNKNOWN, "--overlap", "31d"), 2, "between 0 and"),
        (("revoke-key", "report", UNKNOWN), 1, "does not have this key"),
    ],
)
def test_a_mistake_is_a_sentence(
    ubr: Run, machine: dict[str, Any], arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = ubr(*arguments)
    assert machine["name"] == "report"
    assert (done.code, words in " ".join(done.err.replace("│", " ").split())) == (code, True), done.err
