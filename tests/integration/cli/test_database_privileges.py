"""Commands name the privilege that their database role lacks, and a role that only reads verifies the log."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest

from tests.integration.cli.kit import Run
from tests.support.commands import clean_environment, run
from tests.support.papers import blocks_of
from tests.support.servers import PostgresServer, free_port
from tests.support.service import ADMIN, ADMIN_EMAIL, SECRET_KEY
from ubr.entrypoints.cli.main import main

PASSWORD = "the password of a role"
LACKING = "The database role "
NO_ID = "01926e5c-7b0e-4f3a-9c55-0d2f6f1c8a10"
COMMANDS = [
    "admin create --email second@example.org --generate",
    "after-restore --yes",
    "audit checkpoint",
    "audit export",
    "audit key",
    "audit prune --keep 365d --yes",
    "audit rotate-key",
    "audit verify",
    "backup create",
    "explain login admin@example.org",
    "keys list",
    "keys revoke none",
    "keys rewrap",
    "keys rotate",
    "machines create exporter",
    "machines create-key exporter --name first",
    "machines delete exporter",
    "machines disable exporter",
    "machines enable exporter",
    "machines list",
    "machines list-keys exporter",
    f"machines revoke-key exporter {NO_ID}",
    f"machines rotate-key exporter {NO_ID}",
    "migrate",
    "outbox list",
    f"outbox retry {NO_ID}",
    "sessions list admin@example.org",
    f"sessions revoke {NO_ID}",
    "upgrade-check",
    "users disable admin@example.org",
    "users enable admin@example.org",
    "users erase admin@example.org --yes",
    "users export admin@example.org",
    "users find admin",
    "users index-fields",
    "users show admin@example.org",
    "users unlock admin@example.org",
]
"""Every command that opens the database for an act of ubr."""

OTHERS = {
    "backup list", "backup prune", "backup restore", "backup verify", "config", "doctor", "emulate", "openapi",
    "serve",
}  # fmt: skip
"""Commands that open no database, or have a test of their own."""

READING = {
    "audit checkpoint",
    "audit key",
    "audit verify",
    "keys list",
    "machines list",
    "machines list-keys exporter",
    "migrate",
    "outbox list",
    "sessions list admin@example.org",
    "upgrade-check",
    "users find admin",
}
"""These succeed with a role that reads every table, if what they name is there."""

AUDITING = {"audit checkpoint", "audit verify", "migrate", "upgrade-check"}
"""These succeed with the role of an auditor. A checkpoint is signed only if entries are queued, and a
migration changes nothing if the schema is current.
"""

OTHER_SENTENCES = {
    ("reader", "backup create"): "permission denied for sequence",
    ("reader", f"sessions revoke {NO_ID}"): "No session has the id",
}
"""The sentence of pg_dump, and that of a command that has nothing to change."""

Roles = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def role_of(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    """The environment of a command for a role, by its name.

    A stranger has no privilege, a reader may read every table, and an auditor has those of the documentation.
    """
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
    assert run("machines", "create", "exporter", folder=folder, environment=environment)[0] == 0
    assert run("audit", "checkpoint", folder=folder, environment=environment)[0] == 0
    roles = {kind: f"{kind}_{secrets.token_hex(6)}" for kind in ("stranger", "reader", "auditor")}
    for role in roles.values():
        postgres_server.query(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'", database=name)
    (granting,) = (block.text for block in blocks_of("docs/audit.md", "sql"))
    for statement in granting.replace("ubr_auditor", roles["auditor"]).splitlines()[1:]:
        postgres_server.query(statement, database=name)
    postgres_server.query(f"GRANT USAGE ON SCHEMA ubr TO {roles['reader']}", database=name)
    postgres_server.query(f"GRANT SELECT ON ALL TABLES IN SCHEMA ubr TO {roles['reader']}", database=name)

    def of(kind: str) -> dict[str, str]:
        parts = urlsplit(url)
        place = f"{roles[kind]}:{PASSWORD.replace(' ', '%20')}@{parts.hostname}:{parts.port}{parts.path}"
        return {**environment, "UBR_DATABASE_URL": f"{parts.scheme}://{place}"}

    yield of
    postgres_server.drop_database(name)
    for role in roles.values():
        postgres_server.query(f"DROP ROLE {role}")


@pytest.mark.system
@pytest.mark.parametrize("kind", ["stranger", "reader", "auditor"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_the_privilege_that_it_lacks(
    role_of: Roles, in_process: Run, tmp_path: Path, command: str, kind: str
) -> None:
    (tmp_path / "fields.json").write_text(blocks_of("docs/fields.md", "json")[0].text)
    settings = {name: value for name, value in role_of(kind).items() if name.startswith("UBR_")}
    settings |= {"UBR_BACKUP_DIR": str(tmp_path), "UBR_BACKUP_KEY": SECRET_KEY}
    if command == "users index-fields":
        settings["UBR_USER_FIELDS_FILE"] = "fields.json"
    done = in_process(*command.split(), **settings)
    if command in {"reader": READING, "auditor": AUDITING}.get(kind, ()):
        assert done.code == 0, done.err
    elif (kind, command) in OTHER_SENTENCES:
        assert done.code == 1, done
        assert OTHER_SENTENCES[kind, command] in done.err
    else:
        assert done.code == 1, done
        assert LACKING in done.err
        assert ("may not use the schema ubr" if kind == "stranger" else "lacks a privilege on the table") in done.err


def test_every_command_that_opens_a_database_is_tested() -> None:
    names = set(names_of(main))
    tested = {name for name in names for command in COMMANDS if f"{command} ".startswith(f"{name} ")}
    assert tested | OTHERS == names
    assert not tested & OTHERS


def names_of(group: click.Group, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from names_of(command, f"{before}{name} ")
        else:
            yield before + name


@pytest.mark.system(seconds=3)
def test_the_service_does_not_start_where_it_may_not_read(role_of: Roles, tmp_path: Path) -> None:
    code, _, err = run("serve", folder=tmp_path, environment={**role_of("stranger"), "UBR_PORT": str(free_port())})
    assert code == 1
    assert "may not use the schema ubr" in err
    assert "Traceback" not in err


@pytest.mark.system(seconds=3)
def test_an_auditor_verifies_the_log_without_a_secret(role_of: Roles, tmp_path: Path) -> None:
    """The key and the checkpoint come from an operator."""
    service, auditor = role_of("reader"), role_of("auditor")
    _, key, _ = run("audit", "key", folder=tmp_path, environment=service)
    _, kept, _ = run("audit", "checkpoint", folder=tmp_path, environment=service)
    (tmp_path / "log.key").write_text(key)
    (tmp_path / "log.checkpoint").write_text(kept)
    del auditor["UBR_SECRET_KEY"]
    options = ("--key", "log.key", "--checkpoint", "log.checkpoint")
    code, out, err = run("audit", "verify", *options, folder=tmp_path, environment=auditor)
    assert code == 0, err
    assert "match their signatures" in out


@pytest.mark.system
def test_an_auditor_reads_nothing_else_and_writes_nothing(role_of: Roles, postgres_server: PostgresServer) -> None:
    parts = urlsplit(role_of("auditor")["UBR_DATABASE_URL"])
    database, role = parts.path.lstrip("/"), f"{parts.username}"
    columns = (
        " FROM information_schema.columns AS c, LATERAL (SELECT format('ubr.%I', table_name)::regclass AS its) AS t"
        f" WHERE table_schema = 'ubr' AND has_column_privilege('{role}', its, column_name, "
    )
    by_table = f"SELECT table_name AS t, json_agg(column_name ORDER BY column_name) AS c{columns}'SELECT') GROUP BY 1"
    read = postgres_server.query(f"SELECT json_object_agg(t, c) FROM ({by_table}) AS tables", database=database)  # noqa: S608
    changed = postgres_server.query(f"SELECT count(*){columns}'INSERT, UPDATE')", database=database)
    deleted = postgres_server.query(
        "SELECT count(*) FROM information_schema.table_privileges"  # noqa: S608 - the role of this test
        f" WHERE grantee = '{role}' AND privilege_type <> 'SELECT'",
        database=database,
    )
    readable = json.loads(f"{read}")
    log = {"logs", *(f"log_{of}" for of in ("client_ips", "leaves", "nodes", "checkpoints", "queue", "head", "pruned"))}
    assert readable.keys() == {*log, "log_keys", "signing_keys", "roles", "user_roles", "alembic_version"}
    assert readable["log_keys"] == ["name", "number", "public"]
    assert readable["signing_keys"] == ["created_at", "kid", "revoked_at"]
    assert (changed, deleted) == (0, 0)


@pytest.mark.system
def test_the_doctor_knows_an_auditor(role_of: Roles, in_process: Run) -> None:
    settings = {name: value for name, value in role_of("auditor").items() if name.startswith("UBR_")}
    assert "That is right for an auditor" in in_process("doctor", **settings).out


@pytest.mark.system
def test_a_command_says_that_its_role_may_not_write_or_not_connect(
    role_of: Roles, in_process: Run, postgres_server: PostgresServer
) -> None:
    settings = {name: value for name, value in role_of("reader").items() if name.startswith("UBR_")}
    database = urlsplit(settings["UBR_DATABASE_URL"]).path.lstrip("/")
    postgres_server.query(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    done = in_process("keys", "list", **settings)
    postgres_server.query(f"GRANT CONNECT ON DATABASE {database} TO PUBLIC")
    assert (done.code, "grant it the privilege CONNECT" in done.err) == (1, True), done
    settings["UBR_DATABASE_URL"] = postgres_server.url(database)
    postgres_server.query(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    done = in_process("keys", "rotate", **settings)
    postgres_server.query(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    assert (done.code, "The database accepts no writes" in done.err) == (1, True), done
