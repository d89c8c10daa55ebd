"""The log's own defence in PostgreSQL: what the role of the service may not do, and what not even the owner may.

Beside it what becomes of a database of the version before, which had entries and no tree.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from tests.contracts.kit import NOON, put, seen, something_happened
from tests.contracts.kit import MovableClock as StoreClock
from tests.support.denials import denials_in
from tests.support.people import OTHER_PASSWORD, PASSWORD, World
from tests.support.plugin import Desk, NewDatabase
from tests.support.room import PROMPT
from tests.support.servers import PostgresServer
from ubr import (
    SYSTEM,
    AcknowledgeRestoreCommand,
    Application,
    ChangePasswordCommand,
    CompareCheckpointCommand,
    CreateAdminCommand,
    CreateUserCommand,
    DeleteRoleCommand,
    DeleteUserCommand,
    IdempotencyKey,
    ListLogsCommand,
    ListRolesCommand,
    ListSessionsCommand,
    ListUserRolesCommand,
    ListUsersCommand,
    LogInCommand,
    ProveLogEntryCommand,
    PruneLogCommand,
    RevokeSessionCommand,
    RevokeSigningKeyCommand,
    RevokeUserSessionsCommand,
    RoleChanges,
    Settings,
    UnassignRoleCommand,
    UpdateRoleCommand,
    VerifyLogCommand,
    connect,
)
from ubr.adapters.security.log_signing import Ed25519LogSigning
from ubr.adapters.security.secrets import SecretKeys
from ubr.adapters.sql import SqlUnitOfWork, make_engine
from ubr.adapters.sql.audit.rows import entry_from_row, entry_to_row
from ubr.adapters.sql.migrations import SchemaState, check, downgrade, role_of, upgrade
from ubr.adapters.sql.tables import logs, metadata
from ubr.application.audit.recorder import Recorder
from ubr.application.audit.sequencer import Sequencer
from ubr.application.audit.verify_log import VerifyLog
from ubr.application.revocation.follow_revocations import FollowRevocationsCommand
from ubr.application.revocation.stop_following_revocations import StopFollowingRevocationsCommand
from ubr.bootstrap import migrate, open_environment
from ubr.domain.accounts.user import UserStatus
from ubr.domain.audit.entry import LogEntry
from ubr.domain.errors import Forbidden, InvalidCredentials, StoreUnavailable
from ubr.testing import TINY_HASHING, MovableClock

pytestmark = [pytest.mark.anyio, pytest.mark.system]

ALL = 1000
SIGNING = Ed25519LogSigning(SecretKeys([b"s" * 32]), "https://example.org", os.urandom)
RECORDER = Recorder(uuid4, os.urandom)


@dataclass(frozen=True)
class Guarded:
    """A database of its own, whose tables belong to one role and are used by another."""

    server: PostgresServer
    name: str
    owner: str
    service: str
    password: str

    def url(self, role: str) -> str:
        parsed = make_url(self.server.url(self.name)).set(username=role, password=self.password)
        return parsed.render_as_string(hide_password=False)

    @property
    def owner_url(self) -> str:
        return self.url(self.owner)

    @property
    def service_url(self) -> str:
        return self.url(self.service)

    def settings(self, **changes: Any) -> Settings:
        named = {"database_url": self.service_url, "migration_database_url": self.owner_url, "migrate": "auto"}
        return Settings.memory(**{**TINY_HASHING, **named, "secret_keys": (b"k" * 32,), **changes})

    @asynccontextmanager
    async def connection(self, role: str | None = None) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """As a role, or as the superuser."""
        dsn = self.server.dsn(self.name) if role is None else self.url(role).replace("+asyncpg", "")
        connection = await asyncpg.connect(dsn, server_settings={"search_path": "ubr, public"})
        try:
            yield connection
        finally:
            await connection.close()

    async def run(self, *statements: str) -> None:
        """As superuser."""
        async with self.connection() as connection:
            for statement in statements:
                await connection.execute(statement)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def make_guarded(desk: Desk, server: PostgresServer, service: str = "service") -> Iterator[Guarded]:
    unique = f"{desk.run_id}_{secrets.token_hex(6)}"
    made = Guarded(server, unique, f"{unique}_owner", f"{unique}_{service}", secrets.token_hex(16))
    try:
        for role in (made.owner, made.service):
            server.query(f"CREATE ROLE {quoted(role)} LOGIN PASSWORD '{made.password}'")
        server.create_database(made.name)
        server.query(f"ALTER DATABASE {quoted(made.name)} OWNER TO {quoted(made.owner)}")
        yield made
    finally:
        server.drop_database(made.name)
        for role in (made.owner, made.service):
            server.query(f"DROP ROLE IF EXISTS {quoted(role)}")


@pytest.fixture
def guarded(desk: Desk, postgres_server: PostgresServer) -> Iterator[Guarded]:
    """One that was never migrated, for this test alone."""
    yield from make_guarded(desk, postgres_server)


def units(url: str) -> tuple[SqlUnitOfWork, Callable[[], Any]]:
    engine = make_engine(url)
    return SqlUnitOfWork(engine, RECORDER, StoreClock()), engine.dispose


async def sequence(uow: SqlUnitOfWork) -> int:
    """Put all that waits into the tree. The first time a key is made."""
    async with uow.begin(SYSTEM) as tx:
        if not await tx.log_keys.all_to_change():
            await tx.log_keys.add(SIGNING.generate(tx.now))
        await tx.commit()
    return await Sequencer(uow, SIGNING)()


# --- what the triggers and the grants refuse -------------------------------------------------------------------------

IN_THE_TREE, WAITING = 300, 2
GROWING = {"logs": "message", "log_leaves": "hash", "log_nodes": "hash", "log_checkpoints": "note"}
"""The tables of which no row is ever changed, each with one of its columns."""
TABLES = (*GROWING, "log_pruned", "log_queue", "log_head", "log_keys", "signing_keys", "alembic_version")


@dataclass(frozen=True)
class Stage:
    """A log under guard, and a connection of either role to it."""

    guarded: Guarded
    owner: asyncpg.Connection[asyncpg.Record]
    service: asyncpg.Connection[asyncpg.Record]

    async def contents(self) -> dict[str, object]:
        """A digest of all rows of every table that matters, and of what guards them, as the superuser sees it."""
        digests = each("SELECT '{table}', md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} AS t", TABLES)
        guards = (
            "SELECT array_agg(concat_ws(' ', tgrelid::regclass, tgname, tgenabled, prosrc) ORDER BY pg_trigger.oid)"
            " FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE NOT tgisinternal"
        )
        async with self.guarded.connection() as connection:
            rows = await connection.fetch(" UNION ALL ".join(digests))
            return {"guards": await connection.fetchval(guards), **{str(name): digest for name, digest in rows}}


def each(statement: str, tables: Iterable[str]) -> list[str]:
    """One statement for each of some tables."""
    return [statement.format(table=table, column=GROWING.get(table)) for table in tables]


@pytest.fixture(scope="module")
def shared(desk: Desk, postgres_server: PostgresServer) -> Iterator[Guarded]:
    """The name of the service's role has to be quoted, and the name in the URL decoded."""
    yield from make_guarded(desk, postgres_server, 'the "Service" at 100%')


