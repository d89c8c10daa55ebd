import pytest

from tests.support.people import OTHER_PASSWORD, PASSWORD, World
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.roles.list_user_roles import ListUserRolesCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import EmailTaken, Forbidden, Invalid, InvalidCredentials, WeakPassword
from ubr.domain.roles.grant import MAX_ROLES


async def test_an_account_with_password_name_and_roles(world: World) -> None:
    admin, role = await world.admin(), await world.role("users:read", name="reader")
    command = CreateUserCommand(
        email="New@example.org", password=PASSWORD, full_name=" New User ", roles=[role.name, "user", role.name]
    )
    user = await world.ubr.create_user(command, actor=admin.actor)
    assert (user.email, user.full_name, user.roles) == ("New@example.org", "New User", ["reader", "user"])
    assert (await world.log_in("new@example.org")).user == user
    grants = (await world.ubr.list_user_roles(ListUserRolesCommand(user_id=user.id), actor=SYSTEM)).items
    assert [(grant.role, grant.granted_by, grant.expires_at) for grant in grants] == [
        ("reader", admin.id, None),
        ("user", None, None),
    ]


async def test_without_a_password_login_is_impossible(world: World) -> None:
    await world.ubr.create_user(CreateUserCommand(email="new@example.org"), actor=SYSTEM)
    for password in (PASSWORD, OTHER_PASSWORD, "None"):
        with pytest.raises(InvalidCredentials):
            await world.log_in("new@example.org", password)


async def test_the_email_must_not_be_anothers(world: World) -> None:
    await world.register("user1@example.org")
    await world.acts()
    with pytest.raises(EmailTaken):
        await world.ubr.create_user(CreateUserCommand(email="USER1@example.org"), actor=SYSTEM)
    assert await world.acts() == []


@pytest.mark.parametrize("password", ["short", "new@example.org", "passwordpassword"])
async def test_the_password_has_to_meet_the_policy(world: World, password: str) -> None:
    with pytest.raises(WeakPassword) as failure:
        await world.ubr.create_user(CreateUserCommand(email="new@example.org", password=password), actor=SYSTEM)
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/password"]


@pytest.mark.parametrize(
    ("roles", "pointer"),
    [
        (["user", "nobody"], "/roles/1"),
        (["No Role"], "/roles/0"),
        ([""], "/roles/0"),
        (["user", "user", "*"], "/roles/2"),
    ],
)
async def test_a_role_that_is_not_there_is_bad_input(world: World, roles: list[str], pointer: str) -> None:
    with pytest.raises(Invalid) as failure:
        await world.ubr.create_user(CreateUserCommand(email="new@example.org", roles=roles), actor=SYSTEM)
    assert [flaw.pointer for flaw in failure.value.flaws] == [pointer]
    await world.register("new@example.org")


async def test_no_more_roles_are_looked_for_than_one_can_hold(world: World) -> None:
    names = [f"unknown{number}" for number in range(MAX_ROLES + 1)]
    for roles, pointer in ((names, "/roles"), (names[:-1], "/roles/0")):
        with pytest.raises(Invalid) as failure:
            await world.ubr.create_user(CreateUserCommand(email="new@example.org", roles=roles), actor=SYSTEM)
        assert [flaw.pointer for flaw in failure.value.flaws] == [pointer]


async def test_a_role_that_is_named_twice_counts_once(world: World) -> None:
    role = await world.role()
    command = CreateUserCommand(email="new@example.org", roles=[role.name, "user"] * MAX_ROLES)
    assert (await world.ubr.create_user(command, actor=SYSTEM)).roles == sorted([role.name, "user"])


async def test_a_caller_without_roles_read_does_not_learn_the_existing_roles(world: World) -> None:
    member = await world.user("users:write")
    told = set()
    for role in ("admin", "nobody"):
        with pytest.raises(Forbidden) as failure:
            await world.ubr.create_user(CreateUserCommand(email="new@example.org", roles=[role]), actor=member.actor)
        told.add((failure.value.code, failure.value.detail))
    assert len(told) == 1
