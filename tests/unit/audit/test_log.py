"""Each act writes exactly its entries: who, what, to whom, from where. What failed writes none, and nobody is named."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pytest

from tests.support.people import OTHER_PASSWORD, PASSWORD, Member, World
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.kernel.representations import LogEntryResult, RoleResult
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.roles.delete_role import DeleteRoleCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.application.sessions.log_in import LogInCommand
from ubr.application.sessions.refresh_session import RefreshSessionCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import Invalid, InvalidCredentials
from ubr.domain.events import actions

ORIGIN = Origin(ip="192.0.2.7", user_agent="canary-agent", request_id="req-7", request_id_given=True)
FULL_NAME = "Canary Fullname"


class Stage:
    """An administrator who acts, a member who is acted upon, and a role."""

    def __init__(self, world: World, admin: Member, member: Member, role: RoleResult) -> None:
        self.world, self.ubr, self.admin, self.member, self.role = world, world.ubr, admin, member, role
        self.ids = {
            "admin": str(admin.id),
            "member": str(member.id),
            "session": str(member.actor.session_id),
            "role": str(role.id),
        }

    def named(self, id: object) -> str | None:
        """The name of an id on this stage; `new` for one that came into being just now."""
        names = {id: name for name, id in self.ids.items()}
        return None if id is None else names.get(str(id), "new")


@pytest.fixture
async def stage(world: World) -> Stage:
    made = Stage(
        world, await world.admin(), await world.user(email="canary@example.org"), await world.role(name="editor")
    )
    await world.acts()
    return made


def change(stage: Stage, **changes: Any) -> Awaitable[object]:
    command = UpdateUserCommand(user_id=stage.member.id, changes=UserChanges(**changes))
    return stage.ubr.update_user(command, actor=stage.admin.actor)


def change_role(stage: Stage, **changes: Any) -> Awaitable[object]:
    command = UpdateRoleCommand(role_id=stage.role.id, changes=RoleChanges(**changes))
    return stage.ubr.update_role(command, actor=stage.admin.actor)


async def taken(stage: Stage) -> None:
    await stage.world.assign(stage.member.id, "editor")
    await stage.world.acts()
    command = UnassignRoleCommand(user_id=stage.member.id, role="editor")
    await stage.ubr.unassign_role(command, actor=stage.admin.actor)


async def enabled(stage: Stage) -> None:
    await change(stage, status=UserStatus.DISABLED)
    await stage.world.acts()
    await change(stage, status=UserStatus.ACTIVE)


async def refused(stage: Stage, email: str) -> None:
    with pytest.raises(InvalidCredentials):
        await stage.ubr.log_in(LogInCommand(email=email, password=OTHER_PASSWORD))


async def refreshed_the_next_day(stage: Stage) -> None:
    stage.world.clock.move(days=1)
    await stage.ubr.refresh_session(RefreshSessionCommand(refresh_token=stage.member.tokens.refresh_token))


Entry = tuple[str, str | None, str | None, str | None]  # action, actor, type and name of the target
REVOKED: Entry = ("session.revoked", "admin", "session", "session")
ACTS: dict[str, tuple[Callable[[Stage], Awaitable[object]], list[Entry]]] = {
    "register": (
        lambda s: s.ubr.register_user(
            RegisterUserCommand(email="canary2@example.org", password=PASSWORD, full_name=FULL_NAME)
        ),
        [("user.registered", "new", "user", "new")],
    ),
    "create user": (
        lambda s: s.ubr.create_user(
            CreateUserCommand(email="canary2@example.org", password=PASSWORD, full_name=FULL_NAME, roles=["editor"]),
            actor=s.admin.actor,
        ),
        [("user.created", "admin", "user", "new"), ("role.assigned", "admin", "user", "new")],
    ),
    "create admin": (
        lambda s: s.ubr.create_admin(CreateAdminCommand(email="canary2@example.org", password=PASSWORD), actor=SYSTEM),
        [("user.created", None, "user", "new"), ("role.assigned", None, "user", "new")],
    ),
    "take over": (
        lambda s: s.ubr.create_admin(
            CreateAdminCommand(email="canary@example.org", password=OTHER_PASSWORD, take_over=True), actor=SYSTEM
        ),
        [
            ("user.taken_over", None, "user", "member"),
            ("user.password_changed", None, "user", "member"),
            ("role.assigned", None, "user", "member"),
            ("session.revoked", None, "session", "session"),
        ],
    ),
    "log in": (
        lambda s: s.ubr.log_in(LogInCommand(email="canary@example.org", password=PASSWORD)),
        [("session.opened", "member", "session", "new")],
    ),
    "wrong password": (
        lambda s: refused(s, "canary@example.org"),
        [("session.login_failed", None, "user", "member")],
    ),
    "unknown e-mail": (
        lambda s: refused(s, "canary9@example.org"),
        [("session.login_failed", None, None, None)],
    ),
    "refresh": (
        refreshed_the_next_day,
        [("session.refreshed", "member", "session", "session")],
    ),
    "log out": (
        lambda s: s.ubr.log_out(actor=s.member.actor),
        [("session.revoked", "member", "session", "session")],
    ),
    "revoke": (
        lambda s: s.ubr.revoke_session(RevokeSessionCommand(session_id=s.member.actor.session_id), actor=s.admin.actor),
        [REVOKED],
    ),
    "revoke all": (
        lambda s: s.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=s.member.id), actor=s.admin.actor),
        [REVOKED],
    ),
    "change password": (
        lambda s: s.ubr.change_password(
            ChangePasswordCommand(current_password=PASSWORD, new_password=OTHER_PASSWORD), actor=s.member.actor
        ),
        [("user.password_changed", "member", "user", "member")],
    ),
    "rename": (
        lambda s: change(s, full_name=FULL_NAME),
        [("user.updated", "admin", "user", "member")],
    ),
    "new e-mail": (
        lambda s: change(s, email="canary3@example.org", full_name=FULL_NAME),
        [("user.updated", "admin", "user", "member"), REVOKED],
    ),
    "disable": (
        lambda s: change(s, status=UserStatus.DISABLED),
        [("user.disabled", "admin", "user", "member"), REVOKED],
    ),
    "enable": (enabled, [("user.enabled", "admin", "user", "member")]),
    "delete": (
        lambda s: s.ubr.delete_user(DeleteUserCommand(user_id=s.member.id), actor=s.admin.actor),
        [REVOKED, ("user.deleted", "admin", "user", "member")],
    ),
    "create role": (
        lambda s: s.ubr.create_role(CreateRoleCommand(name="new", permissions=["users:read"]), actor=s.admin.actor),
        [("role.created", "admin", "role", "new")],
    ),
    "change role": (
        lambda s: change_role(s, permissions=["users:read"]),
        [("role.updated", "admin", "role", "role")],
    ),
    "delete role": (
        lambda s: s.ubr.delete_role(DeleteRoleCommand(role_id=s.role.id), actor=s.admin.actor),
        [("role.deleted", "admin", "role", "role")],
    ),
    "assign": (
        lambda s: s.ubr.assign_role(AssignRoleCommand(user_id=s.member.id, role="editor"), actor=s.admin.actor),
        [("role.assigned", "admin", "user", "member")],
    ),
    "unassign": (taken, [("role.unassigned", "admin", "user", "member")]),
}


@pytest.mark.parametrize("name", ACTS)
async def test_each_act_writes_exactly_its_entries(stage: Stage, name: str) -> None:
    act, expected = ACTS[name]
    with calling_from(ORIGIN):
        await act(stage)
    entries = await stage.world.acts()
    found = [
        (
            entry.action,
            stage.named(entry.actor_id),
            entry.target and entry.target.type,
            entry.target and stage.named(entry.target.id),
        )
        for entry in entries
    ]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert {(entry.ip, entry.request_id) for entry in entries} == {("192.0.2.7", "req-7")}
    assert {entry.timestamp for entry in entries} == {stage.world.clock()}
    for entry in entries:
        kind = actions()[entry.action]
        assert (entry.level, entry.message) == (kind.level, kind.message)


@pytest.mark.parametrize("name", ACTS)
async def test_no_entry_names_anybody_or_holds_a_secret(stage: Stage, name: str) -> None:
    with calling_from(ORIGIN):
        await ACTS[name][0](stage)
    text = msgspec.json.encode(await stage.world.acts()).decode().lower()
    for canary in ("canary", "example.org", PASSWORD, OTHER_PASSWORD, "argon2", "ubr_rt_", "eyj", "fullname"):
        assert canary not in text


async def test_changes_carry_before_and_after_of_a_role(stage: Stage) -> None:
    await change_role(stage, permissions=["users:read"], name="reader")
    [entry] = await stage.world.acts()
    assert entry.data == {
        "before": {"name": "editor", "permissions": []},
        "after": {"name": "reader", "permissions": ["users:read"]},
    }


async def test_the_log_names_changed_emails_and_names_without_their_values(stage: Stage) -> None:
    await change(stage, email="canary3@example.org", full_name=FULL_NAME)
    updated = next(entry for entry in await stage.world.acts() if entry.action == "user.updated")
    assert updated.data == {"changed": ["email", "full_name"]}


# --- reading it ------------------------------------------------------------------------------------------------------


async def listed(world: World, **filters: Any) -> list[LogEntryResult]:
    """What is found, without the entries of looking for it."""
    found = await world.ubr.list_logs(ListLogsCommand(limit=200, **filters), actor=SYSTEM)
    return [entry for entry in found.items if (entry.action, entry.actor_id) != ("log.read", None)]


async def test_entries_are_listed_newest_first(stage: Stage) -> None:
    for email in ("a@example.org", "b@example.org"):
        stage.world.clock.move(seconds=1)
        await stage.world.register(email)
    entries = await listed(stage.world)
    assert [entry.timestamp for entry in entries] == sorted((entry.timestamp for entry in entries), reverse=True)
    assert [entry.id for entry in entries] == sorted((entry.id for entry in entries), reverse=True)


async def test_every_filter_counts_and_all_must_hold(stage: Stage) -> None:
    world = stage.world
    world.clock.move(seconds=10)
    start = world.clock()
    await change(stage, full_name="User One")
    world.clock.move(seconds=10)
    await change(stage, status=UserStatus.DISABLED)
    world.clock.move(seconds=10)
    end = world.clock()
    await change_role(stage, name="reader")
    everything = await listed(world)

    async def found(**filters: Any) -> list[str]:
        return [entry.action for entry in await listed(world, **filters)]

    assert await found(since=start) == ["role.updated", "session.revoked", "user.disabled", "user.updated"]
    assert await found(since=start, until=end) == ["session.revoked", "user.disabled", "user.updated"]
    assert await found(since=start, until=start) == []
    assert await found(since=start + timedelta(microseconds=1), until=end) == ["session.revoked", "user.disabled"]
    assert await found(level="warning") == ["user.disabled"]
    assert await found(level="error") == []
    assert await found(action="user.updated") == ["user.updated"]
    assert await found(action="no.such") == []
    assert await found(target_id=str(stage.role.id), since=start) == ["role.updated"]
    assert await found(actor_id=stage.admin.id, since=start, action="user.disabled", level="info") == []
    assert set(await found(actor_id=stage.admin.id, since=start)) == {entry.action for entry in everything[:4]}
    assert await found(actor_id=UUID(int=7)) == []


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize(
    "moment",
    [
        datetime(2030, 1, 1),  # noqa: DTZ001 - without an offset on purpose
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14))),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    ],
)
async def test_a_time_outside_the_calendar_in_utc_is_refused(world: World, name: str, moment: datetime) -> None:
    with pytest.raises(Invalid) as failure:
        await listed(world, **{name: moment})
    assert [flaw.pointer for flaw in failure.value.flaws] == [f"/{name}"]