@pytest.fixture(scope="module")
async def stage(shared: Guarded) -> AsyncIterator[Stage]:
    """Every statement here is refused or rolled back, so one will do for all tests."""
    await migrate(shared.settings())
    uow, dispose = units(shared.service_url)
    await put(uow, *(something_happened() for _ in range(IN_THE_TREE)))
    assert await sequence(uow) == IN_THE_TREE
    await put(uow, *(something_happened() for _ in range(WAITING)))
    await dispose()
    async with shared.connection(shared.owner) as owner, shared.connection(shared.service) as service:
        yield Stage(shared, owner, service)


CHANGES_OF_ROWS = [
    *each("UPDATE {table} SET {column} = {column}", GROWING),
    *each("UPDATE {table} SET {column} = {column} WHERE false", GROWING),
    *each("TRUNCATE {table}", GROWING),
    "TRUNCATE logs, log_leaves, log_nodes, log_checkpoints, log_queue CASCADE",
    *each("DELETE FROM {table}", GROWING),
    "DELETE FROM logs WHERE id IN (SELECT entry_id FROM log_leaves WHERE leaf_index = 7)",
    "DELETE FROM logs WHERE id IN (SELECT entry_id FROM log_queue)",
    "DELETE FROM log_leaves WHERE leaf_index = 299",
    "DELETE FROM log_checkpoints WHERE size = 300",
    "INSERT INTO logs SELECT * FROM logs ON CONFLICT (id) DO UPDATE SET message = 'x'",
    "MERGE INTO logs USING log_leaves ON logs.id = log_leaves.entry_id WHEN MATCHED THEN UPDATE SET message = 'x'",
    "MERGE INTO logs USING log_leaves ON logs.id = log_leaves.entry_id WHEN MATCHED THEN DELETE",
    "INSERT INTO log_checkpoints VALUES (300, 'x') ON CONFLICT (size) DO UPDATE SET note = EXCLUDED.note",
]
"""What nobody may do. Nothing of a log is ever another one."""

