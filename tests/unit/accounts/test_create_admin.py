import asyncio

import pytest

from tests.support.people import OTHER_PASSWORD, PASSWORD, World
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.kernel.representations import UserResult
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import EmailTaken, Invalid, InvalidCredentials, UserNotFound, WeakPassword


async def create(
    world: World, email: str = "admin@example.org", *, first_only: bool = False, take_over: bool = False
) -> UserResult | None:
    command = CreateAdminCommand(email=email, password=OTHER_PASSWORD, first_only=first_only, take_over=take_over)
    return await world.ubr.create_admin(command, actor=SYSTEM)


async def test_it_makes_an_administrator_who_can_sign_in(world: World) -> None:
    made = await create(world)
    assert made is not None
    assert made.roles == ["admin", "user"]
    assert (await world.log_in("admin@example.org", OTHER_PASSWORD)).user == made


async def test_another_one_may_follow(world: World) -> None:
    await create(world)
    assert await create(world, "admin2@example.org") is not None


async def test_first_only_does_nothing_where_there_is_one(world: World) -> None:
    assert await create(world, first_only=True) is not None
    await world.acts()
    assert await create(world, first_only=True) is None
    assert await create(world, "other@example.org", first_only=True) is None
    assert await world.acts() == []


async def test_first_only_counts_those_who_stay(world: World) -> None:
    first, second = await world.admin(), await world.admin()
    await world.set_status(second.id, UserStatus.DISABLED)
    assert await create(world, first_only=True) is None
    await world.ubr.update_user(
        UpdateUserCommand(user_id=first.id, changes=UserChanges(full_name="User One")), actor=SYSTEM
    )
    assert await create(world, first_only=True) is None


async def test_one_of_many_concurrent_calls_creates_the_first_administrator(world: World) -> None:
    emails = [f"admin{n}@example.org" for n in range(10)]
    made = await asyncio.gather(*(create(world, email, first_only=True) for email in emails))
    assert sum(user is not None for user in made) == 1


@pytest.mark.parametrize("first_only", [False, True])
async def test_somebodys_account_is_refused(world: World, first_only: bool) -> None:
    member = await world.user()
    with pytest.raises(EmailTaken):
        await create(world, member.email.upper(), first_only=first_only)
    assert (await world.seen(member.id)).roles == ["user"]
    await world.log_in(member.email, PASSWORD)


async def test_unless_it_is_to_be_taken_over(world: World) -> None:
    member = await world.user()
    await world.set_status(member.id, UserStatus.DISABLED)
    taken = await create(world, member.email, take_over=True)
    assert taken is not None
    assert (taken.id, taken.roles, taken.status) == (member.id, ["admin", "user"], UserStatus.ACTIVE)
    assert not await world.alive(member.tokens)
    with pytest.raises(InvalidCredentials):
        await world.log_in(member.email, PASSWORD)
    await world.log_in(member.email, OTHER_PASSWORD)


async def test_an_account_that_does_not_exist_cannot_be_taken_over(world: World) -> None:
    with pytest.raises(UserNotFound):
        await create(world, take_over=True)
    assert not await world.ubr.create_admin.exists()


async def test_bad_input_is_refused(world: World) -> None:
    with pytest.raises(Invalid):
        await create(world, "admin")
    for password in ("short", "qwertyqwertyqwerty"):
        with pytest.raises(WeakPassword):
            await world.ubr.create_admin(CreateAdminCommand(email="a@example.org", password=password), actor=SYSTEM)
