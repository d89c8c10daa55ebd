import asyncio

import pytest

from tests.support.people import PASSWORD, World, new_world
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import EmailTaken, Invalid, RegistrationClosed, WeakPassword


def command(
    email: str = "User1@example.org", password: str = PASSWORD, full_name: str | None = None
) -> RegisterUserCommand:
    return RegisterUserCommand(email=email, password=password, full_name=full_name)


async def test_anyone_may_register_where_registration_is_open(world: World) -> None:
    user = await world.ubr.register_user(command(full_name="  User One "))
    assert user is not None
    assert (user.email, user.full_name, user.status) == ("User1@example.org", "User One", UserStatus.ACTIVE)
    assert (user.email_verified, user.roles) == (False, ["user"])
    assert user.created_at == user.updated_at == world.clock()
    await world.log_in("user1@EXAMPLE.org")


async def test_only_the_service_may_register_users_if_registration_is_closed() -> None:
    async with new_world(registration="closed") as world:
        with pytest.raises(RegistrationClosed):
            await world.ubr.register_user(command())
        admin = await world.admin()
        with pytest.raises(RegistrationClosed):
            await world.ubr.register_user(command(), actor=admin.actor)
        await world.ubr.register_user(command(), actor=SYSTEM)


@pytest.mark.parametrize(
    "password",
    ["short", "x" * 14, "aaaaaaaaaaaaaaaaaaaa", "user1@example.org", "User One User One", "PasswordPassword"],
)
async def test_the_password_has_to_meet_the_policy(world: World, password: str) -> None:
    with pytest.raises(WeakPassword) as failure:
        await world.ubr.register_user(command(password=password, full_name="User One"))
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/password"]
    assert await world.acts() == []


async def test_the_operator_decides_how_short_a_password_may_be() -> None:
    async with new_world(password_min_length=8) as world:
        await world.ubr.register_user(command(password="8 chars!"))
        with pytest.raises(WeakPassword):
            await world.ubr.register_user(command("user2@example.org", password="7 chars"))


@pytest.mark.parametrize(
    "again", ["User1@example.org", "USER1@EXAMPLE.ORG", " user1@example.org ", "user1@Example.Org"]
)
async def test_the_email_must_not_be_anothers_however_it_is_spelled(world: World, again: str) -> None:
    await world.ubr.register_user(command())
    await world.acts()
    with pytest.raises(EmailTaken):
        await world.ubr.register_user(command(again))
    assert await world.acts() == []


@pytest.mark.parametrize(
    ("email", "full_name", "pointer"),
    [
        ("user", None, "/email"),
        ("user1@example.org", " ", "/full_name"),
        ("user1@example.org", "x" * 201, "/full_name"),
    ],
)
async def test_bad_input_says_where(world: World, email: str, full_name: str | None, pointer: str) -> None:
    with pytest.raises(Invalid) as failure:
        await world.ubr.register_user(command(email, full_name=full_name))
    assert [flaw.pointer for flaw in failure.value.flaws] == [pointer]


async def test_one_of_many_concurrent_users_gets_the_email(world: World) -> None:
    spellings = ["user1@example.org", "USER1@example.org", "User1@Example.org", " user1@example.org"] * 5
    results = await asyncio.gather(
        *(world.ubr.register_user(command(email)) for email in spellings), return_exceptions=True
    )
    assert sum(isinstance(result, EmailTaken) for result in results) == 19
    assert [entry.action for entry in await world.acts()] == ["user.registered"]