CHANGES_OF_THE_GUARD = [
    "SELECT prune_logs(1)",
    "SELECT prune_logs(0)",
    "UPDATE log_pruned SET size = 300",
    "DELETE FROM log_pruned",
    "INSERT INTO log_pruned VALUES (2, 300)",
    "TRUNCATE log_pruned",
    "DELETE FROM log_head",
    "INSERT INTO log_head VALUES (2, 0, '')",
    "DELETE FROM log_keys",
    "TRUNCATE log_queue",
    "DELETE FROM signing_keys",
    "UPDATE alembic_version SET version_num = '0003'",
    "SELECT * FROM logs FOR UPDATE",
    "LOCK TABLE logs IN ACCESS EXCLUSIVE MODE",
    *each("ALTER TABLE {table} DISABLE TRIGGER ALL", GROWING),
    *each("ALTER TABLE {table} DISABLE TRIGGER logs_only_grow", GROWING),
    *each("DROP TRIGGER logs_only_grow ON {table}", GROWING),
    "DROP TRIGGER logs_wait ON logs",
    "DROP TRIGGER logs_are_pruned ON logs",
    "ALTER TABLE logs ENABLE REPLICA TRIGGER logs_only_grow",
    "SET session_replication_role = replica",
    "CREATE OR REPLACE FUNCTION logs_only_grow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "DROP FUNCTION logs_only_grow() CASCADE",
    "ALTER FUNCTION prune_logs(bigint) SECURITY INVOKER",
    "GRANT EXECUTE ON FUNCTION prune_logs(bigint) TO PUBLIC",
    "CREATE TRIGGER mine BEFORE INSERT ON logs FOR EACH STATEMENT EXECUTE FUNCTION logs_only_grow()",
    "CREATE RULE mine AS ON INSERT TO logs DO INSTEAD NOTHING",
    "ALTER TABLE logs ALTER COLUMN message SET DEFAULT 'x'",
    "ALTER TABLE logs RENAME TO old",
    "DROP TABLE logs CASCADE",
    "CREATE TABLE mine (id int)",
]


async def not_refused(
    connection: asyncpg.Connection[asyncpg.Record], statements: Iterable[str], refusal: type[asyncpg.PostgresError]
) -> dict[str, str]:
    """What happened to those of the statements that were not refused in this way. None of them has any effect."""
    found = {}
    for statement in statements:
        try:
            async with rolled_back(connection):
                found[statement] = await connection.execute(statement)
        except asyncpg.PostgresError as error:
            if not isinstance(error, refusal):
                found[statement] = repr(error)
    return found


async def test_the_service_changes_nothing_of_the_log_and_nothing_that_guards_it(stage: Stage) -> None:
    before = await stage.contents()
    become = [f"SET ROLE {quoted(stage.guarded.owner)}", "SET ROLE pg_write_all_data"]
    statements = [*CHANGES_OF_ROWS, *CHANGES_OF_THE_GUARD, *become]
    assert await not_refused(stage.service, statements, asyncpg.InsufficientPrivilegeError) == {}
    assert await stage.contents() == before


