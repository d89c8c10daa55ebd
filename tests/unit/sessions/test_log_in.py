import asyncio
from uuid import UUID

import pytest

from tests.support.hashes import opened
from tests.support.people import OTHER_PASSWORD, PASSWORD, World, log_in_while, new_world
from tests.support.values import replace
from ubr.adapters.security.bound_passwords import BoundPasswordHasher
from ubr.adapters.security.passwords import Argon2PasswordHasher
from ubr.adapters.security.secrets import SecretKeys
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.application.sessions.log_in import LogInCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import Invalid, InvalidCredentials, InvalidToken, StoreUnavailable
from ubr.domain.ids import UserId

SECRET = b"a secret of the installation...."


async def sessions(world: World, user_id: UUID) -> set[UUID]:
    page = await world.ubr.list_sessions(ListSessionsCommand(user_id=user_id, limit=200), actor=SYSTEM)
    return {session.id for session in page.items}


async def test_it_opens_a_session_and_answers_with_tokens(world: World) -> None:
    user = await world.register("User1@example.org")
    tokens = await world.log_in("user1@example.org")
    assert tokens.user == await world.seen(user.id)
    assert (tokens.token_type, tokens.expires_in, tokens.refresh_expires_in) == ("Bearer", 600, 14 * 86400)
    actor = await world.ubr.authenticate(tokens.access_token)
    assert (actor.user_id, actor.session_id) == (user.id, tokens.session_id)
    assert await sessions(world, user.id) == {tokens.session_id}


async def test_any_spelling_of_the_email_and_any_form_of_the_password_will_do(world: World) -> None:
    await world.register("ju\u0308rgen@b\u00fccher.example", "pass\u00e9 simple et compos\u00e9")
    await world.log_in(" J\u00dcRGEN@xn--bcher-kva.EXAMPLE", "passe\u0301 simple et compose\u0301")


async def test_a_common_password_of_before_signs_in_and_can_be_given_up(world: World) -> None:
    """The policy is for passwords that are set."""
    unlisted = replace(world.ubr.register_user, is_common=lambda _: False, is_guessable=lambda _: False)
    await unlisted(RegisterUserCommand(email="user1@example.org", password="passwordpassword"))
    member = await world.logged_in("user1@example.org", "passwordpassword")
    change = ChangePasswordCommand(current_password="passwordpassword", new_password=PASSWORD)
    await world.ubr.change_password(change, actor=member.actor)
    await world.log_in("user1@example.org")


async def test_unknown_email_wrong_password_no_password_and_disabled_user_are_refused_alike(world: World) -> None:
    await world.register("user1@example.org")
    disabled = await world.register("user2@example.org")
    await world.set_status(disabled.id, UserStatus.DISABLED)
    await world.ubr.create_user(CreateUserCommand(email="user3@example.org"), actor=SYSTEM)
    tries = [
        ("nobody@example.org", PASSWORD),
        ("user1@example.org", OTHER_PASSWORD),
        ("user1@example.org", PASSWORD + " "),
        ("user1@example.org", PASSWORD.upper()),
        ("user2@example.org", PASSWORD),
        ("user2@example.org", OTHER_PASSWORD),
        ("user3@example.org", PASSWORD),
    ]
    failures = set()
    for email, password in tries:
        with pytest.raises(InvalidCredentials) as failure:
            await world.log_in(email, password)
        failures.add((failure.value.code, failure.value.detail, failure.value.args))
    assert len(failures) == 1


async def test_a_password_is_hashed_whoever_asks(world: World) -> None:
    await world.register("user1@example.org")
    for email in ("user1@example.org", "nobody@example.org"):
        hashed: list[int] = []

        async def count(seen: list[int] = hashed) -> None:
            seen.append(1)

        log_in = log_in_while(world, count)
        with pytest.raises(InvalidCredentials):
            await log_in(LogInCommand(email=email, password=OTHER_PASSWORD))
        assert hashed == [1]


