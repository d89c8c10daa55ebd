"""Why a login fails, for operators."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tests.support.people import PASSWORD, PassingOn, World, new_world
from tests.support.values import replace
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.explain_login import MAX_FAILED_LOGINS, ExplainLoginCommand, LoginExplanationResult
from ubr.application.accounts.get_user_by_email import GetUserByEmailCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.verify_email import VerifyEmailCommand
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.ports.protection import Decision
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import Forbidden, Invalid, InvalidCredentials, RateLimited, StoreUnavailable, UserNotFound
from ubr.settings import Limit, LoginRateLimit, RateLimit

OWNER, WRONG = "owner@example.org", "not the right one of them"
HOME, STRANGER = "192.0.2.1", "198.51.100.7"
MINUTE = timedelta(minutes=1)


def limited(**settings: Any) -> Any:
    return new_world(login_rate_limit=LoginRateLimit(Limit(3, MINUTE), None), **settings)


def at(ip: str) -> AbstractContextManager[None]:
    return calling_from(Origin(ip=ip))


async def explain(world: World, email: str = OWNER, actor: Actor | System = SYSTEM) -> LoginExplanationResult:
    return await world.ubr.explain_login(ExplainLoginCommand(email=email), actor=actor)


async def fail(world: World, ip: str, times: int = 1, password: str = WRONG) -> None:
    with at(ip):
        for _ in range(times):
            with pytest.raises(InvalidCredentials):
                await world.log_in(OWNER, password)


async def test_a_login_that_succeeds_has_no_obstacle() -> None:
    async with limited(session_rate_limit=RateLimit(Limit(5, timedelta(hours=1)))) as world:
        user = await world.register(OWNER)
        with at(HOME):
            await world.log_in(OWNER)
        world.clock.move(seconds=5)
        found = await explain(world, "Owner@Example.ORG")
        assert (found.obstacles, found.locks, found.failed_logins) == ([], [], [])
        assert (found.user and found.user.id, found.user and found.user.email_verified) == (user.id, False)
        assert (found.sessions, found.max_sessions) == (1, 50)
        assert (found.wrong_passwords, found.max_wrong_passwords) == (0, 3)
        assert (found.remaining_logins, found.next_login_at) == (4, None)
        assert found.last_login_at == world.clock() - timedelta(seconds=5)
        assert found.registration == "open"


async def test_an_unknown_e_mail_has_no_account_and_can_be_locked_too() -> None:
    async with limited() as world:
        found = await explain(world)
        assert (found.obstacles, found.user, found.sessions) == (["no_account"], None, 0)
        assert (found.reserved_for, found.reserved_until, found.registration_until) == (None, None, None)
        await fail(world, STRANGER, 3)
        found = await explain(world)
        assert found.obstacles == ["no_account", "locked"]
        assert [(lock.until, lock.ip) for lock in found.locks] == [(world.clock() + MINUTE, None)]
        assert found.failed_logins == [], "their entries name no user"


async def test_an_e_mail_that_a_user_gave_up_is_reserved_for_them_for_a_day() -> None:
    async with limited() as world:
        member = await world.user(email=OWNER)
        await world.ubr.verify_email(VerifyEmailCommand(token=await world.link(OWNER), password=PASSWORD))
        member = await world.logged_in(OWNER)
        command = RequestEmailChangeCommand(email="new@example.org", current_password=PASSWORD)
        await world.ubr.request_email_change(command, actor=member.actor)
        token = await world.link("new@example.org")
        await world.ubr.verify_email(VerifyEmailCommand(token=token))
        until = world.clock() + timedelta(days=1)
        found = await explain(world)
        assert (found.obstacles, found.reserved_for, found.reserved_until) == (["no_account"], member.id, until)
        assert (await explain(world, "new@example.org")).reserved_for is None
        world.clock.move(days=1)
        assert (await explain(world)).reserved_for is None


async def test_a_registration_that_waits_for_its_link_is_shown() -> None:
    async with limited(registration="verified") as world:
        await world.ubr.register_user(RegisterUserCommand(email=OWNER))
        assert (await explain(world)).registration_until is None, "the link is made when it is mailed"
        token = await world.link(OWNER)
        found = await explain(world)
        assert (found.obstacles, found.registration) == (["no_account"], "verified")
        assert found.registration_until == world.clock() + timedelta(minutes=30)
        await world.ubr.verify_email(VerifyEmailCommand(token=token, password=PASSWORD))
        found = await explain(world)
        assert (found.obstacles, found.registration_until) == ([], None)
        assert found.user is not None
        assert found.user.email_verified


async def test_a_disabled_account_without_a_password_has_both_obstacles() -> None:
    async with limited() as world:
        user = await world.ubr.create_user(CreateUserCommand(email=OWNER), actor=SYSTEM)
        assert (await explain(world)).obstacles == ["no_password"]
        await world.set_status(user.id, UserStatus.DISABLED)
        assert (await explain(world)).obstacles == ["no_password", "disabled"]


async def test_a_password_that_no_secret_decrypts_is_an_obstacle() -> None:
    class Secretless(PassingOn):
        def lacks_secret(self, hashed: PasswordHash) -> bool:
            return True

    async with limited() as world:
        await world.register(OWNER)
        explain_login = replace(world.ubr.explain_login, hasher=Secretless(world.ubr.explain_login.hasher))
        found = await explain_login(ExplainLoginCommand(email=OWNER), actor=SYSTEM)
        assert found.obstacles == ["unreadable_password"]


async def test_the_lock_of_the_account_is_an_obstacle_until_its_end() -> None:
    async with limited() as world:
        await world.register(OWNER)
        await fail(world, STRANGER, 2)
        found = await explain(world)
        assert (found.obstacles, found.locks, found.wrong_passwords) == ([], [], 2)
        until = world.clock() + MINUTE
        world.clock.move(seconds=30)
        await fail(world, STRANGER)
        found = await explain(world)
        assert (found.obstacles, found.wrong_passwords) == (["locked"], 3)
        assert [(lock.until, lock.ip) for lock in found.locks] == [(until, None)]
        world.clock.move(seconds=30)
        found = await explain(world)
        assert (found.obstacles, found.locks, found.wrong_passwords) == ([], [], 0)


async def test_a_known_client_has_a_lock_of_its_own_which_is_no_obstacle_for_others() -> None:
    async with limited() as world:
        await world.register(OWNER)
        with at(HOME):
            await world.log_in(OWNER)
        await fail(world, HOME, 3)
        found = await explain(world)
        assert (found.obstacles, found.wrong_passwords) == ([], 0)
        assert [(lock.until, lock.ip) for lock in found.locks] == [(world.clock() + MINUTE, HOME)]
        await fail(world, STRANGER, 3)
        found = await explain(world)
        assert found.obstacles == ["locked"]
        assert [lock.ip for lock in found.locks] == [None, HOME]


async def test_the_lock_of_a_client_that_is_no_longer_known_is_not_one() -> None:
    async with limited() as world:
        await world.register(OWNER)
        with at(HOME):
            await world.log_in(OWNER)
        world.clock.move(days=30)
        await fail(world, HOME, 3)
        assert [lock.ip for lock in (await explain(world)).locks] == [HOME]
        world.clock.move(seconds=1)
        assert (await explain(world)).locks == [], "it counts as a stranger now"
        await fail(world, HOME, 3)
        assert [lock.ip for lock in (await explain(world)).locks] == [None]


async def test_used_up_logins_are_an_obstacle_that_the_explanation_does_not_add_to() -> None:
    async with limited(session_rate_limit=RateLimit(Limit(2, timedelta(hours=1)))) as world:
        await world.register(OWNER)
        for _ in range(2):
            await world.log_in(OWNER)
        for _ in range(3):
            found = await explain(world)
            assert (found.obstacles, found.remaining_logins) == (["login_limit"], 0)
            assert found.next_login_at == world.clock() + timedelta(minutes=30)
        with pytest.raises(RateLimited):
            await world.log_in(OWNER)
        world.clock.move(minutes=30)
        assert (await explain(world)).obstacles == []
        await world.log_in(OWNER)


async def test_a_count_that_cannot_be_read_leaves_the_rest_of_the_answer() -> None:
    class Away:
        async def look(self, *_: object) -> Decision:
            raise StoreUnavailable

    async with limited() as world:
        await world.register(OWNER)
        locks = world.ubr.explain_login.locks
        rate_limiter = replace(locks.passwords.rate_limiter, rate_limit_store=Away())
        elsewhere = replace(locks, passwords=replace(locks.passwords, rate_limiter=rate_limiter))
        explain_login = replace(world.ubr.explain_login, locks=elsewhere)
        found = await explain_login(ExplainLoginCommand(email=OWNER), actor=SYSTEM)
        assert (found.remaining_logins, found.next_login_at, found.obstacles) == (None, None, [])


async def test_the_newest_failed_logins_are_shown_with_reason_and_client() -> None:
    async with new_world() as world:
        user = await world.register(OWNER)
        await world.register("other@example.org")
        await fail(world, STRANGER, MAX_FAILED_LOGINS)
        world.clock.move(seconds=1)
        await fail(world, HOME)
        await world.set_status(user.id, UserStatus.DISABLED)
        world.clock.move(seconds=1)
        await fail(world, HOME, password=PASSWORD)
        found = await explain(world)
        assert [(failed.reason, failed.ip) for failed in found.failed_logins[:3]] == [
            ("disabled", HOME),
            ("wrong_password", HOME),
            ("wrong_password", STRANGER),
        ]
        assert len(found.failed_logins) == MAX_FAILED_LOGINS
        assert found.failed_logins[0].timestamp == world.clock()
        assert (await explain(world, "other@example.org")).failed_logins == []
        assert found.max_wrong_passwords is None


async def test_the_read_of_the_log_is_an_entry_and_nothing_else_is() -> None:
    async with limited() as world:
        user, reader = await world.register(OWNER), await world.user("users:read", "logs:read")
        await fail(world, STRANGER, 2)
        await world.log_in(OWNER)
        await world.acts()
        await explain(world, actor=reader.actor)
        [entry] = await world.acts()
        assert (entry.action, entry.actor_id) == ("log.read", reader.id)
        assert entry.data == {"filters": {"target_id": str(user.id)}, "entries": 3}
        await explain(world, "unknown@example.org", actor=reader.actor)
        assert await world.acts() == [], "no entry was read"


async def test_no_secret_is_shown() -> None:
    async with limited() as world:
        await world.register(OWNER)
        with at(HOME):
            tokens = await world.log_in(OWNER)
        shown = msgspec.json.encode(await explain(world)).decode()
        for secret in (tokens.access_token, tokens.refresh_token, "argon2", PASSWORD):
            assert secret not in shown


async def test_a_user_is_explained_by_their_id_as_by_their_e_mail() -> None:
    async with limited() as world:
        user = await world.register(OWNER)
        await fail(world, STRANGER, 3)
        by_id = await world.ubr.explain_login(ExplainLoginCommand(user_id=user.id), actor=SYSTEM)
        assert by_id == await explain(world)
        assert by_id.obstacles == ["locked"]


async def test_an_e_mail_or_an_id_is_explained_and_not_both(world: World) -> None:
    user = await world.register(OWNER)
    for command in (ExplainLoginCommand(), ExplainLoginCommand(email=OWNER, user_id=user.id)):
        with pytest.raises(Invalid):
            await world.ubr.explain_login(command, actor=SYSTEM)


async def test_a_text_that_is_no_e_mail_is_not_explained(world: World) -> None:
    with pytest.raises(Invalid):
        await explain(world, "nobody")


async def test_a_user_is_found_by_any_spelling_of_their_e_mail(world: World) -> None:
    user, reader = await world.register(OWNER), await world.user("users:read")
    command = GetUserByEmailCommand(email="OWNER@example.org")
    assert await world.ubr.get_user_by_email(command, actor=reader.actor) == await world.seen(user.id)
    with pytest.raises(UserNotFound):
        await world.ubr.get_user_by_email(GetUserByEmailCommand(email="owner@example.com"), actor=reader.actor)
    stranger = await world.user()
    for email in (OWNER, "owner@example.com"):
        with pytest.raises(Forbidden):
            await world.ubr.get_user_by_email(GetUserByEmailCommand(email=email), actor=stranger.actor)