async def test_not_even_the_owner_changes_anything_of_the_log(stage: Stage) -> None:
    before = await stage.contents()
    assert await not_refused(stage.owner, CHANGES_OF_ROWS, asyncpg.RaiseError) == {}
    assert await stage.contents() == before


@pytest.mark.parametrize("temporary", ["log_leaves", "log_pruned", "both"])
async def test_what_somebody_made_for_themselves_does_not_stand_for_what_may_go(stage: Stage, temporary: str) -> None:
    """A temporary table is found before any other of its name, by whoever does not say which one is meant."""
    tables = {
        "log_leaves": "CREATE TEMP TABLE log_leaves AS SELECT id AS entry_id, -1 AS leaf_index FROM logs",
        "log_pruned": "CREATE TEMP TABLE log_pruned AS SELECT 1 AS only, 1000 AS size",
    }
    async with rolled_back(stage.owner):
        for name, statement in tables.items():
            if temporary in {name, "both"}:
                await stage.owner.execute(statement)
        with pytest.raises(asyncpg.RaiseError, match="only ever added"):
            await stage.owner.execute(
                "DELETE FROM ubr.logs WHERE id = (SELECT entry_id FROM ubr.log_leaves WHERE leaf_index = 7)"
            )


async def test_what_somebody_made_for_themselves_does_not_keep_an_entry_from_waiting(stage: Stage) -> None:
    async with rolled_back(stage.service):
        await stage.service.execute("CREATE TEMP TABLE log_queue (entry_id uuid)")
        await stage.service.execute(
            "INSERT INTO logs (id, format, level, action, message, timestamp, request_id_given, data, salt)"
            " SELECT gen_random_uuid(), format, level, action, message, timestamp, request_id_given, data, salt"
            " FROM logs LIMIT 1"
        )
        assert await stage.service.fetchval("SELECT count(*) FROM ubr.log_queue") == WAITING + 1


async def test_the_owner_prunes_the_beginning_and_nothing_else(stage: Stage) -> None:
    there = "SELECT array_agg(leaf_index ORDER BY leaf_index) FROM logs LEFT JOIN log_leaves ON entry_id = id"
    changes = ["DELETE FROM logs", "UPDATE logs SET message = 'x'", "TRUNCATE logs", "DELETE FROM log_leaves"]
    before = await stage.contents()
    async with rolled_back(stage.owner):
        for until, deleted, first in ((0, 0, 0), (-5, 0, 0), (100, 100, 100), (60, 0, 100), (101, 1, 101)):
            assert await stage.owner.fetchval("SELECT prune_logs($1)", until) == deleted
            assert await stage.owner.fetchval(there) == [*range(first, IN_THE_TREE), *[None] * WAITING]
            assert await stage.owner.fetchval("SELECT size FROM log_pruned") == first
            assert await not_refused(stage.owner, changes, asyncpg.RaiseError) == {}
        assert await stage.owner.fetchval("SELECT prune_logs(100000)") == IN_THE_TREE - 101
        assert await stage.owner.fetchval(there) == [None] * WAITING  # what waits is in no tree
        assert await stage.owner.fetchval("SELECT count(*) FROM log_leaves") == IN_THE_TREE
    assert await stage.contents() == before


