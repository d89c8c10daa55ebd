"""Other services may trust the name of a role: who decides which users have it may also assign roles."""

from datetime import timedelta

import pytest

from tests.support.people import Member, World
from ubr.application.kernel.representations import RoleResult
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.roles.delete_role import DeleteRoleCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.bootstrap import open_environment
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import Forbidden, GrantExceedsOwn, RoleNameTaken
from ubr.settings import Settings
from ubr.testing import TINY_HASHING, MovableClock

DAY = timedelta(days=1)


async def rename(world: World, role: RoleResult, name: str, *, actor: Actor | System = SYSTEM) -> None:
    command = UpdateRoleCommand(role_id=role.id, changes=RoleChanges(name=name))
    await world.ubr.update_role(command, actor=actor)


async def delete(world: World, role: RoleResult, *, actor: Actor | System = SYSTEM) -> None:
    await world.ubr.delete_role(DeleteRoleCommand(role_id=role.id), actor=actor)


async def create(world: World, name: str, *, actor: Actor | System = SYSTEM) -> None:
    await world.ubr.create_role(CreateRoleCommand(name=name), actor=actor)


async def writer(world: World, *others: str) -> Member:
    return await world.user("roles:write", *others)


async def test_a_role_that_users_hold_keeps_its_name(world: World) -> None:
    actor, role = await writer(world), await world.role(name="billing-admin")
    await world.user(role=role.name)
    await world.acts()
    for act in (rename(world, role, "other", actor=actor.actor), delete(world, role, actor=actor.actor)):
        with pytest.raises(Forbidden, match="roles:assign"):
            await act
    assert await world.acts() == []
    # Its name stays free for no one, and other changes are not affected.
    changes = RoleChanges(name=role.name, description="Bills")
    await world.ubr.update_role(UpdateRoleCommand(role_id=role.id, changes=changes), actor=actor.actor)
    await rename(world, role, "other", actor=(await writer(world, "roles:assign")).actor)


async def test_whoever_assigns_roles_may_delete_one_that_is_held(world: World) -> None:
    role = await world.role()
    await world.user(role=role.name)
    await delete(world, role, actor=(await writer(world, "roles:assign")).actor)


async def test_a_role_whose_grants_have_ended_is_not_held(world: World) -> None:
    actor, role = await writer(world), await world.role()
    end = world.clock() + timedelta(minutes=2)
    member = await world.user()
    command = AssignRoleCommand(user_id=member.id, role=role.name, expires_at=end)
    await world.ubr.assign_role(command, actor=SYSTEM)
    with pytest.raises(Forbidden):
        await rename(world, role, "other", actor=actor.actor)
    world.clock.move(minutes=2)
    await rename(world, role, "other", actor=actor.actor)


async def test_the_name_of_another_role_is_not_taken_for_a_day(world: World) -> None:
    """Whether it was held at the end or not: tokens have it a little longer."""
    actor, own = await writer(world), await world.role(name="own")
    renamed, deleted = await world.role(name="renamed"), await world.role(name="deleted")
    member = await world.user(role="deleted")
    await world.ubr.unassign_role(UnassignRoleCommand(user_id=member.id, role="deleted"), actor=SYSTEM)
    await rename(world, renamed, "other")
    await delete(world, deleted)
    await world.acts()
    world.clock.move(minutes=9)
    for name in ("renamed", "deleted"):
        with pytest.raises(Forbidden, match="roles:assign"):
            await create(world, name, actor=actor.actor)
        with pytest.raises(Forbidden, match="roles:assign"):
            await rename(world, own, name, actor=actor.actor)
    assert await world.acts() == []
    with pytest.raises(RoleNameTaken):
        await rename(world, own, "other", actor=actor.actor)

    await rename(world, renamed, "renamed", actor=actor.actor)  # one's own name is no other's
    world.clock.move(seconds=(DAY - timedelta(minutes=9)).total_seconds())
    fresh = (await world.logged_in(actor.email)).actor
    await create(world, "deleted", actor=fresh)


async def test_whoever_assigns_roles_takes_a_former_name_at_once(world: World) -> None:
    actor = await writer(world, "roles:assign")
    await delete(world, await world.role(name="former"))
    await create(world, "former", actor=actor.actor)


async def test_a_right_that_ends_gives_no_name_that_lasts(world: World) -> None:
    own, held = await world.role(name="own"), await world.role(name="held")
    await world.user(role=held.name)
    await delete(world, await world.role(name="former"))
    actor = await writer(world)
    assigning = await world.role("roles:assign")
    end = world.clock() + timedelta(minutes=5)
    command = AssignRoleCommand(user_id=actor.id, role=assigning.name, expires_at=end)
    await world.ubr.assign_role(command, actor=SYSTEM)
    for act in (
        rename(world, held, "new", actor=actor.actor),
        rename(world, own, "former", actor=actor.actor),
        create(world, "former", actor=actor.actor),
    ):
        with pytest.raises(GrantExceedsOwn):
            await act
    await delete(world, held, actor=actor.actor)


async def test_former_names_are_deleted_after_their_day() -> None:
    clock = MovableClock()
    async with open_environment(Settings.memory(**TINY_HASHING), clock=clock) as environment:
        world = World(environment.application, clock)
        await delete(world, await world.role(name="former"))

        async def remembered() -> int:
            async with world.ubr.create_role.unit_of_work.begin(SYSTEM) as tx:
                return await tx.roles.forget_names(clock() + 2 * DAY, 9)  # not committed

        await environment.janitor()
        assert await remembered() == 1
        clock.move(seconds=DAY.total_seconds() + 1)
        await environment.janitor()
        assert await remembered() == 0