@pytest.mark.parametrize(
    ("email", "password"), [("no email", PASSWORD), ("a@example.org", ""), ("a@example.org", "x" * 1025)]
)
async def test_what_can_be_nobodys_is_invalid(world: World, email: str, password: str) -> None:
    with pytest.raises(Invalid):
        await world.log_in(email, password)
    assert await world.acts() == []


async def test_the_policy_is_not_asked_at_log_in() -> None:
    async with new_world(password_min_length=8) as world:
        await world.register("user1@example.org", "8 chars!")
        stricter = replace(world.ubr.log_in, policy=replace(world.ubr.log_in.policy, password_min_length=15))
        await stricter(LogInCommand(email="user1@example.org", password="8 chars!"))


async def test_a_cheaper_hash_is_replaced_unnoticed() -> None:
    async with new_world(argon2_time=2, secret_keys=(SECRET,)) as world:
        cheap = Argon2PasswordHasher(8, 1, 1)
        register = replace(world.ubr.register_user, hasher=BoundPasswordHasher(cheap, SecretKeys([SECRET])))
        user = await register(RegisterUserCommand(email="user1@example.org", password=PASSWORD), actor=SYSTEM)
        cheap.close()
        hashes = []
        for _ in range(2):
            await world.log_in(user.email)
            async with world.ubr.log_in.unit_of_work.read() as tx:
                stored = await tx.users.get(UserId(user.id))
            assert stored is not None
            assert stored.password_hash is not None
            hashes.append(opened(stored.password_hash.encoded, user.id, [SECRET]))
        assert hashes[0] == hashes[1]
        assert "t=2" in hashes[0]
        seen = await world.seen(user.id)
        assert (seen.updated_at, seen.revision) == (user.updated_at, user.revision)
        assert [entry.action for entry in await world.acts()] == ["user.registered", "session.opened", "session.opened"]


async def test_beyond_the_cap_the_longest_unused_session_ends() -> None:
    async with new_world(sessions_per_user=3) as world:
        user = await world.register("user1@example.org")
        opened = []
        for _ in range(3):
            opened.append(await world.log_in(user.email))
            world.clock.move(seconds=1)
        first, second, third = opened
        await world.refresh(first.refresh_token)  # in use, so the second is the one longest unused
        await world.acts()
        fourth = await world.log_in(user.email)
        assert await sessions(world, user.id) == {first.session_id, third.session_id, fourth.session_id}
        assert not await world.alive(second)
        with pytest.raises(InvalidToken):
            await world.refresh(second.refresh_token)
        evicted, signed_in = await world.acts()
        assert (evicted.action, evicted.data["cause"]) == ("session.revoked", "evicted")
        assert evicted.target is not None
        assert evicted.target.id == str(second.session_id)
        assert signed_in.action == "session.opened"


async def test_the_cap_holds_for_many_at_once() -> None:
    async with new_world(sessions_per_user=3) as world:
        user = await world.register("user1@example.org")
        await asyncio.gather(*(world.log_in(user.email) for _ in range(12)))
        assert len(await sessions(world, user.id)) == 3


async def test_expired_sessions_do_not_count_for_the_cap() -> None:
    async with new_world(sessions_per_user=2) as world:
        user = await world.register("user1@example.org")
        await world.log_in(user.email)
        world.clock.move(days=14)
        kept = [await world.log_in(user.email) for _ in range(2)]
        assert [await world.alive(tokens) for tokens in kept] == [True, True]


async def test_the_maximum_of_sessions_is_per_user() -> None:
    async with new_world(sessions_per_user=1) as world:
        one, other = await world.user(), await world.user()
        assert await world.alive(one.tokens)
        assert await world.alive(other.tokens)


# --- races -----------------------------------------------------------------------------------------------------------