@asynccontextmanager
async def rolled_back(connection: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[None]:
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


# --- who is given what -----------------------------------------------------------------------------------------------

PRIVILEGES: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
LESS: Final = {
    "logs": {"SELECT", "INSERT"},
    "log_leaves": {"SELECT", "INSERT"},
    "log_nodes": {"SELECT", "INSERT"},
    "log_checkpoints": {"SELECT", "INSERT"},
    "log_client_ips": {"SELECT", "INSERT", "DELETE"},
    "log_queue": {"SELECT", "INSERT", "DELETE"},
    "log_head": {"SELECT", "UPDATE"},
    "log_pruned": {"SELECT"},
    "log_keys": {"SELECT", "INSERT", "UPDATE"},
    "signing_keys": {"SELECT", "INSERT", "UPDATE"},
    "feed_head": {"SELECT", "UPDATE"},
    "alembic_version": {"SELECT"},
}
EXPECTED: Final = {
    table: LESS.get(table, {"SELECT", "INSERT", "UPDATE", "DELETE"}) for table in (*metadata.tables, "alembic_version")
}


async def privileges(guarded: Guarded, role: str | None = None) -> dict[str, set[str]]:
    """What the role of the service, or another, may do with each table, or with a column of it."""
    asked = (
        "SELECT tablename, privilege FROM pg_tables, unnest($2::text[]) AS privilege WHERE schemaname = 'ubr'"
        " AND (has_table_privilege($1, tablename, privilege) OR CASE WHEN privilege IN ('SELECT', 'INSERT', 'UPDATE',"
        " 'REFERENCES') THEN has_any_column_privilege($1, tablename, privilege) END)"
    )
    found: dict[str, set[str]] = {}
    async with guarded.connection() as connection:
        for table, privilege in await connection.fetch(asked, role or guarded.service, PRIVILEGES):
            found.setdefault(table, set()).add(privilege)
    return found


async def may_prune(guarded: Guarded, role: str) -> bool:
    async with guarded.connection() as connection:
        may = await connection.fetchval("SELECT has_function_privilege($1, 'prune_logs(bigint)', 'EXECUTE')", role)
    return bool(may)


async def test_a_role_gets_what_the_service_needs_and_no_more_however_often_it_is_given(guarded: Guarded) -> None:
    await asyncio.gather(*(upgrade(guarded.owner_url, service=guarded.service) for _ in range(3)))
    assert await upgrade(guarded.owner_url, service=guarded.service) == ()
    assert await privileges(guarded) == EXPECTED
    assert not await may_prune(guarded, guarded.service)
    assert await may_prune(guarded, guarded.owner)


async def test_a_role_that_is_given_everything_by_default_does_not_keep_it(guarded: Guarded) -> None:
    owner, service = quoted(guarded.owner), quoted(guarded.service)
    await guarded.run(
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON TABLES TO {service}",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON FUNCTIONS TO {service}",
    )
    await upgrade(guarded.owner_url, service=guarded.service)
    assert await privileges(guarded) == EXPECTED
    assert not await may_prune(guarded, guarded.service)


async def test_a_role_that_could_do_more_before_cannot_any_more(stage: Stage) -> None:
    service = quoted(stage.guarded.service)
    await stage.guarded.run(
        f"GRANT ALL ON ALL TABLES IN SCHEMA ubr TO {service} WITH GRANT OPTION",
        f"GRANT UPDATE (message), REFERENCES (id) ON logs TO {service}",
        f"GRANT EXECUTE ON FUNCTION prune_logs(bigint) TO {service}",
    )
    assert (await privileges(stage.guarded))["logs"] == set(PRIVILEGES)
    assert await may_prune(stage.guarded, stage.guarded.service)
    await upgrade(stage.guarded.owner_url, service=stage.guarded.service)
    assert await privileges(stage.guarded) == EXPECTED
    assert not await may_prune(stage.guarded, stage.guarded.service)


async def test_a_role_may_have_any_name(stage: Stage) -> None:
    role = f'{stage.guarded.name} and :more $1 "'
    await stage.guarded.run(f"CREATE ROLE {quoted(role)}")
    try:
        await upgrade(stage.guarded.owner_url, service=role)
        assert await privileges(stage.guarded, role) == EXPECTED
    finally:
        await stage.guarded.run(f"DROP OWNED BY {quoted(role)}", f"DROP ROLE {quoted(role)}")


async def test_a_url_that_names_no_role_is_refused_before_anything_is_done(guarded: Guarded) -> None:
    for url in ("postgresql://localhost/ubr", "postgresql+asyncpg://:secret@localhost/ubr", "sqlite:///file.db"):
        with pytest.raises(ValueError, match="role") as refusal:
            role_of(url)
        assert "secret" not in str(refusal.value)
        with pytest.raises(ValueError, match="role"):
            await migrate(guarded.settings(database_url=url))
    assert await check(guarded.owner_url) is SchemaState.EMPTY


# --- the service, as that role ---------------------------------------------------------------------------------------


@pytest.mark.system(seconds=5)
async def test_everything_the_service_does_it_can_do_as_a_role_that_owns_nothing(guarded: Guarded) -> None:
    clock = MovableClock()
    async with connect(guarded.settings(), clock=clock) as ubr:
        world = World(ubr, clock)
        await people_come_and_go(ubr, world)
        await keys_change(ubr)
        await the_log_is_kept(ubr)
        member = await world.user(email="last@example.org")
        settled = await ubr.acknowledge_restore(AcknowledgeRestoreCommand(), actor=SYSTEM)
        assert settled.sessions > 0
        assert not await world.alive(member.tokens)
        assert (await ubr.list_log_keys(actor=SYSTEM))[0].key == settled.key
        await world.logged_in("last@example.org")
    clock.move(days=100)
    async with open_environment(guarded.settings(), clock=clock) as environment:
        assert await environment.janitor() > 0
        await environment.denials.settle(everything=True)
        verified = await environment.application.verify_log(VerifyLogCommand(), actor=SYSTEM)
        assert (verified.finding, verified.signer) == (None, settled.key)
        async with guarded.connection() as connection:
            by = await connection.fetch("SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name = 'ubr'")
        assert {guarded.service} == {row["usename"] for row in by if str(row["usename"]).startswith(guarded.name)}


async def people_come_and_go(ubr: Application, world: World) -> None:
    await ubr.create_admin(CreateAdminCommand(email="admin@example.org", password=PASSWORD), actor=SYSTEM)
    admin = (await world.logged_in("admin@example.org")).actor
    member = await world.user(email="member@example.org")
    with pytest.raises(InvalidCredentials):
        await ubr.log_in(LogInCommand(email="member@example.org", password=OTHER_PASSWORD))
    with pytest.raises(Forbidden):
        await ubr.list_logs(ListLogsCommand(), actor=member.actor)
    tokens = await world.refresh(member.tokens.refresh_token)
    change = ChangePasswordCommand(current_password=PASSWORD, new_password=OTHER_PASSWORD)
    await ubr.change_password(change, actor=await ubr.authenticate(tokens.access_token))

    role = await world.role("users:read")
    await ubr.update_role(UpdateRoleCommand(role_id=role.id, changes=RoleChanges(name="reader")), actor=admin)
    await world.assign(member.id, "reader", actor=admin)
    assert len((await ubr.list_user_roles(ListUserRolesCommand(user_id=member.id), actor=admin)).items) == 2
    await ubr.unassign_role(UnassignRoleCommand(user_id=member.id, role="reader"), actor=admin)
    await ubr.delete_role(DeleteRoleCommand(role_id=role.id), actor=admin)
    assert len((await ubr.list_roles(ListRolesCommand(), actor=admin)).items) > 1

    command = CreateUserCommand(email="made@example.org", password=PASSWORD)
    made = await ubr.create_user(command, actor=admin, idempotency_key=IdempotencyKey("a-key"))
    await world.set_status(made.id, UserStatus.DISABLED, actor=admin)
    await ubr.delete_user(DeleteUserCommand(user_id=made.id), actor=admin)
    assert len((await ubr.list_users(ListUsersCommand(), actor=admin)).items) == 2

    sessions = [await world.logged_in("member@example.org", OTHER_PASSWORD) for _ in range(4)]
    one = sessions[0].actor
    await ubr.log_out(actor=sessions[1].actor)
    await ubr.revoke_session(RevokeSessionCommand(session_id=sessions[2].actor.session_id), actor=one)
    await ubr.revoke_other_sessions(actor=one)
    assert len((await ubr.list_sessions(ListSessionsCommand(user_id=member.id), actor=one)).items) == 1
    await ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=member.id), actor=admin)
    assert not await world.alive(sessions[0].tokens)
    verifier = uuid4()
    followed = await ubr.follow_revocations(FollowRevocationsCommand(verifier=verifier), actor=admin)
    assert followed.number > 0
    await ubr.stop_following_revocations(StopFollowingRevocationsCommand(verifier=verifier), actor=admin)


