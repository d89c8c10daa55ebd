"""Who may do what: the same questions for every use case that asks for a permission."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from uuid import UUID

import pytest

from tests.support.machines import Machines
from tests.support.people import PASSWORD, Member, World, new_world
from tests.support.values import replace
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.erase_user import EraseUserCommand
from ubr.application.accounts.explain_login import ExplainLoginCommand
from ubr.application.accounts.export_user import ExportUserCommand
from ubr.application.accounts.get_user import GetUserCommand
from ubr.application.accounts.get_user_by_email import GetUserByEmailCommand
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.unlock_user import UnlockUserCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.app import UseCases
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.audit.prove_log_entry import ProveLogEntryCommand
from ubr.application.kernel.representations import RoleResult
from ubr.application.machines.create_machine import CreateMachineCommand
from ubr.application.machines.create_machine_key import CreateMachineKeyCommand, KeyToCreate
from ubr.application.machines.delete_machine import DeleteMachineCommand
from ubr.application.machines.get_machine import GetMachineCommand
from ubr.application.machines.list_machine_keys import ListMachineKeysCommand
from ubr.application.machines.list_machines import ListMachinesCommand
from ubr.application.machines.revoke_machine_key import RevokeMachineKeyCommand
from ubr.application.machines.rotate_machine_key import KeyRotation, RotateMachineKeyCommand
from ubr.application.machines.update_machine import MachineChanges, UpdateMachineCommand
from ubr.application.revocation.follow_revocations import FollowRevocationsCommand
from ubr.application.revocation.stop_following_revocations import StopFollowingRevocationsCommand
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.roles.delete_role import DeleteRoleCommand
from ubr.application.roles.get_role import GetRoleCommand
from ubr.application.roles.list_roles import ListRolesCommand
from ubr.application.roles.list_user_roles import ListUserRolesCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import Forbidden, InvalidToken, Unauthenticated, UserNotFound
from ubr.domain.ids import SessionId, UserId
from ubr.domain.roles.permissions import BUILT_IN_PERMISSIONS

Anyone = Actor | System


@dataclass(frozen=True, slots=True)
class Scene:
    """Somebody and something that is acted upon."""

    world: World
    target: Member
    role: RoleResult
    machine_id: UUID
    key_id: UUID


Act = Callable[[Scene, Anyone], Awaitable[object]]


async def set_in(world: World) -> Scene:
    machine, key = await Machines(world).working()
    return Scene(world, await world.user(), await world.role(), machine.id, key.key.id)


@pytest.fixture
async def scene(world: World) -> Scene:
    return await set_in(world)


@pytest.fixture(scope="module")
async def lasting() -> AsyncIterator[Scene]:
    """One for all whose acts are refused: they leave it as it is, but for the members and roles that they bring."""
    async with new_world() as world:
        yield await set_in(world)


@pytest.fixture
async def scene_of(end: str, lasting: Scene) -> AsyncIterator[Scene]:
    """The lasting one, but for whoever waits so long that the sessions of others end too."""
    if end != "idle":
        yield lasting
        return
    async with new_world() as world:
        yield await set_in(world)


def update(scene: Scene, who: Anyone, changes: UserChanges) -> Awaitable[object]:
    return scene.world.ubr.update_user(UpdateUserCommand(user_id=scene.target.id, changes=changes), actor=who)


def create_user(
    scene: Scene, who: Anyone, *, password: str | None = None, roles: Sequence[str] = ()
) -> Awaitable[object]:
    command = CreateUserCommand(email="new@example.org", password=password, roles=list(roles))
    return scene.world.ubr.create_user(command, actor=who)


async def prove_entry(scene: Scene, who: Anyone) -> None:
    [entry] = (await scene.world.ubr.list_logs(ListLogsCommand(limit=1), actor=SYSTEM)).items
    await scene.world.ubr.prove_log_entry(ProveLogEntryCommand(entry_id=entry.id), actor=who)


ACTS: dict[str, tuple[set[str], Act]] = {
    "get_user": (
        {"users:read"},
        lambda s, who: s.world.ubr.get_user(GetUserCommand(user_id=s.target.id), actor=who),
    ),
    "get_user_by_email": (
        {"users:read"},
        lambda s, who: s.world.ubr.get_user_by_email(GetUserByEmailCommand(email=s.target.email), actor=who),
    ),
    "list_users": ({"users:read"}, lambda s, who: s.world.ubr.list_users(ListUsersCommand(), actor=who)),
    "list_user_roles": (
        {"users:read"},
        lambda s, who: s.world.ubr.list_user_roles(ListUserRolesCommand(user_id=s.target.id), actor=who),
    ),
    "create_user": ({"users:write"}, create_user),
    "create_user with a password": ({"users:write"}, lambda s, who: create_user(s, who, password=PASSWORD)),
    "create_user with roles": (
        {"users:write", "roles:assign"},
        lambda s, who: create_user(s, who, roles=[s.role.name]),
    ),
    "create_user with all": (
        {"users:write", "roles:assign"},
        lambda s, who: create_user(s, who, roles=[s.role.name], password=PASSWORD),
    ),
    "update_user's name": ({"users:write"}, lambda s, who: update(s, who, UserChanges(full_name="User One"))),
    "update_user's e-mail": ({"users:write"}, lambda s, who: update(s, who, UserChanges(email="x@example.org"))),
    "update_user's status": ({"users:write"}, lambda s, who: update(s, who, UserChanges(status=UserStatus.DISABLED))),
    "delete_user": (
        {"users:delete"},
        lambda s, who: s.world.ubr.delete_user(DeleteUserCommand(user_id=s.target.id), actor=who),
    ),
    "erase_user": (
        {"users:erase"},
        lambda s, who: s.world.ubr.erase_user(EraseUserCommand(user_id=s.target.id), actor=who),
    ),
    "unlock_user": (
        {"users:write"},
        lambda s, who: s.world.ubr.unlock_user(UnlockUserCommand(user_id=s.target.id), actor=who),
    ),
    "explain_login": (
        {"users:read", "logs:read"},
        lambda s, who: s.world.ubr.explain_login(ExplainLoginCommand(email=s.target.email), actor=who),
    ),
    "explain_login of a user": (
        {"users:read", "logs:read"},
        lambda s, who: s.world.ubr.explain_login(ExplainLoginCommand(user_id=s.target.id), actor=who),
    ),
    "export_user": (
        {"users:read", "sessions:read", "logs:read"},
        lambda s, who: s.world.ubr.export_user(ExportUserCommand(user_id=s.target.id), actor=who),
    ),
    "list_sessions": (
        {"sessions:read"},
        lambda s, who: s.world.ubr.list_sessions(ListSessionsCommand(user_id=s.target.id), actor=who),
    ),
    "revoke_session": (
        {"sessions:revoke"},
        lambda s, who: s.world.ubr.revoke_session(
            RevokeSessionCommand(session_id=s.target.actor.session_id), actor=who
        ),
    ),
    "revoke_user_sessions": (
        {"sessions:revoke"},
        lambda s, who: s.world.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=s.target.id), actor=who),
    ),
    "list_roles": ({"roles:read"}, lambda s, who: s.world.ubr.list_roles(ListRolesCommand(), actor=who)),
    "get_role": ({"roles:read"}, lambda s, who: s.world.ubr.get_role(GetRoleCommand(role_id=s.role.id), actor=who)),
    "create_role": (
        {"roles:write"},
        lambda s, who: s.world.ubr.create_role(CreateRoleCommand(name="new"), actor=who),
    ),
    "update_role": (
        {"roles:write"},
        lambda s, who: s.world.ubr.update_role(
            UpdateRoleCommand(role_id=s.role.id, changes=RoleChanges(name="other")), actor=who
        ),
    ),
    "delete_role": (
        {"roles:write"},
        lambda s, who: s.world.ubr.delete_role(DeleteRoleCommand(role_id=s.role.id), actor=who),
    ),
    "assign_role": (
        {"roles:assign"},
        lambda s, who: s.world.ubr.assign_role(AssignRoleCommand(user_id=s.target.id, role=s.role.name), actor=who),
    ),
    "unassign_role": (
        {"roles:assign"},
        lambda s, who: s.world.ubr.unassign_role(UnassignRoleCommand(user_id=s.target.id, role=s.role.name), actor=who),
    ),
    "follow_revocations": (
        {"revocations:read"},
        lambda s, who: s.world.ubr.follow_revocations(FollowRevocationsCommand(verifier=s.target.id), actor=who),
    ),
    "stop_following_revocations": (
        {"revocations:read"},
        lambda s, who: s.world.ubr.stop_following_revocations(
            StopFollowingRevocationsCommand(verifier=s.target.id), actor=who
        ),
    ),
    "list_machines": ({"machines:read"}, lambda s, who: s.world.ubr.list_machines(ListMachinesCommand(), actor=who)),
    "get_machine": (
        {"machines:read"},
        lambda s, who: s.world.ubr.get_machine(GetMachineCommand(machine_id=s.machine_id), actor=who),
    ),
    "create_machine": (
        {"machines:write"},
        lambda s, who: s.world.ubr.create_machine(CreateMachineCommand(name="new"), actor=who),
    ),
    "create_machine with roles": (
        {"machines:write", "roles:assign"},
        lambda s, who: s.world.ubr.create_machine(CreateMachineCommand(name="new", roles=[s.role.name]), actor=who),
    ),
    "update_machine": (
        {"machines:write"},
        lambda s, who: s.world.ubr.update_machine(
            UpdateMachineCommand(machine_id=s.machine_id, changes=MachineChanges(status=UserStatus.DISABLED)),
            actor=who,
        ),
    ),
    "delete_machine": (
        {"machines:write"},
        lambda s, who: s.world.ubr.delete_machine(DeleteMachineCommand(machine_id=s.machine_id), actor=who),
    ),
    "list_machine_keys": (
        {"machines:read"},
        lambda s, who: s.world.ubr.list_machine_keys(ListMachineKeysCommand(machine_id=s.machine_id), actor=who),
    ),
    "create_machine_key": (
        {"machines:write"},
        lambda s, who: s.world.ubr.create_machine_key(
            CreateMachineKeyCommand(machine_id=s.machine_id, key=KeyToCreate(name="new")), actor=who
        ),
    ),
    "rotate_machine_key": (
        {"machines:write"},
        lambda s, who: s.world.ubr.rotate_machine_key(
            RotateMachineKeyCommand(machine_id=s.machine_id, key_id=s.key_id, rotation=KeyRotation()), actor=who
        ),
    ),
    "revoke_machine_key": (
        {"machines:write"},
        lambda s, who: s.world.ubr.revoke_machine_key(
            RevokeMachineKeyCommand(machine_id=s.machine_id, key_id=s.key_id), actor=who
        ),
    ),
    "list_logs": ({"logs:read"}, lambda s, who: s.world.ubr.list_logs(ListLogsCommand(), actor=who)),
    "get_activity": ({"logs:read"}, lambda s, who: s.world.ubr.get_activity(actor=who)),
    "get_checkpoint": ({"logs:read"}, lambda s, who: s.world.ubr.get_checkpoint(actor=who)),
    "prove_log_entry": ({"logs:read"}, prove_entry),
}
OWN: dict[str, Act] = {
    "log_out": lambda s, who: s.world.ubr.log_out(actor=who),  # type: ignore[arg-type]
    "revoke_other_sessions": lambda s, who: s.world.ubr.revoke_other_sessions(actor=who),  # type: ignore[arg-type]
    "change_password": lambda s, who: s.world.ubr.change_password(
        ChangePasswordCommand(current_password=PASSWORD, new_password=PASSWORD + "!"),
        actor=who,  # type: ignore[arg-type]
    ),
    "request_email_change": lambda s, who: s.world.ubr.request_email_change(
        RequestEmailChangeCommand(email="other@example.org", current_password=PASSWORD),
        actor=who,  # type: ignore[arg-type]
    ),
}
of_every_act = pytest.mark.parametrize("name", ACTS)


@of_every_act
async def test_with_the_permission_it_is_allowed(scene: Scene, name: str) -> None:
    needed, act = ACTS[name]
    member = await scene.world.user(*needed)
    await act(scene, member.actor)


@of_every_act
async def test_with_every_other_permission_it_is_not(lasting: Scene, name: str) -> None:
    needed, act = ACTS[name]
    for missing in needed:
        member = await lasting.world.user(*(set(BUILT_IN_PERMISSIONS) - {"*", missing}))
        await lasting.world.acts()
        with pytest.raises(Forbidden):
            await act(lasting, member.actor)
        assert await lasting.world.acts() == []


@of_every_act
async def test_without_any_permission_it_is_not(lasting: Scene, name: str) -> None:
    member = await lasting.world.user()
    with pytest.raises(Forbidden):
        await ACTS[name][1](lasting, member.actor)


@of_every_act
async def test_an_administrator_may(scene: Scene, name: str) -> None:
    admin = await scene.world.admin()
    await ACTS[name][1](scene, admin.actor)


@of_every_act
async def test_the_service_may(scene: Scene, name: str) -> None:
    await ACTS[name][1](scene, SYSTEM)


@pytest.mark.parametrize("name", [*ACTS, *OWN])
@pytest.mark.parametrize(
    "end", ["logged out", "revoked", "idle", "disabled", "enabled again", "deleted", "never was", "of another"]
)
async def test_an_ended_session_does_nothing(scene_of: Scene, name: str, end: str) -> None:
    scene, world = scene_of, scene_of.world
    act = OWN[name] if name in OWN else ACTS[name][1]
    member = await world.admin()
    await world.admin()
    actor = member.actor
    match end:
        case "logged out":
            await world.ubr.log_out(actor=actor)
        case "revoked":
            await world.ubr.revoke_session(RevokeSessionCommand(session_id=actor.session_id), actor=SYSTEM)
        case "idle":
            world.clock.move(days=14)
        case "disabled":
            await world.set_status(member.id, UserStatus.DISABLED)
        case "enabled again":
            await world.set_status(member.id, UserStatus.DISABLED)
            await world.set_status(member.id, UserStatus.ACTIVE)
        case "deleted":
            await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=SYSTEM)
        case "never was":
            actor = Actor(actor.user_id, SessionId(UUID(int=7)))
        case _:
            actor = Actor(scene.target.actor.user_id, actor.session_id)
    await world.acts()
    with pytest.raises(InvalidToken):
        await act(scene, actor)
    assert await world.acts() == []


@of_every_act
async def test_nobody_is_not_enough(lasting: Scene, name: str) -> None:
    with pytest.raises(Unauthenticated):
        await ACTS[name][1](lasting, None)  # type: ignore[arg-type]


@of_every_act
@pytest.mark.parametrize("loss", ["unassigned", "role changed", "role deleted", "expired"])
async def test_a_permission_counts_as_long_as_it_is_held(lasting: Scene, name: str, loss: str) -> None:
    world = lasting.world
    needed, act = ACTS[name]
    role = await world.role(*needed)
    member = await world.user()
    end = world.clock() + timedelta(minutes=2) if loss == "expired" else None
    await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role=role.name, expires_at=end), actor=SYSTEM)
    match loss:
        case "unassigned":
            await world.ubr.unassign_role(UnassignRoleCommand(user_id=member.id, role=role.name), actor=SYSTEM)
        case "role changed":
            await world.ubr.update_role(
                UpdateRoleCommand(role_id=role.id, changes=RoleChanges(permissions=[])), actor=SYSTEM
            )
        case "role deleted":
            await world.ubr.delete_role(DeleteRoleCommand(role_id=role.id), actor=SYSTEM)
        case _:
            world.clock.move(minutes=2)
    with pytest.raises(Forbidden):
        await act(lasting, member.actor)
    assert await world.alive(member.tokens)  # nobody is logged out by it


@of_every_act
async def test_a_permission_counts_as_soon_as_it_is_given(scene: Scene, name: str) -> None:
    needed, act = ACTS[name]
    member = await scene.world.user()
    await scene.world.assign(member.id, (await scene.world.role(*needed)).name)
    await act(scene, member.actor)


# --- oneself ---------------------------------------------------------------------------------------------------------


async def test_users_read_their_own_account_roles_and_sessions(world: World) -> None:
    member = await world.user()
    ubr, id, actor = world.ubr, member.id, member.actor
    assert (await ubr.get_user(GetUserCommand(user_id=id), actor=actor)).id == id
    roles = await ubr.list_user_roles(ListUserRolesCommand(user_id=id), actor=actor)
    assert [grant.role for grant in roles.items] == ["user"]
    sessions = await ubr.list_sessions(ListSessionsCommand(user_id=id), actor=actor)
    assert [session.id for session in sessions.items] == [actor.session_id]


@pytest.mark.parametrize(
    "name",
    [
        "get_user",
        "list_user_roles",
        "list_sessions",
        "revoke_user_sessions",
        "delete_user",
        "unlock_user",
        "explain_login of a user",
        "export_user",
        "erase_user",
    ],
)
async def test_without_the_permission_a_caller_does_not_learn_which_users_exist(scene: Scene, name: str) -> None:
    member = await scene.world.user()
    unknown = replace(scene, target=replace(scene.target, actor=Actor(UserId(UUID(int=7)), SessionId(UUID(int=7)))))
    told = []
    for which in (scene, unknown):
        with pytest.raises(Forbidden) as failure:
            await ACTS[name][1](which, member.actor)
        told.append((failure.value.code, failure.value.detail))
    assert told[0] == told[1]
    with pytest.raises(UserNotFound):
        await ACTS[name][1](unknown, SYSTEM)


async def test_only_the_service_makes_administrators(world: World) -> None:
    admin, user = await world.admin(), await world.user()
    await world.acts()
    for take_over in (False, True):
        command = CreateAdminCommand(email=user.email, password=PASSWORD + "!", take_over=take_over)
        for actor in (user.actor, admin.actor, None):
            with pytest.raises(Forbidden):
                await world.ubr.create_admin(command, actor=actor)  # type: ignore[arg-type]
    assert await world.acts() == []
    assert (await world.seen(user.id)).roles == ["user"]


def test_every_use_case_with_an_actor_is_asked() -> None:
    asked = {name.partition(" ")[0].partition("'")[0] for name in [*ACTS, *OWN]}
    # These have no permission: they say who somebody is, are the service's own, or are shown elsewhere.
    others = {
        "register_user", "log_in", "log_in_browser", "issue_access_token", "refresh_session", "authenticate",
        "authenticate_cookie", "create_admin", "get_public_keys",
        "check_health", "initialize", "inspect_installation", "list_signing_keys", "rotate_signing_key",
        "revoke_signing_key", "rewrap_signing_keys", "compare_checkpoint", "verify_log", "export_log", "prune_log",
        "list_log_keys", "rotate_log_key", "acknowledge_restore", "request_password_reset", "reset_password",
        "verify_email", "resend_verification", "undo_email_change", "deliver_mail", "list_mail", "retry_mail",
        "get_me", "permits", "read_events", "log_in_machine", "index_user_fields",
    }  # fmt: skip
    assert asked | others == {field.name for field in fields(UseCases)}
