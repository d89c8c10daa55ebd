"""Hooks of a host: alike on every store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support.papers import program
from tests.support.plugin import NewDatabase
from ubr import (
    SYSTEM,
    Application,
    AssignRoleCommand,
    CreateRoleCommand,
    CreateUserCommand,
    DeleteUserCommand,
    Extensions,
    GetUserByEmailCommand,
    GetUserCommand,
    HookedUnit,
    Hooks,
    IdempotencyKey,
    ListLogsCommand,
    LogInBrowserCommand,
    LogInCommand,
    RegisterUserCommand,
    Settings,
    UnassignRoleCommand,
    UpdateUserCommand,
    UserChanges,
    connect,
    errors,
    events,
)
from ubr.adapters.sql.migrations import upgrade
from ubr.application.kernel import hooks as kernel
from ubr.bootstrap.extensions import hooked
from ubr.testing import TINY_HASHING, Double, in_memory

EMAIL, PASSWORD = "reader@example.org", "correct horse battery staple 8"
NEW = RegisterUserCommand(email=EMAIL, password=PASSWORD)


class NotInvited(errors.Forbidden):
    code = "not-invited"
    title = "This e-mail is not invited"


def _dsn(url: str) -> str:
    return url.replace("postgresql+asyncpg", "postgresql")


@dataclass
class Host:
    """A program with a table of its own."""

    url: str
    hooks: Hooks = field(default_factory=Hooks)
    kept: list[str] = field(default_factory=list)
    """The rows of a host without a database."""

    async def note(self, unit: HookedUnit, word: str) -> None:
        """Write a row in the transaction of the hook."""
        if unit.connection is None:
            self.kept.append(word)
        elif self.url.startswith("sqlite"):
            await unit.connection.execute(text("INSERT INTO notes VALUES (:word)"), {"word": word})
        else:
            await unit.connection.execute("INSERT INTO public.notes VALUES ($1)", word)

    async def notes(self) -> list[str]:
        if self.url == "memory":
            return self.kept
        if self.url.startswith("sqlite"):
            engine = create_async_engine(self.url.replace("sqlite", "sqlite+aiosqlite"))
            async with engine.connect() as connection:
                found = [row[0] for row in await connection.execute(text("SELECT word FROM notes"))]
            await engine.dispose()
            return found
        postgresql = await asyncpg.connect(_dsn(self.url))
        found = [row[0] for row in await postgresql.fetch("SELECT word FROM public.notes")]
        await postgresql.close()
        return found

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Application]:
        extensions = Extensions(hooks=self.hooks)
        if self.url == "memory":
            async with in_memory(extensions=extensions) as (ubr, _):
                yield ubr
            return
        settings = Settings.memory(database_url=self.url, migrate="check", **TINY_HASHING)
        async with connect(settings, extensions=extensions) as ubr:
            yield ubr


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def host(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Host]:
    table = "CREATE TABLE notes (word text PRIMARY KEY)"
    if request.param == "memory":
        yield Host("memory")
    elif request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'ubr.db'}"
        await upgrade(url)
        engine = create_async_engine(url.replace("sqlite", "sqlite+aiosqlite"))
        async with engine.begin() as sqlite:
            await sqlite.execute(text(table))
        await engine.dispose()
        yield Host(url)
    else:
        new_database: NewDatabase = request.getfixturevalue("new_database")
        url = new_database()
        postgresql = await asyncpg.connect(_dsn(url))
        await postgresql.execute(table.replace("notes", "public.notes"))
        await postgresql.close()
        yield Host(url)


async def exists(ubr: Application) -> bool:
    try:
        await ubr.get_user_by_email(GetUserByEmailCommand(email=EMAIL), actor=SYSTEM)
    except errors.UserNotFound:
        return False
    return True


async def actions(ubr: Application) -> list[str]:
    return [entry.action for entry in (await ubr.list_logs(ListLogsCommand(), actor=SYSTEM)).items]


async def test_a_hook_before_refuses_the_act(host: Host) -> None:
    seen: list[RegisterUserCommand] = []

    @host.hooks.before(RegisterUserCommand)
    async def invited(command: RegisterUserCommand, actor: object) -> None:
        seen.append(command)
        if not command.email.endswith("@example.com"):
            raise NotInvited

    async with host.opened() as ubr:
        with pytest.raises(NotInvited):
            await ubr.register_user(NEW)
        assert seen == [NEW]
        assert not await exists(ubr)
        assert "user.registered" not in await actions(ubr)
        await ubr.register_user(RegisterUserCommand(email="a@example.com", password=PASSWORD))


async def test_a_hook_within_writes_rows_that_commit_with_the_act(host: Host) -> None:
    @host.hooks.within(events.UserRegistered)
    async def noted(event: events.UserRegistered, unit: HookedUnit) -> None:
        assert unit.actor is SYSTEM
        await host.note(unit, str(event.user_id))

    async with host.opened() as ubr:
        user = await ubr.register_user(NEW, actor=SYSTEM)
        await ubr.create_user(CreateUserCommand(email="other@example.org"), actor=SYSTEM)
    assert await host.notes() == [str(user.id)]


async def test_an_error_within_rolls_everything_back(host: Host) -> None:
    after: list[events.UserRegistered] = []

    @host.hooks.within(events.UserRegistered)
    async def noted(event: events.UserRegistered, unit: HookedUnit) -> None:
        if host.url != "memory":  # which has no rows of the host
            await host.note(unit, "lost")
        raise NotInvited

    @host.hooks.after(events.UserRegistered)
    async def told(event: events.UserRegistered, actor: object) -> None:
        after.append(event)

    async with host.opened() as ubr:
        with pytest.raises(NotInvited):
            await ubr.register_user(NEW)
        assert not await exists(ubr)
        assert "user.registered" not in await actions(ubr)
        await ubr.create_user(CreateUserCommand(email=EMAIL), actor=SYSTEM)
    assert await host.notes() == []
    assert after == []


async def test_a_bug_within_rolls_everything_back(host: Host) -> None:
    @host.hooks.within(events.UserRegistered)
    async def broken(event: events.UserRegistered, unit: HookedUnit) -> None:
        await host.note(unit, "twice")
        await host.note(unit, "twice")
        raise ZeroDivisionError

    async with host.opened() as ubr:
        for _ in range(10):  # more often than there are connections
            with pytest.raises(Exception, match=r"(?i)unique|duplicate|^$"):
                await ubr.register_user(NEW, actor=SYSTEM)
        assert not await exists(ubr)
        await ubr.create_user(CreateUserCommand(email=EMAIL), actor=SYSTEM)
    if host.url != "memory":
        assert await host.notes() == []


async def test_a_hook_after_sees_the_committed_act(host: Host) -> None:
    seen: list[tuple[str, bool]] = []

    @host.hooks.after(events.UserRegistered)
    async def told(event: events.UserRegistered, actor: object) -> None:
        user = await ubr.get_user(GetUserCommand(user_id=event.user_id), actor=SYSTEM)
        seen.append((user.email, actor is SYSTEM))

    async with host.opened() as ubr:
        await ubr.register_user(NEW, actor=SYSTEM)
    assert seen == [(EMAIL, True)]


async def test_a_hook_after_runs_for_acts_that_end_something(host: Host) -> None:
    seen: list[events.RoleAssigned] = []

    @host.hooks.after(events.RoleAssigned)
    async def told(event: events.RoleAssigned, actor: object) -> None:
        seen.append(event)

    async with host.opened() as ubr:
        user = await ubr.register_user(NEW, actor=SYSTEM)
        role = await ubr.create_role(CreateRoleCommand(name="editor", permissions=[]), actor=SYSTEM)
        await ubr.assign_role(AssignRoleCommand(user_id=user.id, role="editor"), actor=SYSTEM)
    assert [(event.user_id, event.role_id) for event in seen] == [(user.id, role.id)]


async def test_a_conflict_of_a_hook_repeats_the_act(new_database: NewDatabase) -> None:
    host, attempts = Host(new_database()), list[object]()

    @host.hooks.within(events.UserRegistered)
    async def conflicting(event: events.UserRegistered, unit: HookedUnit) -> None:
        attempts.append(event)
        if len(attempts) == 1:
            await unit.connection.execute("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$")

    async with host.opened() as ubr:
        await ubr.register_user(NEW, actor=SYSTEM)
        assert await exists(ubr)
    assert len(attempts) == 2


async def test_in_a_transaction_of_the_host_its_hooks_work_within_and_none_after(new_database: NewDatabase) -> None:
    host, seen = Host(new_database()), list[str]()

    @host.hooks.within(events.UserCreated)
    async def noted(event: events.UserCreated, unit: HookedUnit) -> None:
        seen.append(await unit.connection.fetchval("SELECT text FROM mine"))

    @host.hooks.after(events.UserCreated)
    async def told(event: events.UserCreated, actor: object) -> None:
        seen.append("after")

    connection = await asyncpg.connect(_dsn(host.url))
    async with host.opened() as ubr, connection.transaction():
        await connection.execute("CREATE TEMPORARY TABLE mine ON COMMIT DROP AS SELECT 'within' AS text")
        await ubr.within(connection).create_user(CreateUserCommand(email=EMAIL), actor=SYSTEM)
    await connection.close()
    assert seen == ["within"]


async def test_an_error_after_is_logged_and_changes_nothing(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[events.Event] = []

    @host.hooks.after(events.UserRegistered)
    async def broken(event: events.UserRegistered, actor: object) -> None:
        raise ZeroDivisionError

    @host.hooks.after(events.Event)
    async def told(event: events.Event, actor: object) -> None:
        seen.append(event)

    async with host.opened() as ubr:
        await ubr.register_user(NEW, actor=SYSTEM)
        assert await exists(ubr)
    assert "A hook after user.registered failed" in caplog.text
    assert any(isinstance(event, events.UserRegistered) for event in seen)


async def test_each_named_act_has_a_hook_before_it() -> None:
    hooks, seen = Hooks(), list[str]()

    async def told(command: object, actor: object) -> None:
        seen.append(type(command).__name__)

    for kind in hooked():
        hooks.before(kind)(told)
    async with in_memory(extensions=Extensions(hooks=hooks)) as (ubr, _):
        await ubr.register_user(NEW, actor=SYSTEM)
        user = await ubr.create_user(CreateUserCommand(email="b@example.org", password=PASSWORD), actor=SYSTEM)
        await ubr.create_role(CreateRoleCommand(name="editor", permissions=[]), actor=SYSTEM)
        await ubr.assign_role(AssignRoleCommand(user_id=user.id, role="editor"), actor=SYSTEM)
        await ubr.unassign_role(UnassignRoleCommand(user_id=user.id, role="editor"), actor=SYSTEM)
        changes = UserChanges(full_name="A Reader")
        await ubr.update_user(UpdateUserCommand(user_id=user.id, changes=changes), actor=SYSTEM)
        await ubr.log_in(LogInCommand(email=EMAIL, password=PASSWORD))
        await ubr.log_in_browser(LogInBrowserCommand(email=EMAIL, password=PASSWORD))
        await ubr.delete_user(DeleteUserCommand(user_id=user.id), actor=SYSTEM)
    assert sorted(seen) == sorted(kind.__name__ for kind in hooked())


def test_a_hook_that_would_never_run_is_refused_at_the_start() -> None:
    hooks = Hooks()

    @hooks.before(CreateRoleCommand)
    async def never(command: CreateRoleCommand, actor: object) -> None:
        raise NotInvited

    with pytest.raises(TypeError, match="No hook runs before CreateRoleCommand"):
        Extensions(hooks=hooks)


@pytest.mark.parametrize("place", ["before", "within"])
async def test_a_hook_that_takes_too_long_refuses_the_act(
    host: Host, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "HOOK_TIMEOUT", 0.05)

    async def endless(*_: object) -> None:
        await asyncio.Event().wait()

    async with AsyncExitStack() as stack:
        if place == "before":
            host.hooks.before(RegisterUserCommand)(endless)
        else:
            host.hooks.within(events.UserRegistered)(endless)
        ubr = await stack.enter_async_context(host.opened())
        with pytest.raises(errors.Unavailable, match="took too long"):
            await ubr.register_user(NEW, actor=SYSTEM)
        assert not await exists(ubr)
        await ubr.create_user(CreateUserCommand(email=EMAIL), actor=SYSTEM)


async def test_a_time_out_of_the_hook_itself_stays_one() -> None:
    hooks = Hooks()

    @hooks.before(RegisterUserCommand)
    async def slow(command: RegisterUserCommand, actor: object) -> None:
        raise TimeoutError

    async with in_memory(extensions=Extensions(hooks=hooks)) as (ubr, _):
        with pytest.raises(TimeoutError):
            await ubr.register_user(NEW)


def test_an_error_of_the_host_is_a_problem_over_http() -> None:
    hooks = Hooks()

    @hooks.before(RegisterUserCommand)
    async def invited(command: RegisterUserCommand, actor: object) -> None:
        raise NotInvited

    with Double(extensions=Extensions(hooks=hooks)) as double:
        answer = double.http_sync.post("/api/auth/register", json={"email": EMAIL, "password": PASSWORD})
    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["title"] == "This e-mail is not invited"
    assert answer.json()["type"].endswith("/not-invited")


async def test_an_idempotent_retry_is_not_asked_about_again() -> None:
    hooks, asked = Hooks(), list[object]()

    @hooks.before(RegisterUserCommand)
    async def told(command: RegisterUserCommand, actor: object) -> None:
        asked.append(actor)

    async with in_memory(extensions=Extensions(hooks=hooks)) as (ubr, _):
        for _ in range(2):
            await ubr.register_user(NEW, idempotency_key=IdempotencyKey("once"))
    assert asked == [None]


async def test_the_hooks_of_the_page() -> None:
    names = program("docs/extending.md", "hooks.before(")
    async with in_memory(extensions=Extensions(hooks=names["hooks"])) as (ubr, _):
        with pytest.raises(names["NotInvited"]):
            await ubr.register_user(NEW)
        await ubr.register_user(RegisterUserCommand(email="ada@example.com", password=PASSWORD))