async def keys_change(ubr: Application) -> None:
    await ubr.initialize()
    await ubr.check_health()
    new = await ubr.rotate_signing_key(actor=SYSTEM)
    await ubr.revoke_signing_key(RevokeSigningKeyCommand(kid=new.kid), actor=SYSTEM)
    await ubr.rewrap_signing_keys(actor=SYSTEM)
    assert len(await ubr.list_signing_keys(actor=SYSTEM)) == 2


async def the_log_is_kept(ubr: Application) -> None:
    before = (await ubr.get_checkpoint(actor=SYSTEM)).note
    page = await ubr.list_logs(ListLogsCommand(limit=200), actor=SYSTEM)
    assert "act.refused" in {entry.action for entry in page.items}
    proof = await ubr.prove_log_entry(ProveLogEntryCommand(entry_id=page.items[0].id), actor=SYSTEM)
    assert proof.size >= len(page.items)
    lines: list[str] = []
    exported = await ubr.export_log(lines.append, actor=SYSTEM)
    assert len(lines) > exported.size
    rotated = await ubr.rotate_log_key(actor=SYSTEM)
    newest, *_ = await ubr.list_log_keys(actor=SYSTEM)
    assert newest.key == rotated.key
    await ubr.compare_checkpoint(CompareCheckpointCommand(checkpoint=before), actor=SYSTEM)
    verified = await ubr.verify_log(VerifyLogCommand(checkpoints=(before,)), actor=SYSTEM)
    assert (verified.finding, verified.signer, verified.unsigned) == (None, rotated.key, 0)


