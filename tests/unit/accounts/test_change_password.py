import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.people import OTHER_PASSWORD, PASSWORD, Meanwhile, World, log_in_with, new_world
from tests.support.values import replace
from ubr.adapters.security.bound_passwords import BoundPasswordHasher
from ubr.adapters.security.passwords import Argon2PasswordHasher
from ubr.adapters.security.secrets import SecretKeys
from ubr.application.accounts.change_password import ChangePassword, ChangePasswordCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.sessions.log_in import LogInCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import Invalid, InvalidCredentials, InvalidToken, WeakPassword, WrongPassword

SECRET = b"a secret of the installation...."


def command(current: str = PASSWORD, new: str = OTHER_PASSWORD) -> ChangePasswordCommand:
    return ChangePasswordCommand(current_password=current, new_password=new)


async def test_the_new_password_is_the_only_one_from_then_on(world: World) -> None:
    member = await world.user()
    other = await world.logged_in(member.email)
    await world.ubr.change_password(command(), actor=member.actor)
    await world.log_in(member.email, OTHER_PASSWORD)
    with pytest.raises(InvalidCredentials):
        await world.log_in(member.email, PASSWORD)
    assert (await world.alive(member.tokens), await world.alive(other.tokens)) == (True, False)


@pytest.mark.parametrize("current", [OTHER_PASSWORD, "x", PASSWORD + " "])
async def test_the_current_one_has_to_be_given(world: World, current: str) -> None:
    member = await world.user()
    other = await world.logged_in(member.email)
    await world.acts()
    with pytest.raises(WrongPassword):
        await world.ubr.change_password(command(current), actor=member.actor)
    assert await world.alive(other.tokens)
    assert await world.acts() == []
    await world.log_in(member.email)


@pytest.mark.parametrize(
    ("new", "kind"),
    [("short", WeakPassword), ("x" * 20, WeakPassword), ("123456789012345", WeakPassword), ("\0" * 20, Invalid)],
)
async def test_the_new_one_has_to_meet_the_policy(world: World, new: str, kind: type[Invalid]) -> None:
    member = await world.user()
    with pytest.raises(kind) as failure:
        await world.ubr.change_password(command(new=new), actor=member.actor)
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/new_password"]


@pytest.mark.parametrize("current", ["", "x" * 1025, "\0"])
async def test_what_is_nobodys_password_is_invalid(world: World, current: str) -> None:
    member = await world.user()
    with pytest.raises(Invalid) as failure:
        await world.ubr.change_password(command(current), actor=member.actor)
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/current_password"]


async def test_the_new_one_must_not_be_the_email_or_the_name(world: World) -> None:
    member = await world.logged_in((await world.register("someone.long@example.org")).email)
    for new in ("someone.long@example.org", "someone-long someone-long"):
        with pytest.raises(WeakPassword):
            await world.ubr.change_password(command(new=new), actor=member.actor)


async def test_one_of_two_concurrent_changes_succeeds(world: World) -> None:
    member = await world.user()
    news = [OTHER_PASSWORD, "yet another long password"]
    results = await asyncio.gather(
        *(world.ubr.change_password(command(new=new), actor=member.actor) for new in news), return_exceptions=True
    )
    assert sorted(result is None for result in results) == [False, True]
    assert any(isinstance(result, WrongPassword) for result in results)
    await world.log_in(member.email, news[results.index(None)])


def change_while(world: World, act: Callable[[], Awaitable[object]]) -> ChangePassword:
    """A change of password during whose hashing something else happens."""
    change = world.ubr.change_password
    return replace(change, passwords=replace(change.passwords, hasher=Meanwhile(change.hasher, act)))


async def test_a_session_that_ends_meanwhile_changes_nothing(world: World) -> None:
    member = await world.user()
    revoke = RevokeSessionCommand(session_id=member.actor.session_id)
    change = change_while(world, lambda: world.ubr.revoke_session(revoke, actor=SYSTEM))
    with pytest.raises(InvalidToken):
        await change(command(), actor=member.actor)
    await world.log_in(member.email, PASSWORD)


async def test_a_concurrent_rehash_is_not_a_change_of_password() -> None:
    async with new_world(argon2_time=2, secret_keys=(SECRET,)) as world:
        cheap = Argon2PasswordHasher(8, 1, 1)
        bound = BoundPasswordHasher(cheap, SecretKeys([SECRET]))
        register = replace(world.ubr.register_user, hasher=bound)
        await register(RegisterUserCommand(email="user1@example.org", password=PASSWORD))
        log_in = log_in_with(world.ubr, bound)
        tokens = await log_in(LogInCommand(email="user1@example.org", password=PASSWORD))
        cheap.close()
        actor = await world.ubr.authenticate(tokens.access_token)
        await change_while(world, lambda: world.log_in("user1@example.org"))(command(), actor=actor)
        await world.log_in("user1@example.org", OTHER_PASSWORD)
