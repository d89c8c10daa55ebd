"""A grant ends at its moment, by itself: no job runs here, and nobody looks at anything but the clock."""

from datetime import timedelta
from uuid import UUID

import pytest

from tests.support.people import OTHER_PASSWORD, Member, World
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.operations.janitor import ENDED_GRANTS_LAST
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.list_user_roles import ListUserRolesCommand
from ubr.bootstrap import open_environment
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import Forbidden, GrantExceedsOwn, PreconditionFailed
from ubr.settings import Settings
from ubr.testing import MovableClock
from ubr.testing.memory import TINY_HASHING


async def give(
    world: World, user_id: UUID, role: str, *, seconds: float | None = 60, actor: Actor | System = SYSTEM
) -> None:
    end = None if seconds is None else world.clock() + timedelta(seconds=seconds)
    await world.ubr.assign_role(AssignRoleCommand(user_id=user_id, role=role, expires_at=end), actor=actor)


async def may_list(world: World, member: Member) -> bool:
    try:
        await world.ubr.list_users(ListUsersCommand(), actor=member.actor)
    except Forbidden:
        return False
    return True


async def holders(world: World, role: str) -> list[UUID]:
    return [user.id for user in (await world.ubr.list_users(ListUsersCommand(role=role), actor=SYSTEM)).items]


async def test_its_permissions_end_with_the_grant(world: World) -> None:
    member, role = await world.user(), await world.role("users:read", "users:write")
    await give(world, member.id, role.name)
    command = CreateUserCommand(email="new@example.org", password=OTHER_PASSWORD)
    assert await may_list(world, member)  # and the view knows them from now on
    world.clock.move(seconds=60, microseconds=-1)
    assert await may_list(world, member)
    made = await world.ubr.create_user(command, actor=member.actor)
    world.clock.move(microseconds=1)
    assert not await may_list(world, member)
    rename = UpdateUserCommand(user_id=made.id, changes=UserChanges(full_name="Another"))
    with pytest.raises(Forbidden):  # decided on the rows of its own unit, not by the view
        await world.ubr.update_user(rename, actor=member.actor)
    assert await world.alive(member.tokens)


@pytest.mark.parametrize(("moved", "allowed_after_a_minute"), [(120, True), (None, True), (60, False)])
async def test_an_end_that_is_moved_counts_where_it_is_now(
    world: World, moved: float | None, allowed_after_a_minute: bool
) -> None:
    member, role = await world.user(), await world.role("users:read")
    await give(world, member.id, role.name, seconds=3600 if moved == 60 else 60)
    assert await may_list(world, member)
    await give(world, member.id, role.name, seconds=moved)
    world.clock.move(seconds=60)
    assert await may_list(world, member) is allowed_after_a_minute


async def test_no_token_of_a_log_in_outlives_a_grant(world: World) -> None:
    member = await world.user()
    await give(world, member.id, "admin", seconds=90)
    tokens = await world.log_in(member.email)
    assert (tokens.expires_in, tokens.user.roles) == (90, ["admin", "user"])
    world.clock.move(seconds=90)
    assert not await world.alive(tokens)
    after = await world.log_in(member.email)
    assert (after.expires_in, after.user.roles) == (600, ["user"])


async def test_no_token_of_a_retried_refresh_outlives_a_grant(world: World) -> None:
    """The answer to the first was lost, and meanwhile a role was given, or its end moved."""
    member = await world.user()
    first = await world.refresh(member.tokens.refresh_token)
    assert first.expires_in == 600
    await give(world, member.id, "admin", seconds=90)
    world.clock.move(seconds=5)
    again = await world.refresh(member.tokens.refresh_token)
    assert again.refresh_token == first.refresh_token
    assert (again.expires_in, again.user.roles) == (85, ["admin", "user"])
    await give(world, member.id, "admin", seconds=60)
    world.clock.move(seconds=5)
    assert (await world.refresh(member.tokens.refresh_token)).expires_in == 55


