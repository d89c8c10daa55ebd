"""Nobody gives, takes or changes what is more than they hold themselves."""

from collections.abc import Awaitable
from datetime import timedelta

import pytest

from tests.support.people import PASSWORD, Member, World
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.kernel.representations import RoleResult
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.roles.delete_role import DeleteRoleCommand
from ubr.application.roles.get_role import GetRoleCommand
from ubr.application.roles.list_user_roles import ListUserRolesCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import GrantExceedsOwn, RoleNotFound
from ubr.domain.roles.permissions import BUILT_IN_PERMISSIONS
from ubr.domain.roles.role import USER_ROLE_ID

MANAGER = ["users:write", "users:delete", "roles:assign", "roles:write", "sessions:revoke"]
ALL_BY_NAME = sorted(set(BUILT_IN_PERMISSIONS) - {"*"})

# What the target holds, and whether somebody with MANAGER may act on it. Everything by name is still less than "*".
LEVELS = [([], True), (["users:write"], True), (MANAGER, True), (["logs:read"], False), (["*"], False)]
of_every_level = pytest.mark.parametrize(("held", "allowed"), LEVELS, ids=["none", "less", "same", "other", "all"])


class Case:
    """Holds a use case to what is expected of it."""

    def __init__(self, world: World, allowed: bool) -> None:
        self.world = world
        self.allowed = allowed

    async def __aenter__(self) -> None:
        await self.world.acts()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if self.allowed:
            return False
        assert kind is GrantExceedsOwn
        assert await self.world.acts() == []
        return True


async def target_of(world: World, held: list[str]) -> Member:
    return await world.user(*held)


@of_every_level
@pytest.mark.parametrize(
    "changes",
    [
        UserChanges(email="new@example.org"),
        UserChanges(status=UserStatus.DISABLED),
        UserChanges(status=UserStatus.ACTIVE),
        UserChanges(email="new@example.org", full_name="User One"),
    ],
    ids=["email", "disable", "enable", "more"],
)
async def test_changing_email_or_status(world: World, held: list[str], allowed: bool, changes: UserChanges) -> None:
    actor, target = await world.user(*MANAGER), await target_of(world, held)
    async with Case(world, allowed):
        await world.ubr.update_user(UpdateUserCommand(user_id=target.id, changes=changes), actor=actor.actor)


@of_every_level
async def test_changing_a_name_allows_no_escalation(world: World, held: list[str], allowed: bool) -> None:
    actor, target = await world.user(*MANAGER), await target_of(world, held)
    command = UpdateUserCommand(user_id=target.id, changes=UserChanges(full_name="User One"))
    assert (await world.ubr.update_user(command, actor=actor.actor)).full_name == "User One"


@of_every_level
async def test_deleting_a_user(world: World, held: list[str], allowed: bool) -> None:
    actor, target = await world.user(*MANAGER), await target_of(world, held)
    async with Case(world, allowed):
        await world.ubr.delete_user(DeleteUserCommand(user_id=target.id), actor=actor.actor)


@of_every_level
async def test_assigning_to_a_user(world: World, held: list[str], allowed: bool) -> None:
    actor, target = await world.user(*MANAGER), await target_of(world, held)
    role = await world.role()
    async with Case(world, allowed):
        await world.ubr.assign_role(AssignRoleCommand(user_id=target.id, role=role.name), actor=actor.actor)


@of_every_level
async def test_assigning_a_role(world: World, held: list[str], allowed: bool) -> None:
    actor, target = await world.user(*MANAGER), await world.user()
    role = await world.role(*held)
    async with Case(world, allowed):
        await world.ubr.assign_role(AssignRoleCommand(user_id=target.id, role=role.name), actor=actor.actor)


@of_every_level
async def test_assigning_a_role_to_oneself(world: World, held: list[str], allowed: bool) -> None:
    actor, role = await world.user(*MANAGER), await world.role(*held)
    async with Case(world, allowed):
        await world.ubr.assign_role(AssignRoleCommand(user_id=actor.id, role=role.name), actor=actor.actor)
    held_now = await world.ubr.list_user_roles(ListUserRolesCommand(user_id=actor.id), actor=SYSTEM)
    assert (role.name in {grant.role for grant in held_now.items}) is allowed


@of_every_level
async def test_unassigning(world: World, held: list[str], allowed: bool) -> None:
    actor, target = await world.user(*MANAGER), await target_of(world, held)
    role = await world.role()
    await world.assign(target.id, role.name)
    async with Case(world, allowed):
        await world.ubr.unassign_role(UnassignRoleCommand(user_id=target.id, role=role.name), actor=actor.actor)


@of_every_level
async def test_a_caller_without_rights_over_a_user_does_not_learn_the_existing_roles(
    world: World, held: list[str], allowed: bool
) -> None:
    actor, target = await world.user(*MANAGER), await target_of(world, held)
    expected = RoleNotFound if allowed else GrantExceedsOwn
    with pytest.raises(expected):
        await world.ubr.assign_role(AssignRoleCommand(user_id=target.id, role="nobody"), actor=actor.actor)
    with pytest.raises(expected):
        await world.ubr.unassign_role(UnassignRoleCommand(user_id=target.id, role="nobody"), actor=actor.actor)


@of_every_level
async def test_creating_a_user_with_roles(world: World, held: list[str], allowed: bool) -> None:
    actor = await world.user(*MANAGER)
    roles = [(await world.role()).name, (await world.role(*held)).name]
    async with Case(world, allowed):
        command = CreateUserCommand(email="new@example.org", password=PASSWORD, roles=roles)
        await world.ubr.create_user(command, actor=actor.actor)