async def test_the_owner_prunes_old_entries_and_the_service_cannot(guarded: Guarded) -> None:
    clock = MovableClock()
    async with connect(guarded.settings(), clock=clock) as ubr:
        await World(ubr, clock).register()
        old = (await ubr.get_checkpoint(actor=SYSTEM)).size
        clock.move(days=400)
        command = PruneLogCommand(before=clock(), force=True)
        with pytest.raises(StoreUnavailable, match="lacks a privilege"):
            await ubr.prune_log(command, actor=SYSTEM)
        assert (await ubr.verify_log(VerifyLogCommand(), actor=SYSTEM)).pruned == 0
    async with connect(guarded.settings(database_url=guarded.owner_url, migrate="check"), clock=clock) as ubr:
        pruned = await ubr.prune_log(command, actor=SYSTEM)
        assert (pruned.entries, pruned.size) == (old, old)
        await ubr.get_checkpoint(actor=SYSTEM)
        verified = await ubr.verify_log(VerifyLogCommand(), actor=SYSTEM)
        assert (verified.finding, verified.pruned) == (None, old)


async def test_the_owner_is_not_deprived_by_settings_in_which_it_is_the_service_as_well(guarded: Guarded) -> None:
    """`ubr audit prune` makes such settings, and where the schema is brought up by itself it is brought up by them."""
    await migrate(guarded.settings())
    with suppress(ValueError):
        await migrate(guarded.settings(database_url=guarded.owner_url))
    async with guarded.connection(guarded.owner) as connection:
        assert await connection.fetchval("SELECT prune_logs(0)") == 0
    await downgrade(guarded.owner_url, "0003")
    assert (await upgrade(guarded.owner_url))[0] == "0004"


# --- a database of the version before --------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ubr.db'}"
    new_database: NewDatabase = request.getfixturevalue("new_database")
    return new_database(migrated=False)


FIRST_COLUMNS = [column for column in logs.c if column.name != "session_id"]
"""The columns of the log in every version."""


async def stored_entries(url: str) -> list[LogEntry]:
    engine = make_engine(url)
    async with engine.connect() as connection:
        rows = (await connection.execute(select(*FIRST_COLUMNS).order_by(logs.c.id))).all()
    await engine.dispose()
    return [entry_from_row(row) for row in rows]


async def write_entries(url: str, count: int) -> list[LogEntry]:
    """As the version before did."""
    entries = RECORDER.entries((something_happened() for _ in range(count)), actor=SYSTEM, now=NOON)
    rows = [entry_to_row(entry) for entry in entries]
    for row in rows:
        del row["session_id"]
    engine = make_engine(url)
    async with engine.begin() as connection:
        await connection.execute(insert(logs), rows)
    await engine.dispose()
    return sorted(entries, key=lambda entry: entry.id)


