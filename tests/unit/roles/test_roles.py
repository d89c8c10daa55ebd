import asyncio
from uuid import UUID

import pytest

from tests.support.people import World, new_world
from ubr.application.accounts.get_user import GetUserCommand
from ubr.application.kernel.representations import RoleResult
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.roles.delete_role import DeleteRoleCommand
from ubr.application.roles.get_role import GetRoleCommand
from ubr.application.roles.list_roles import ListRolesCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import BuiltInRole, Forbidden, Invalid, PreconditionFailed, RoleNameTaken, RoleNotFound
from ubr.domain.roles.permissions import BUILT_IN_PERMISSIONS
from ubr.domain.roles.role import ADMIN_ROLE_ID, MAX_PERMISSIONS, USER_ROLE_ID


async def update(
    world: World, role_id: UUID, changes: RoleChanges, if_match: tuple[str, ...] | None = None
) -> RoleResult:
    command = UpdateRoleCommand(role_id=role_id, changes=changes, if_match=if_match)
    return await world.ubr.update_role(command, actor=SYSTEM)


async def get(world: World, role_id: UUID) -> RoleResult:
    return await world.ubr.get_role(GetRoleCommand(role_id=role_id), actor=SYSTEM)


async def test_a_new_role_is_as_asked_for(world: World) -> None:
    command = CreateRoleCommand(
        name="editor", description=" Edits ", permissions=["users:write", "users:read", "users:read"]
    )
    role = await world.ubr.create_role(command, actor=SYSTEM)
    assert (role.name, role.description, role.built_in) == ("editor", "Edits", False)
    assert role.permissions == ["users:read", "users:write"]
    assert (role.created_at, role.updated_at, role.revision) == (world.clock(), world.clock(), "1")
    assert await get(world, role.id) == role


async def test_every_permission_of_the_contract_can_be_given(world: World) -> None:
    assert (await world.role(*BUILT_IN_PERMISSIONS)).permissions == sorted(BUILT_IN_PERMISSIONS)


async def test_an_operators_own_permissions_can_be_given_where_they_are_declared() -> None:
    async with new_world(permissions=("notes:edit",)) as world:
        assert (await world.role("notes:edit")).permissions == ["notes:edit"]
    async with new_world() as world:
        with pytest.raises(Invalid):
            await world.role("notes:edit")


async def test_a_role_holds_two_hundred_permissions_each_of_them_once() -> None:
    names = tuple(f"notes:verb{number:03}" for number in range(MAX_PERMISSIONS))
    async with new_world(permissions=names) as world:
        assert (await world.role(*names, *names)).permissions == list(names)


@pytest.mark.parametrize(
    ("command", "pointer"),
    [
        (CreateRoleCommand(name="Editor"), "/name"),
        (CreateRoleCommand(name=""), "/name"),
        (CreateRoleCommand(name="x" * 51), "/name"),
        (CreateRoleCommand(name="x", description=" "), "/description"),
        (CreateRoleCommand(name="x", description="x" * 501), "/description"),
        (CreateRoleCommand(name="x", permissions=["users:read", "users:fly"]), "/permissions/1"),
        (CreateRoleCommand(name="x", permissions=["users"]), "/permissions/0"),
        (CreateRoleCommand(name="x", permissions=["users:*"]), "/permissions/0"),
        (CreateRoleCommand(name="x", permissions=[f"a:b{number}" for number in range(201)]), "/permissions"),
        (CreateRoleCommand(name="x", permissions=[f"a:b{number}" for number in range(200)]), "/permissions/0"),
    ],
)
async def test_bad_input_says_where(world: World, command: CreateRoleCommand, pointer: str) -> None:
    with pytest.raises(Invalid) as failure:
        await world.ubr.create_role(command, actor=SYSTEM)
    assert [flaw.pointer for flaw in failure.value.flaws] == [pointer]
    role = await world.role()
    changes = RoleChanges(name=command.name, description=command.description, permissions=command.permissions)
    with pytest.raises(Invalid) as failure:
        await update(world, role.id, changes)
    assert [flaw.pointer for flaw in failure.value.flaws] == [pointer]


@pytest.mark.parametrize("name", ["admin", "user", "editor"])
async def test_a_name_belongs_to_one_role(world: World, name: str) -> None:
    await world.role(name="editor")
    other = await world.role(name="other")
    await world.acts()
    with pytest.raises(RoleNameTaken):
        await world.role(name=name)
    with pytest.raises(RoleNameTaken):
        await update(world, other.id, RoleChanges(name=name))
    assert await world.acts() == []
    assert await get(world, other.id) == other