async def test_the_nearest_end_of_several_grants_counts(world: World) -> None:
    member, one, other = await world.user(), await world.role(), await world.role()
    await give(world, member.id, one.name, seconds=500)
    await give(world, member.id, other.name, seconds=70.5)
    tokens = await world.refresh(member.tokens.refresh_token)
    assert tokens.expires_in == 70
    world.clock.move(seconds=70.5)
    assert not await world.alive(tokens)


async def test_a_grant_names_its_grantor_start_and_end(world: World) -> None:
    admin, member, role = await world.admin(), await world.user(), await world.role(name="editor")
    await give(world, member.id, role.name, seconds=3600)
    world.clock.move(seconds=10)
    await give(world, member.id, role.name, seconds=120, actor=admin.actor)
    [editor, _] = (await world.ubr.list_user_roles(ListUserRolesCommand(user_id=member.id), actor=member.actor)).items
    assert (editor.granted_by, editor.granted_at) == (admin.id, world.clock())
    assert editor.expires_at == world.clock() + timedelta(seconds=120)
    world.clock.move(seconds=120)
    [user] = (await world.ubr.list_user_roles(ListUserRolesCommand(user_id=member.id), actor=member.actor)).items
    assert user.role == "user"


async def test_holders_of_a_role_are_counted_at_the_moment(world: World) -> None:
    member, other, role = await world.user(), await world.user(), await world.role(name="editor")
    await give(world, member.id, role.name)
    await give(world, other.id, role.name, seconds=None)
    assert await holders(world, "editor") == [member.id, other.id]
    world.clock.move(seconds=60)
    assert await holders(world, "editor") == [other.id]


async def test_a_revision_of_before_an_end_is_not_the_one_of_after(world: World) -> None:
    member = await world.user()
    await give(world, member.id, "admin")
    before = (await world.seen(member.id)).revision
    world.clock.move(seconds=60)
    for revision, matches in ((before, False), ((await world.seen(member.id)).revision, True)):
        command = UpdateUserCommand(user_id=member.id, changes=UserChanges(full_name="Another"), if_match=(revision,))
        if matches:
            await world.ubr.update_user(command, actor=SYSTEM)
        else:
            with pytest.raises(PreconditionFailed):
                await world.ubr.update_user(command, actor=SYSTEM)


async def test_an_ended_grant_allows_no_escalation(world: World) -> None:
    """Neither counts the actor's own that ended, nor the target's."""
    manager, target, role = await world.user("roles:assign"), await world.user(), await world.role("logs:read")
    await give(world, manager.id, role.name)
    await give(world, target.id, "admin", seconds=120)
    with pytest.raises(GrantExceedsOwn):
        await give(world, target.id, role.name, actor=manager.actor)
    world.clock.move(seconds=60)
    with pytest.raises(GrantExceedsOwn):
        await give(world, (await world.register()).id, role.name, actor=manager.actor)
    harmless = await world.role("roles:assign")
    with pytest.raises(GrantExceedsOwn):
        await give(world, target.id, harmless.name, actor=manager.actor)
    world.clock.move(seconds=60)
    await give(world, target.id, harmless.name, actor=manager.actor)


async def test_the_janitor_forgets_what_ended_long_ago_and_nobody_can_tell() -> None:
    clock = MovableClock()
    async with open_environment(Settings.memory(**TINY_HASHING), clock=clock) as environment:
        world = World(environment.application, clock)
        member, role = await world.user(), await world.role()
        await give(world, member.id, role.name)
        clock.move(seconds=60)
        clock.move(days=ENDED_GRANTS_LAST.days)
        uow = environment.janitor.unit_of_work
        shown = await world.seen(member.id)
        await world.acts()
        kept = []
        for _ in range(2):
            await environment.janitor()
            async with uow.read() as tx:
                user = await tx.users.get(member.actor.user_id)
                assert user is not None
                kept.append(len(user.grants))
            clock.move(microseconds=1)
        assert kept == [2, 1]
        after = await world.seen(member.id)
        assert (after, after.revision) == (shown, shown.revision)
        assert await world.acts() == []