async def test_entries_from_before_the_tree_are_added_to_it(url: str) -> None:
    await upgrade(url, "0003")
    entries = await write_entries(url, 300)
    assert (await upgrade(url))[0] == "0004"
    uow, dispose = units(url)
    async with uow.read() as tx:
        assert await tx.log_tree.waiting(ALL) == entries
        assert await tx.log_records.leaves(0, ALL) == []
    await put(uow, something_happened())

    assert await sequence(uow) == 301

    async with uow.read() as tx:
        assert await tx.log_tree.waiting(ALL) == []
        there = await tx.log_records.leaves(0, ALL)
        assert sorted(leaf.entry_id for leaf in there) == sorted(entry.id for entry in await stored_entries(url))
        assert {entry.id for entry in entries} < {leaf.entry_id for leaf in there}
    verified = await VerifyLog(uow, SIGNING.verify, denials_in(uow))(VerifyLogCommand(), actor=SYSTEM)
    assert (verified.finding, verified.size) == (None, 301)
    await dispose()


async def test_the_log_outlives_the_way_down_and_up_again(url: str) -> None:
    await upgrade(url)
    uow, dispose = units(url)
    await put(uow, *(something_happened() for _ in range(10)))
    await sequence(uow)
    async with uow.begin(SYSTEM) as tx:
        assert await tx.log_records.prune(3) == 3
        await tx.commit()
    await put(uow, something_happened())
    await dispose()
    entries = await stored_entries(url)
    assert len(entries) == 8

    await downgrade(url, "0003")

    assert await stored_entries(url) == entries
    engine = make_engine(url)
    for change in ("UPDATE logs SET message = 'x'", "DELETE FROM logs"):  # it is guarded as it was
        with pytest.raises(DBAPIError, match="only ever added"):
            async with engine.begin() as connection:
                await connection.execute(text(change))
    await engine.dispose()
    late = await write_entries(url, 2)

    assert (await upgrade(url))[0] == "0004"

    expected = sorted([*entries, *late], key=lambda entry: entry.id)
    assert await stored_entries(url) == expected
    uow, dispose = units(url)
    assert await seen(uow, lambda tx: tx.log_tree.waiting(ALL)) == expected
    assert await sequence(uow) == 10
    assert (await VerifyLog(uow, SIGNING.verify, denials_in(uow))(VerifyLogCommand(), actor=SYSTEM)).finding is None
    await dispose()


# --- who may not even read -------------------------------------------------------------------------------------------


@asynccontextmanager
async def stranger(guarded: Guarded) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A role that may connect, and nothing else."""
    name = quoted(f"{guarded.name}_stranger")
    guarded.server.query(f"CREATE ROLE {name} LOGIN PASSWORD '{guarded.password}'")
    try:
        async with guarded.connection(f"{guarded.name}_stranger") as connection:
            yield connection
    finally:
        await guarded.run(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


OLD_LOCKS = (0x7562_722D_7472_6565, 0x7562_722D_6D69_6772)
"""What the tree and the migrations were locked by."""


async def test_a_role_that_may_only_connect_stops_neither_the_log_nor_a_migration(guarded: Guarded) -> None:
    async with stranger(guarded) as connection:
        for lock in OLD_LOCKS:
            await connection.execute("SELECT pg_advisory_lock($1)", lock)
        await migrate(guarded.settings())
        await guarded.run(f"GRANT USAGE ON SCHEMA ubr TO {quoted(f'{guarded.name}_stranger')}")  # as a reporting tool
        uow, dispose = units(guarded.service_url)
        await put(uow, something_happened(), something_happened())
        assert await sequence(uow) == 2
        async with uow.begin(SYSTEM) as tx:
            await asyncio.wait_for(tx.log_tree.lead(wait=True), PROMPT)
        await dispose()
        for table in ("log_head", "log_queue", "log_keys", "signing_keys", "feed_head", "alembic_version"):
            for mode in ("ACCESS SHARE", "ROW SHARE", "SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    async with connection.transaction():
                        await connection.execute(f"LOCK TABLE {table} IN {mode} MODE")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"SELECT FROM {table} FOR UPDATE")