async def test_one_of_many_concurrent_roles_gets_the_name(world: World) -> None:
    results = await asyncio.gather(*(world.role(name="editor") for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(result, RoleNameTaken) for result in results) == 19


async def test_a_change_counts_for_its_holders_at_once(world: World) -> None:
    role = await world.role("users:read")
    member, other = await world.user(role=role.name), await world.user()
    command = GetUserCommand(user_id=other.id)
    await world.ubr.get_user(command, actor=member.actor)
    await update(world, role.id, RoleChanges(permissions=[]))
    with pytest.raises(Forbidden):
        await world.ubr.get_user(command, actor=member.actor)
    assert await world.alive(member.tokens)
    await update(world, role.id, RoleChanges(permissions=["users:read"]))
    await world.ubr.get_user(command, actor=member.actor)


async def test_another_description_concerns_no_token(world: World) -> None:
    """A record in the feed would make every verifier refuse the tokens of all holders."""
    role = await world.role("users:read")
    await world.user(role=role.name)
    cache = world.ubr.authenticate.authorize.session_cache

    async def told(changes: RoleChanges) -> int:
        before = cache.position
        await update(world, role.id, changes)
        await cache.poll_feed()
        assert before is not None
        assert cache.position is not None
        return cache.position.number - before.number

    assert await told(RoleChanges(description="One")) == 0
    assert await told(RoleChanges(description="Another")) == 0
    assert await told(RoleChanges(permissions=[])) == 1


async def test_an_absent_field_stays_and_null_clears_the_description(world: World) -> None:
    role = await world.ubr.create_role(
        CreateRoleCommand(name="editor", description="Edits", permissions=["users:read"]), actor=SYSTEM
    )
    world.clock.move(seconds=1)
    renamed = await update(world, role.id, RoleChanges(name="writer"))
    assert (renamed.name, renamed.description, renamed.permissions) == ("writer", "Edits", ["users:read"])
    assert (renamed.revision, renamed.updated_at) == ("2", world.clock())
    assert (await update(world, role.id, RoleChanges(description=None))).description is None
    same = await update(world, role.id, RoleChanges(name="writer"))
    assert same.revision == "3"


async def test_a_stale_revision_is_refused(world: World) -> None:
    role = await world.role()
    await update(world, role.id, RoleChanges(name="other"), ("1",))
    for stale in (("1",), ()):
        with pytest.raises(PreconditionFailed):
            await update(world, role.id, RoleChanges(name="third"), stale)
        with pytest.raises(PreconditionFailed):
            await world.ubr.delete_role(DeleteRoleCommand(role_id=role.id, if_match=stale), actor=SYSTEM)
    await world.ubr.delete_role(DeleteRoleCommand(role_id=role.id, if_match=("1", "2")), actor=SYSTEM)


async def test_holders_of_a_deleted_role_lose_it(world: World) -> None:
    role = await world.role("users:read")
    member = await world.user(role=role.name)
    await world.ubr.delete_role(DeleteRoleCommand(role_id=role.id), actor=SYSTEM)
    assert (await world.seen(member.id)).roles == ["user"]
    assert await world.alive(member.tokens)
    again = await world.role("users:read", name=role.name)
    assert again.id != role.id
    assert (await world.seen(member.id)).roles == ["user"]


@pytest.mark.parametrize(
    ("role_id", "fixed"),
    [
        (ADMIN_ROLE_ID, RoleChanges(name="other")),
        (ADMIN_ROLE_ID, RoleChanges(permissions=["users:read"])),
        (USER_ROLE_ID, RoleChanges(name="other")),
        (USER_ROLE_ID, RoleChanges(name="other", permissions=["users:read"])),
    ],
)
async def test_a_built_in_role_stays_what_it_is(world: World, role_id: UUID, fixed: RoleChanges) -> None:
    before = await get(world, role_id)
    await world.acts()
    assert before.built_in
    with pytest.raises(BuiltInRole):
        await world.ubr.delete_role(DeleteRoleCommand(role_id=role_id), actor=SYSTEM)
    with pytest.raises(BuiltInRole):
        await update(world, role_id, fixed)
    assert await get(world, role_id) == before
    assert await world.acts() == []
    assert (await update(world, role_id, RoleChanges(description="Ours"))).description == "Ours"


async def test_an_unknown_role_is_not_found(world: World) -> None:
    with pytest.raises(RoleNotFound):
        await get(world, UUID(int=7))
    with pytest.raises(RoleNotFound):
        await update(world, UUID(int=7), RoleChanges())
    with pytest.raises(RoleNotFound):
        await world.ubr.delete_role(DeleteRoleCommand(role_id=UUID(int=7)), actor=SYSTEM)


async def test_roles_are_listed_oldest_first(world: World) -> None:
    names = []
    for name in ("zebra", "ape", "mole"):
        world.clock.move(seconds=1)
        names.append((await world.role(name=name)).name)
    page = await world.ubr.list_roles(ListRolesCommand(), actor=SYSTEM)
    assert [role.name for role in page.items] == ["admin", "user", *names]
    assert [role.built_in for role in page.items] == [True, True, False, False, False]