async def test_a_log_in_with_the_old_password_during_its_change_is_refused(world: World) -> None:
    member = await world.user()
    change = ChangePasswordCommand(current_password=PASSWORD, new_password=OTHER_PASSWORD)
    log_in = log_in_while(world, lambda: world.ubr.change_password(change, actor=member.actor))
    with pytest.raises(InvalidCredentials):
        await log_in(LogInCommand(email=member.email, password=PASSWORD))
    assert await sessions(world, member.id) == {member.actor.session_id}


async def test_a_log_in_during_which_the_user_is_disabled_is_refused(world: World) -> None:
    user = await world.register("user1@example.org")
    log_in = log_in_while(world, lambda: world.set_status(user.id, UserStatus.DISABLED))
    with pytest.raises(InvalidCredentials):
        await log_in(LogInCommand(email=user.email, password=PASSWORD))
    assert await sessions(world, user.id) == set()


async def test_a_log_in_during_which_the_user_is_deleted_is_refused(world: World) -> None:
    user = await world.register("user1@example.org")
    delete = DeleteUserCommand(user_id=user.id)
    log_in = log_in_while(world, lambda: world.ubr.delete_user(delete, actor=SYSTEM))
    with pytest.raises(InvalidCredentials):
        await log_in(LogInCommand(email=user.email, password=PASSWORD))


async def test_a_log_in_during_which_the_email_changes_is_refused_under_the_old_one(world: World) -> None:
    user = await world.register("user1@example.org")
    update = UpdateUserCommand(user_id=user.id, changes=UserChanges(email="user2@example.org"))
    log_in = log_in_while(world, lambda: world.ubr.update_user(update, actor=SYSTEM))
    with pytest.raises(InvalidCredentials):
        await log_in(LogInCommand(email=user.email, password=PASSWORD))
    await world.log_in("user2@example.org")


async def test_a_login_continues_if_all_sessions_end_meanwhile(world: World) -> None:
    user = await world.register("user1@example.org")
    revoke = RevokeUserSessionsCommand(user_id=user.id)
    hashed: list[int] = []

    async def end_all() -> None:
        hashed.append(1)
        await world.log_in(user.email)  # without a session, there would be nothing to end
        await world.ubr.revoke_user_sessions(revoke, actor=SYSTEM)

    tokens = await log_in_while(world, end_all, times=99)(LogInCommand(email=user.email, password=PASSWORD))
    assert await world.alive(tokens)
    assert hashed == [1]


async def test_a_log_in_that_is_overtaken_each_time_is_neither_called_wrong_nor_counted(world: World) -> None:
    user = await world.register("user1@example.org")
    same_again = CreateAdminCommand(email=user.email, password=PASSWORD, take_over=True)
    log_in = log_in_while(world, lambda: world.ubr.create_admin(same_again, actor=SYSTEM), times=99)
    with pytest.raises(StoreUnavailable):
        await log_in(LogInCommand(email=user.email, password=PASSWORD))
    assert "session.login_failed" not in {entry.action for entry in await world.acts()}
    await world.log_in(user.email)


async def test_a_grant_given_meanwhile_is_in_the_tokens(world: World) -> None:
    user = await world.register("user1@example.org")
    assign = AssignRoleCommand(user_id=user.id, role="admin")
    log_in = log_in_while(world, lambda: world.ubr.assign_role(assign, actor=SYSTEM))
    tokens = await log_in(LogInCommand(email=user.email, password=PASSWORD))
    assert tokens.user.roles == ["admin", "user"]


async def test_no_log_in_with_the_old_password_outlives_its_change(world: World) -> None:
    member = await world.user()
    change = world.ubr.change_password(
        ChangePasswordCommand(current_password=PASSWORD, new_password=OTHER_PASSWORD), actor=member.actor
    )
    results = await asyncio.gather(change, *(world.log_in(member.email) for _ in range(20)), return_exceptions=True)
    assert results[0] is None
    for result in results[1:]:
        assert isinstance(result, InvalidCredentials) or not await world.alive(result)
    assert await sessions(world, member.id) == {member.actor.session_id}
