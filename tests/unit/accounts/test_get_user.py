from datetime import timedelta
from uuid import UUID

import pytest

from tests.support.people import World
from ubr.application.accounts.get_user import GetUserCommand
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import UserNotFound


async def test_oneself_and_another_are_shown_alike(world: World) -> None:
    member, admin = await world.user(role="admin"), await world.admin()
    command = GetUserCommand(user_id=member.id)
    own = await world.ubr.get_user(command, actor=member.actor)
    assert (
        own == await world.ubr.get_user(command, actor=admin.actor) == await world.ubr.get_user(command, actor=SYSTEM)
    )
    assert own.revision == (await world.seen(member.id)).revision


async def test_an_unknown_one_is_not_found(world: World) -> None:
    with pytest.raises(UserNotFound):
        await world.ubr.get_user(GetUserCommand(user_id=UUID(int=7)), actor=(await world.admin()).actor)


async def test_a_role_that_has_ended_is_not_shown_and_makes_another_revision(world: World) -> None:
    member = await world.user()
    plain = await world.seen(member.id)
    end = world.clock() + timedelta(minutes=1)
    await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role="admin", expires_at=end), actor=SYSTEM)
    held = await world.seen(member.id)
    world.clock.move(minutes=1)
    ended = await world.seen(member.id)
    assert (plain.roles, held.roles, ended.roles) == (["user"], ["admin", "user"], ["user"])
    assert len({plain.revision, held.revision, ended.revision}) == 3


async def test_another_name_of_a_role_makes_another_revision_of_its_holders(world: World) -> None:
    role = await world.role()
    member = await world.user(role=role.name)
    before = await world.seen(member.id)
    changes = RoleChanges(name="renamed")
    await world.ubr.update_role(UpdateRoleCommand(role_id=role.id, changes=changes), actor=SYSTEM)
    after = await world.seen(member.id)
    assert after.roles == ["renamed", "user"]
    assert after.revision != before.revision


async def test_a_revision_stays_while_nothing_changes(world: World) -> None:
    member = await world.user()
    before = (await world.seen(member.id)).revision
    await world.logged_in(member.email)
    world.clock.move(days=1)
    assert (await world.seen(member.id)).revision == before