@of_every_level
async def test_creating_a_role(world: World, held: list[str], allowed: bool) -> None:
    actor = await world.user(*MANAGER)
    async with Case(world, allowed):
        await world.ubr.create_role(CreateRoleCommand(name="new", permissions=held), actor=actor.actor)


async def changed(world: World, role: RoleResult, changes: RoleChanges, actor: Member) -> None:
    await world.ubr.update_role(UpdateRoleCommand(role_id=role.id, changes=changes), actor=actor.actor)


@of_every_level
async def test_a_role_that_held_more_before(world: World, held: list[str], allowed: bool) -> None:
    actor = await world.user(*MANAGER)
    for changes in (RoleChanges(permissions=[]), RoleChanges(name="other"), RoleChanges(description="x")):
        role = await world.role(*held)
        async with Case(world, allowed):
            await changed(world, role, changes, actor)


@of_every_level
async def test_a_role_that_would_hold_more_after(world: World, held: list[str], allowed: bool) -> None:
    actor, role = await world.user(*MANAGER), await world.role()
    async with Case(world, allowed):
        await changed(world, role, RoleChanges(permissions=held), actor)


@of_every_level
async def test_deleting_a_role(world: World, held: list[str], allowed: bool) -> None:
    actor, role = await world.user(*MANAGER), await world.role(*held)
    async with Case(world, allowed):
        await world.ubr.delete_role(DeleteRoleCommand(role_id=role.id), actor=actor.actor)


async def test_the_role_one_holds_cannot_be_raised(world: World) -> None:
    role = await world.role("roles:write")
    actor = await world.user(role=role.name)
    for permissions in (["*"], ["roles:write", "roles:assign"]):
        with pytest.raises(GrantExceedsOwn):
            await changed(world, role, RoleChanges(permissions=permissions), actor)


@of_every_level
async def test_what_everyone_would_hold(world: World, held: list[str], allowed: bool) -> None:
    actor = await world.user(*MANAGER)
    user = await world.ubr.get_role(GetRoleCommand(role_id=USER_ROLE_ID), actor=SYSTEM)
    async with Case(world, allowed):
        await changed(world, user, RoleChanges(permissions=held), actor)


async def test_every_permission_by_name_is_less_than_all(world: World) -> None:
    actor, admin = await world.user(*ALL_BY_NAME), await world.admin()
    await world.admin()
    acts = [
        world.ubr.assign_role(AssignRoleCommand(user_id=actor.id, role="admin"), actor=actor.actor),
        world.ubr.unassign_role(UnassignRoleCommand(user_id=admin.id, role="admin"), actor=actor.actor),
        world.ubr.delete_user(DeleteUserCommand(user_id=admin.id), actor=actor.actor),
        world.set_status(admin.id, UserStatus.DISABLED, actor=actor.actor),
        world.ubr.create_role(CreateRoleCommand(name="new", permissions=["*"]), actor=actor.actor),
        world.ubr.create_user(CreateUserCommand(email="new@example.org", roles=["admin"]), actor=actor.actor),
    ]
    for act in acts:
        with pytest.raises(GrantExceedsOwn):
            await act


async def test_roles_add_up(world: World) -> None:
    actor, target = await world.user(*MANAGER), await world.user("users:write")
    await world.assign(target.id, (await world.role("logs:read")).name)
    with pytest.raises(GrantExceedsOwn):
        await world.ubr.delete_user(DeleteUserCommand(user_id=target.id), actor=actor.actor)
    await world.assign(actor.id, (await world.role("logs:read")).name)
    await world.ubr.delete_user(DeleteUserCommand(user_id=target.id), actor=actor.actor)


def end(world: World, target: Member, kind: str, actor: Member) -> Awaitable[object]:
    """End the session of a user, or all of them."""
    if kind == "one":
        command = RevokeSessionCommand(session_id=target.actor.session_id)
        return world.ubr.revoke_session(command, actor=actor.actor)
    return world.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=target.id), actor=actor.actor)


of_each_kind = pytest.mark.parametrize("kind", ["one", "all"])


@of_each_kind
@of_every_level
async def test_ending_sessions(world: World, held: list[str], allowed: bool, kind: str) -> None:
    actor, target = await world.user(*MANAGER), await target_of(world, held)
    async with Case(world, allowed):
        await end(world, target, kind, actor)
    assert await world.alive(target.tokens) is not allowed


@of_each_kind
async def test_ones_own_sessions_end_whatever_one_may(world: World, kind: str) -> None:
    member = await world.user("roles:read")
    await end(world, member, kind, member)
    assert not await world.alive(member.tokens)


@of_each_kind
async def test_rights_that_have_ended_protect_no_session(world: World, kind: str) -> None:
    actor, target = await world.user(*MANAGER), await world.user()
    role, until = await world.role("logs:read"), world.clock() + timedelta(minutes=2)
    grant = AssignRoleCommand(user_id=target.id, role=role.name, expires_at=until)
    await world.ubr.assign_role(grant, actor=SYSTEM)
    with pytest.raises(GrantExceedsOwn):
        await end(world, target, kind, actor)
    world.clock.move(minutes=2)
    await end(world, target, kind, actor)
    assert not await world.alive(target.tokens)


async def test_administrators_may_act_on_administrators(world: World) -> None:
    actor, other = await world.admin(), await world.admin()
    await world.ubr.unassign_role(UnassignRoleCommand(user_id=other.id, role="admin"), actor=actor.actor)
    assert (await world.seen(other.id)).roles == ["user"]
