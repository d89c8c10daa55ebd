"""No right outlives the right of its giver."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.people import Member, World
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import GrantExceedsOwn

HOUR = timedelta(hours=1)


async def deputy(world: World, *permissions: str) -> Member:
    """A user who holds these permissions for an hour."""
    member, role = await world.user(), await world.role(*permissions)
    end = world.clock() + HOUR
    await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role=role.name, expires_at=end), actor=SYSTEM)
    return member


@pytest.mark.parametrize("seconds", [None, 3601])
async def test_a_grant_for_longer_than_the_giver_s_own_is_refused(world: World, seconds: int | None) -> None:
    giver, role = await deputy(world, "roles:assign", "logs:read"), await world.role("logs:read")
    end = None if seconds is None else world.clock() + timedelta(seconds=seconds)
    for receiver in (giver, await world.user()):
        command = AssignRoleCommand(user_id=receiver.id, role=role.name, expires_at=end)
        with pytest.raises(GrantExceedsOwn):
            await world.ubr.assign_role(command, actor=giver.actor)


async def test_a_grant_that_ends_with_the_giver_s_own_is_given(world: World) -> None:
    giver, role, receiver = await deputy(world, "roles:assign"), await world.role(), await world.user()
    command = AssignRoleCommand(user_id=receiver.id, role=role.name, expires_at=world.clock() + HOUR)
    await world.ubr.assign_role(command, actor=giver.actor)
    assert role.name in (await world.seen(receiver.id)).roles


async def test_the_right_to_give_is_counted_too(world: World) -> None:
    giver, role, receiver = await deputy(world, "roles:assign"), await world.role("logs:read"), await world.user()
    await world.assign(giver.id, role.name)  # for good
    with pytest.raises(GrantExceedsOwn):
        await world.ubr.assign_role(AssignRoleCommand(user_id=receiver.id, role=role.name), actor=giver.actor)


async def test_a_permission_held_twice_counts_by_the_grant_that_lasts(world: World) -> None:
    giver = await deputy(world, "roles:assign", "logs:read")
    await world.assign(giver.id, (await world.role("roles:assign", "logs:read")).name)
    role, receiver = await world.role("logs:read"), await world.user()
    await world.ubr.assign_role(AssignRoleCommand(user_id=receiver.id, role=role.name), actor=giver.actor)


async def test_no_role_takes_permissions_that_the_writer_holds_for_a_time(world: World) -> None:
    writer = await deputy(world, "roles:write", "logs:read")
    held = await world.role()
    await world.assign(writer.id, held.name)
    change = UpdateRoleCommand(role_id=held.id, changes=RoleChanges(permissions=["logs:read"]))
    with pytest.raises(GrantExceedsOwn):
        await world.ubr.update_role(change, actor=writer.actor)
    with pytest.raises(GrantExceedsOwn):
        await world.ubr.create_role(CreateRoleCommand(name="new", permissions=["logs:read"]), actor=writer.actor)


async def test_permissions_can_be_taken_from_a_role_all_the_same(world: World) -> None:
    writer, role = await deputy(world, "roles:write", "logs:read"), await world.role("logs:read")
    await world.ubr.update_role(
        UpdateRoleCommand(role_id=role.id, changes=RoleChanges(permissions=[])), actor=writer.actor
    )


async def test_a_new_user_is_given_no_role_that_outlives_its_giver(world: World) -> None:
    giver, role = await deputy(world, "users:write", "roles:assign", "logs:read"), await world.role("logs:read")
    command = CreateUserCommand(email="new@example.org", roles=[role.name])
    with pytest.raises(GrantExceedsOwn):
        await world.ubr.create_user(command, actor=giver.actor)
    await world.ubr.create_user(CreateUserCommand(email="new@example.org"), actor=giver.actor)


async def test_the_right_to_give_is_counted_for_a_new_user_too(world: World) -> None:
    giver, role = await deputy(world, "roles:assign"), await world.role("users:write", "logs:read")
    await world.assign(giver.id, role.name)  # for good
    with pytest.raises(GrantExceedsOwn):
        await world.ubr.create_user(CreateUserCommand(email="new@example.org", roles=[role.name]), actor=giver.actor)
