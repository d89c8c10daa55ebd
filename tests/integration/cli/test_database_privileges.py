"""Commands name the privilege that their database role lacks, and a role that only reads verifies the log."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.commands import clean_environment, run
from tests.support.papers import blocks_of
from tests.support.servers import PostgresServer, free_port
from tests.support.service import ADMIN, ADMIN_EMAIL, SECRET_KEY

PASSWORD = "the password of a role"
LACKING = "The database role "
COMMANDS = [
    "audit checkpoint",
    "audit export",
    "audit key",
    "audit rotate-key",
    "admin create --email second@example.org --generate",
    "after-restore --yes",
    "explain login admin@example.org",
    "keys list",
    "keys rotate",
    "machines list",
    "outbox list",
    "sessions list admin@example.org",
    "users disable admin@example.org",
    "users erase admin@example.org --yes",
    "users export admin@example.org",
    "users find admin",
    "users show admin@example.org",
]
READING = {
    "audit checkpoint",
    "audit key",
    "keys list",
    "machines list",
    "outbox list",
    "sessions list admin@example.org",
    "users find admin",
}
"""These succeed with a role that only reads."""

Roles = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def role_of(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    """The environment of a command for a role, by its name: one without any privilege, and one that only reads."""
    name = f"privileges_{secrets.token_hex(6)}"
    url = postgres_server.create_database(name)
    environment = clean_environment(UBR_DATABASE_URL=url, UBR_SECRET_KEY=SECRET_KEY)
    folder = tmp_path_factory.mktemp("privileges")
    assert run("migrate", folder=folder, environment=environment)[0] == 0
    typed = f"{ADMIN['UBR_ADMIN_PASSWORD']}\n".encode()
    made = run(
        "admin",
        "create",
        "--email",
        ADMIN_EMAIL,
        "--password-stdin",
        folder=folder,
        environment=environment,
        typed=typed,
    )
    assert made[0] == 0, made
    assert run("audit", "checkpoint", folder=folder, environment=environment)[0] == 0
    roles = {kind: f"{kind}_{secrets.token_hex(6)}" for kind in ("stranger", "auditor")}
    for role in roles.values():
        postgres_server.query(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'", database=name)
    (granting,) = (block.text for block in blocks_of("docs/audit.md", "sql"))
    for statement in granting.replace("ubr_auditor", roles["auditor"]).splitlines()[1:]:
        postgres_server.query(statement, database=name)

    def of(kind: str) -> dict[str, str]:
        parts = urlsplit(url)
        place = f"{roles[kind]}:{PASSWORD.replace(' ', '%20')}@{parts.hostname}:{parts.port}{parts.path}"
        return {**environment, "UBR_DATABASE_URL": f"{parts.scheme}://{place}"}

    yield of
    postgres_server.drop_database(name)
    for role in roles.values():
        postgres_server.query(f"DROP ROLE {role}")


@pytest.mark.system(seconds=3)
@pytest.mark.parametrize("kind", ["stranger", "auditor"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_the_privilege_that_it_lacks(role_of: Roles, tmp_path: Path, command: str, kind: str) -> None:
    code, out, err = run(*command.split(), folder=tmp_path, environment=role_of(kind))
    assert "Traceback" not in out + err
    if kind == "auditor" and command in READING:
        assert code == 0, err
    else:
        assert code == 1, out + err
        assert LACKING in err
        assert ("may not use the schema ubr" if kind == "stranger" else "lacks a privilege on the table") in err


@pytest.mark.system(seconds=3)
def test_the_service_does_not_start_where_it_may_not_read(role_of: Roles, tmp_path: Path) -> None:
    code, _, err = run("serve", folder=tmp_path, environment={**role_of("stranger"), "UBR_PORT": str(free_port())})
    assert code == 1
    assert "may not use the schema ubr" in err
    assert "Traceback" not in err


@pytest.mark.system(seconds=3)
def test_an_auditor_verifies_the_log_without_a_secret(role_of: Roles, tmp_path: Path) -> None:
    environment = role_of("auditor")
    _, key, _ = run("audit", "key", folder=tmp_path, environment=environment)
    _, kept, _ = run("audit", "checkpoint", folder=tmp_path, environment=environment)
    (tmp_path / "log.key").write_text(key)
    (tmp_path / "log.checkpoint").write_text(kept)
    del environment["UBR_SECRET_KEY"]
    options = ("--key", "log.key", "--checkpoint", "log.checkpoint")
    code, out, err = run("audit", "verify", *options, folder=tmp_path, environment=environment)
    assert code == 0, err
    assert "match their signatures" in out
