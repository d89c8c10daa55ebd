from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from tests.support.people import World
from ubr.application.kernel.representations import GrantResult
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.list_user_roles import ListUserRolesCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import BuiltInRole, Invalid, RoleNotFound, UserNotFound


async def grants(world: World, user_id: UUID) -> list[GrantResult]:
    return (await world.ubr.list_user_roles(ListUserRolesCommand(user_id=user_id), actor=SYSTEM)).items


async def test_a_role_is_given_by_somebody_at_some_time(world: World) -> None:
    admin, member, role = await world.admin(), await world.user(), await world.role(name="editor")
    world.clock.move(seconds=1)
    await world.assign(member.id, role.name, actor=admin.actor)
    editor, user = await grants(world, member.id)
    assert (editor.role, editor.granted_by, editor.granted_at, editor.expires_at) == (
        "editor",
        admin.id,
        world.clock(),
        None,
    )
    assert (user.role, user.granted_by) == ("user", None)


async def test_assigning_it_again_is_not_an_error_and_leaves_no_trace(world: World) -> None:
    member, role = await world.user(), await world.role()
    await world.assign(member.id, role.name)
    before = (await grants(world, member.id), (await world.seen(member.id)).revision)
    await world.acts()
    world.clock.move(seconds=1)
    await world.assign(member.id, role.name)
    assert (await grants(world, member.id), (await world.seen(member.id)).revision) == before
    assert await world.acts() == []


async def test_giving_it_again_moves_its_end(world: World) -> None:
    member, role = await world.user(), await world.role()
    ends = [world.clock() + timedelta(days=2), world.clock() + timedelta(days=1), None]
    for end in ends:
        await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role=role.name, expires_at=end), actor=SYSTEM)
        assert (await grants(world, member.id))[0].expires_at == end


@pytest.mark.parametrize("seconds", [-1, 0, 59, 59.999999])
async def test_an_end_nearer_than_a_minute_is_refused(world: World, seconds: float) -> None:
    member = await world.user()
    end = world.clock() + timedelta(seconds=seconds)
    with pytest.raises(Invalid) as failure:
        await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role="admin", expires_at=end), actor=SYSTEM)
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/expires_at"]


async def test_a_minute_ahead_is_far_enough(world: World) -> None:
    member = await world.user()
    end = world.clock() + timedelta(seconds=60)
    await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role="admin", expires_at=end), actor=SYSTEM)
    world.clock.move(seconds=60, microseconds=-1)
    assert (await world.seen(member.id)).roles == ["admin", "user"]
    world.clock.move(microseconds=1)
    assert (await world.seen(member.id)).roles == ["user"]
    assert [grant.role for grant in await grants(world, member.id)] == ["user"]


async def test_an_end_may_be_told_in_any_offset_and_is_kept_in_utc(world: World) -> None:
    member = await world.user()
    end = (world.clock() + timedelta(hours=1)).astimezone(timezone(timedelta(hours=-7)))
    await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role="admin", expires_at=end), actor=SYSTEM)
    kept = (await grants(world, member.id))[0].expires_at
    assert kept == end
    assert kept is not None
    assert kept.tzinfo is UTC


@pytest.mark.parametrize(
    "end",
    [
        datetime(2031, 1, 1),  # noqa: DTZ001 - without an offset on purpose
        datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-14))),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    ],
)
async def test_an_end_outside_the_calendar_in_utc_is_refused(world: World, end: datetime) -> None:
    member = await world.user()
    with pytest.raises(Invalid) as failure:
        await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role="admin", expires_at=end), actor=SYSTEM)
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/expires_at"]


async def test_a_grant_that_has_ended_can_be_given_again(world: World) -> None:
    member = await world.user()
    end = world.clock() + timedelta(minutes=1)
    await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role="admin", expires_at=end), actor=SYSTEM)
    world.clock.move(minutes=2)
    await world.assign(member.id, "admin")
    assert (await world.seen(member.id)).roles == ["admin", "user"]


async def test_everyone_has_user_for_good(world: World) -> None:
    member = await world.user()
    for end in (None, world.clock() + timedelta(days=1)):
        with pytest.raises(BuiltInRole):
            await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role="user", expires_at=end), actor=SYSTEM)
    with pytest.raises(BuiltInRole):
        await world.ubr.unassign_role(UnassignRoleCommand(user_id=member.id, role="user"), actor=SYSTEM)


async def test_unknown_users_and_roles_are_not_found(world: World) -> None:
    member = await world.user()
    for user_id, role, failure in ((UUID(int=7), "admin", UserNotFound), (member.id, "nobody", RoleNotFound)):
        with pytest.raises(failure):
            await world.assign(user_id, role)
        with pytest.raises(failure):
            await world.ubr.unassign_role(UnassignRoleCommand(user_id=user_id, role=role), actor=SYSTEM)


@pytest.mark.parametrize("role", ["", "Admin", "admin\0", "x" * 51])
async def test_an_invalid_role_name_is_rejected(world: World, role: str) -> None:
    member = await world.user()
    with pytest.raises(Invalid):
        await world.assign(member.id, role)
    with pytest.raises(Invalid):
        await world.ubr.unassign_role(UnassignRoleCommand(user_id=member.id, role=role), actor=SYSTEM)


async def test_a_role_that_was_taken_is_gone_at_once(world: World) -> None:
    role = await world.role("users:read")
    member = await world.user(role=role.name)
    await world.ubr.unassign_role(UnassignRoleCommand(user_id=member.id, role=role.name), actor=SYSTEM)
    assert (await world.seen(member.id)).roles == ["user"]
    assert (await world.refresh(member.tokens.refresh_token)).user.roles == ["user"]


async def test_removing_a_role_that_is_not_held_is_not_an_error_and_leaves_no_trace(world: World) -> None:
    member, role = await world.user(), await world.role()
    before = await world.seen(member.id)
    await world.acts()
    await world.ubr.unassign_role(UnassignRoleCommand(user_id=member.id, role=role.name), actor=SYSTEM)
    after = await world.seen(member.id)
    assert (after, after.revision) == (before, before.revision)
    assert await world.acts() == []


async def test_grants_are_listed_by_name_for_a_known_user_alone(world: World) -> None:
    member = await world.user()
    for name in ("zebra", "ape", "mole"):
        await world.assign(member.id, (await world.role(name=name)).name)
    assert [grant.role for grant in await grants(world, member.id)] == ["ape", "mole", "user", "zebra"]
    with pytest.raises(UserNotFound):
        await grants(world, UUID(int=7))
