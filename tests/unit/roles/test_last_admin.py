"""The last active administrator for good can be neither deleted, disabled, stripped of the role nor given an end."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from tests.support.people import Member, World
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.delete_role import DeleteRoleCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import BuiltInRole, Forbidden, InvalidToken, LastAdmin
from ubr.domain.roles.role import ADMIN_ROLE_ID

Removal = Callable[[World, Member, Member], Awaitable[object]]


def ending(world: World, target: Member, by: Member) -> Awaitable[object]:
    end = world.clock() + timedelta(days=1)
    return world.ubr.assign_role(AssignRoleCommand(user_id=target.id, role="admin", expires_at=end), actor=by.actor)


REMOVALS: dict[str, Removal] = {
    "delete": lambda world, target, by: world.ubr.delete_user(DeleteUserCommand(user_id=target.id), actor=by.actor),
    "disable": lambda world, target, by: world.set_status(target.id, UserStatus.DISABLED, actor=by.actor),
    "unassign": lambda world, target, by: world.ubr.unassign_role(
        UnassignRoleCommand(user_id=target.id, role="admin"), actor=by.actor
    ),
    "end": ending,
}
of_every_removal = pytest.mark.parametrize("name", REMOVALS)


@of_every_removal
async def test_the_last_one_cannot_remove_themselves(world: World, name: str) -> None:
    admin = await world.admin()
    before = await world.seen(admin.id)
    await world.acts()
    with pytest.raises(LastAdmin):
        await REMOVALS[name](world, admin, admin)
    assert await world.seen(admin.id) == before
    assert (await world.seen(admin.id)).revision == before.revision
    assert await world.alive(admin.tokens)
    assert await world.acts() == []


@of_every_removal
async def test_the_last_one_cannot_be_removed_by_another_who_may_everything(world: World, name: str) -> None:
    admin, other = await world.admin(), await world.user("*")
    with pytest.raises(LastAdmin):
        await REMOVALS[name](world, admin, other)


@of_every_removal
async def test_the_service_cannot_remove_the_last_one(world: World, name: str) -> None:
    admin = await world.admin()
    service = Member("", SYSTEM, admin.tokens)  # type: ignore[arg-type]
    with pytest.raises(LastAdmin):
        await REMOVALS[name](world, admin, service)


@of_every_removal
async def test_one_of_two_can_go(world: World, name: str) -> None:
    one, other = await world.admin(), await world.admin()
    await REMOVALS[name](world, one, one)
    with pytest.raises(LastAdmin):
        await REMOVALS[name](world, other, other)


@of_every_removal
@pytest.mark.parametrize("flaw", ["disabled", "ends", "all by another role", "no admin any more"])
async def test_only_an_active_admin_for_good_counts(world: World, name: str, flaw: str) -> None:
    admin, other = await world.admin(), await world.admin()
    match flaw:
        case "disabled":
            await world.set_status(other.id, UserStatus.DISABLED)
        case "ends":
            await ending(world, other, admin)
        case "all by another role":
            await world.assign(other.id, (await world.role("*")).name)
            await REMOVALS["unassign"](world, other, admin)
        case _:
            await REMOVALS["unassign"](world, other, admin)
    with pytest.raises(LastAdmin):
        await REMOVALS[name](world, admin, admin)


@of_every_removal
async def test_a_user_who_is_not_a_lasting_administrator_can_be_removed(world: World, name: str) -> None:
    admin, other = await world.admin(), await world.admin()
    await ending(world, other, admin)
    await REMOVALS[name](world, other, admin)
    assert (await world.seen(admin.id)).roles == ["admin", "user"]


async def test_an_end_can_be_taken_away_again(world: World) -> None:
    admin, other = await world.admin(), await world.admin()
    await ending(world, other, admin)
    await world.assign(other.id, "admin", actor=admin.actor)
    await REMOVALS["delete"](world, admin, admin)


async def test_the_role_itself_stays(world: World) -> None:
    admin = await world.admin()
    with pytest.raises(BuiltInRole):
        await world.ubr.delete_role(DeleteRoleCommand(role_id=ADMIN_ROLE_ID), actor=admin.actor)


@pytest.mark.parametrize("first", REMOVALS)
@pytest.mark.parametrize("second", REMOVALS)
async def test_one_of_two_administrators_who_remove_each_other_stays(world: World, first: str, second: str) -> None:
    one, other = await world.admin(), await world.admin()
    results = await asyncio.gather(
        REMOVALS[first](world, other, one), REMOVALS[second](world, one, other), return_exceptions=True
    )
    failures = [result for result in results if isinstance(result, BaseException)]
    # Whoever came second has no session or no right any more, or is told that the other is the last.
    assert len(failures) == 1
    assert isinstance(failures[0], LastAdmin | InvalidToken | Forbidden)
    await last_one_is_left(world, one, other)


@of_every_removal
async def test_one_of_two_administrators_who_remove_themselves_gets_an_error(world: World, name: str) -> None:
    one, other = await world.admin(), await world.admin()
    results = await asyncio.gather(
        REMOVALS[name](world, one, one), REMOVALS[name](world, other, other), return_exceptions=True
    )
    assert sum(isinstance(result, LastAdmin) for result in results) == 1
    await last_one_is_left(world, one, other)


async def test_one_of_many_administrators_who_leave_at_once_stays(world: World) -> None:
    admins = [await world.admin() for _ in range(12)]
    names = list(REMOVALS) * 3
    results = await asyncio.gather(
        *(REMOVALS[name](world, admin, admin) for name, admin in zip(names, admins, strict=True)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, LastAdmin) for result in results) == 1


async def last_one_is_left(world: World, one: Member, other: Member) -> None:
    """One of the two is still there and cannot go either."""
    left = [admin for admin in (one, other) if await world.alive(admin.tokens)]
    told = []
    for admin in left:
        try:
            await REMOVALS["delete"](world, admin, admin)
        except LastAdmin:
            told.append(admin)
    assert len(told) == 1
