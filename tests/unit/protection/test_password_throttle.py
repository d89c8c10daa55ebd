"""Passwords that are guessed: how many are looked at, and who is shut out by it."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Awaitable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import ubr.application
from tests.support.people import OTHER_PASSWORD, PASSWORD, THIRD_PASSWORD, World, log_in_while, log_in_with, new_world
from tests.support.values import names_of, replace
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.accounts.resend_verification import ResendVerificationCommand
from ubr.application.accounts.reset_password import ResetPasswordCommand
from ubr.application.accounts.undo_email_change import UndoEmailChangeCommand
from ubr.application.accounts.verify_email import VerifyEmailCommand
from ubr.application.app import Application
from ubr.application.kernel.idempotency import IdempotencyKey
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.ports.protection import Decision, Quota
from ubr.application.protection.rate_limits import FallbackRateLimitStore, Quotas, RateLimiter
from ubr.application.sessions.log_in import LogIn, LogInCommand
from ubr.application.sessions.refresh_session import RefreshSessionCommand
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import (
    Busy,
    EmailTaken,
    InvalidCredentials,
    InvalidLink,
    InvalidToken,
    RateLimited,
    StoreUnavailable,
    TransactionConflict,
    UbrError,
    WeakPassword,
    WrongPassword,
)
from ubr.settings import Limit, LoginRateLimit

MINUTE = timedelta(minutes=1)
USUAL = LoginRateLimit(Limit(10, MINUTE), Limit(100, MINUTE))
OWNER = "owner@example.org"
HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


def limited(account: int = 10, per_ip: int = 100, **changes: Any) -> Any:
    rate_limiter = LoginRateLimit(Limit(account, MINUTE), Limit(per_ip, MINUTE))
    return new_world(login_rate_limit=rate_limiter, **changes)


def at(ip: str) -> AbstractContextManager[None]:
    return calling_from(Origin(ip=ip))


async def guess(world: World, times: int, email: str = OWNER) -> list[str]:
    """Wrong passwords, one after the other; what became of each."""
    return [await outcome(world.log_in(email, OTHER_PASSWORD)) for _ in range(times)]


async def outcome(doing: Awaitable[object]) -> str:
    try:
        await doing
    except UbrError as error:
        return error.code
    return "ok"


WRONG, LIMITED = InvalidCredentials.code, RateLimited.code


@pytest.mark.parametrize("email", [OWNER, "nobody@example.org"])
async def test_beyond_the_limit_no_password_is_looked_at(email: str) -> None:
    async with limited() as world:
        await world.register(OWNER)
        hashed: list[int] = []

        async def count() -> None:
            hashed.append(1)

        log_in = log_in_while(world, count, times=100)
        said = [await outcome(log_in(LogInCommand(email=email, password=OTHER_PASSWORD))) for _ in range(12)]
        assert said == [WRONG] * 10 + [LIMITED] * 2
        assert await outcome(log_in(LogInCommand(email=email, password=PASSWORD))) == LIMITED
        assert len(hashed) == 10
        assert [entry.action for entry in await world.acts()].count("session.login_failed") == 10


async def test_who_waits_as_long_as_told_is_let_in_and_not_before() -> None:
    async with limited() as world:
        await world.register(OWNER)
        await guess(world, 1)
        world.clock.move(seconds=17.3)
        await guess(world, 9)
        with pytest.raises(RateLimited) as refusal:
            await world.log_in(OWNER)
        assert refusal.value.retry_after == 43
        world.clock.move(seconds=42)
        assert await outcome(world.log_in(OWNER)) == LIMITED
        world.clock.move(seconds=1)
        await world.log_in(OWNER)


async def test_a_right_password_takes_none_of_the_tries_and_wipes_none_of_the_failures() -> None:
    async with limited() as world:
        await world.register(OWNER)
        for _ in range(20):
            await world.log_in(OWNER)
        assert await guess(world, 9) == [WRONG] * 9
        await world.log_in(OWNER)
        assert await guess(world, 2) == [WRONG, LIMITED]
        assert await outcome(world.log_in(OWNER)) == LIMITED


async def test_every_spelling_of_an_email_shares_one_count() -> None:
    async with limited() as world:
        await world.register("ju\u0308rgen@b\u00fccher.example")
        spellings = [
            "ju\u0308rgen@b\u00fccher.example",
            "J\u00dcRGEN@B\u00dcCHER.example",
            " j\u00fcrgen@xn--bcher-kva.example",
            "j\u00fcrgen@xn--bcher-kva.EXAMPLE ",
        ]
        said = [await guess(world, 1, spellings[number % 4]) for number in range(12)]
        assert said == [[WRONG]] * 10 + [[LIMITED]] * 2


async def test_exactly_the_limit_of_concurrent_guesses_is_verified() -> None:
    async with limited() as world:
        await world.register(OWNER)
        tries = [world.log_in(OWNER, OTHER_PASSWORD) for _ in range(200)]
        said = await asyncio.gather(*map(outcome, tries))
        assert (said.count(WRONG), said.count(LIMITED)) == (10, 190)


async def test_right_ones_at_once_all_succeed_also_beside_wrong_ones() -> None:
    async with limited() as world:
        await world.register(OWNER)
        assert await asyncio.gather(*(outcome(world.log_in(OWNER)) for _ in range(50))) == ["ok"] * 50
        mixed = [world.log_in(OWNER, OTHER_PASSWORD if number % 2 else PASSWORD) for number in range(60)]
        said = await asyncio.gather(*map(outcome, mixed))
        assert said.count(WRONG) == 10
        assert await outcome(world.log_in(OWNER)) == LIMITED


# --- who is known ----------------------------------------------------------------------------------------------------


async def test_a_stranger_cannot_lock_out_a_known_client() -> None:
    async with limited() as world:
        await world.register(OWNER)
        with at(HOME):
            await world.log_in(OWNER)
        with at(ELSEWHERE):
            assert (await guess(world, 11))[-1] == LIMITED
        with at("203.0.113.9"):
            assert await outcome(world.log_in(OWNER)) == LIMITED
        with at(HOME):
            await world.log_in(OWNER)
            assert await guess(world, 11) == [WRONG] * 10 + [LIMITED]
            assert await outcome(world.log_in(OWNER)) == LIMITED


async def test_a_client_is_known_for_30_days_since_it_signed_in_last() -> None:
    async with limited() as world:
        await world.register(OWNER)
        for _ in range(2):
            with at(HOME):
                await world.log_in(OWNER)
            world.clock.move(days=29)
        with at(ELSEWHERE):
            await guess(world, 10)
        with at(HOME):
            await world.log_in(OWNER)
        world.clock.move(days=30, seconds=1)
        with at(ELSEWHERE):
            await guess(world, 10)
        with at(HOME):
            assert await outcome(world.log_in(OWNER)) == LIMITED


async def test_a_client_is_known_to_that_account_alone_and_an_ipv6_network_is_one_client() -> None:
    async with limited() as world:
        for email in (OWNER, "other@example.org"):
            await world.register(email)
        with at("2001:db8:1:2::1"):
            await world.log_in(OWNER)
        with at(ELSEWHERE):
            await guess(world, 10)
            await guess(world, 10, "other@example.org")
        with at("2001:db8:1:2:ffff::9"):
            await world.log_in(OWNER)
            assert await outcome(world.log_in("other@example.org")) == LIMITED
        with at("2001:db8:1:3::1"):
            assert await outcome(world.log_in(OWNER)) == LIMITED


async def test_the_first_login_where_one_registered_is_not_shut_out_by_others() -> None:
    async with limited() as world:
        with at(HOME):
            await world.ubr.register_user(RegisterUserCommand(email=OWNER, password=PASSWORD))
        with at(ELSEWHERE):
            assert (await guess(world, 11))[-1] == LIMITED
        with at(HOME):
            await world.log_in(OWNER)


async def test_the_first_login_where_a_registration_was_confirmed_is_not_shut_out_by_others() -> None:
    async with limited(registration="verified") as world:
        await world.ubr.register_user(RegisterUserCommand(email=OWNER))
        token = await world.link(OWNER)
        with at(HOME):
            await world.ubr.verify_email(VerifyEmailCommand(token=token, password=PASSWORD))
        with at(ELSEWHERE):
            assert (await guess(world, 11))[-1] == LIMITED
        with at(HOME):
            await world.log_in(OWNER)


@pytest.mark.parametrize("proof", ["reset", "verify", "take over"])
async def test_a_proved_mailbox_or_the_operator_empties_the_count(proof: str) -> None:
    async with limited() as world:
        await world.register(OWNER)
        with at(ELSEWHERE):
            assert (await guess(world, 11))[-1] == LIMITED
        match proof:
            case "reset":
                await world.mails()
                await world.ubr.request_password_reset(RequestPasswordResetCommand(email=OWNER))
                token = await world.link(OWNER)
                await world.ubr.reset_password(ResetPasswordCommand(token=token, new_password=PASSWORD))
            case "verify":
                await world.ubr.verify_email(VerifyEmailCommand(token=await world.link(OWNER), password=PASSWORD))
            case _:
                command = CreateAdminCommand(email=OWNER, password=PASSWORD, take_over=True)
                await world.ubr.create_admin(command, actor=SYSTEM)
        with at("203.0.113.9"):
            await world.log_in(OWNER)


async def test_a_proved_mailbox_empties_the_count_of_its_client_too() -> None:
    async with limited() as world:
        with at(HOME):
            await world.ubr.register_user(RegisterUserCommand(email=OWNER, password=PASSWORD))
            await world.mails()
            assert (await guess(world, 11))[-1] == LIMITED
            await world.ubr.request_password_reset(RequestPasswordResetCommand(email=OWNER))
            token = await world.link(OWNER)
            await world.ubr.reset_password(ResetPasswordCommand(token=token, new_password=PASSWORD))
            await world.log_in(OWNER)


# --- other doors -----------------------------------------------------------------------------------------------------


async def test_a_current_password_is_counted_with_log_ins() -> None:
    async with limited() as world:
        member = await world.user()
        change = ChangePasswordCommand(current_password=OTHER_PASSWORD, new_password="a third long password")
        said = [await outcome(world.ubr.change_password(change, actor=member.actor)) for _ in range(6)]
        assert said == [WrongPassword.code] * 6
        assert await guess(world, 5, member.email) == [WRONG] * 4 + [LIMITED]
        right = ChangePasswordCommand(current_password=PASSWORD, new_password="a third long password")
        assert await outcome(world.ubr.change_password(right, actor=member.actor)) == LIMITED
        world.clock.move(minutes=1)
        await world.ubr.change_password(right, actor=member.actor)
        assert await guess(world, 11, member.email) == [WRONG] * 10 + [LIMITED]


def test_no_use_case_verifies_a_password_but_through_the_throttle() -> None:
    folder = Path(ubr.application.__path__[0])
    verifying = {
        path.name
        for path in folder.glob("*/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("hasher.verify")
    }
    # Whoever verifies an e-mail by a link may set any password there: to guess the one it has is of no use.
    assert verifying == {"password_throttle.py", "verify_email.py"}


@pytest.mark.parametrize("exists", [True, False])
async def test_a_lock_is_one_entry(exists: bool) -> None:
    async with limited() as world:
        user = await world.register(OWNER if exists else "other@example.org")
        await world.acts()
        await guess(world, 9)
        assert "session.login_locked" not in {entry.action for entry in await world.acts()}
        until = world.clock() + MINUTE
        world.clock.move(seconds=30)
        await guess(world, 5)
        failed, locked = await world.acts()
        assert (failed.action, locked.action, locked.level) == (
            "session.login_failed",
            "session.login_locked",
            "warning",
        )
        assert locked.data == {"until": until.isoformat(), "known_client": False}
        assert (locked.target and locked.target.id) == (str(user.id) if exists else None)
        world.clock.move(seconds=30)
        await guess(world, 10)
        assert [entry.action for entry in await world.acts()].count("session.login_locked") == 1


async def test_a_wrong_current_password_locks_like_a_login_and_from_a_known_client_this_one_alone() -> None:
    async with limited() as world:
        await world.register(OWNER)
        with at(HOME):
            member = await world.logged_in(OWNER)
            await world.acts()
            command = ChangePasswordCommand(current_password=OTHER_PASSWORD, new_password=THIRD_PASSWORD)
            for _ in range(11):
                await outcome(world.ubr.change_password(command, actor=member.actor))
        [locked] = [entry for entry in await world.acts() if entry.action == "session.login_locked"]
        assert locked.data["known_client"] is True
        assert locked.target is not None
        assert locked.target.id == str(member.id)
        with at(ELSEWHERE):
            assert await outcome(world.log_in(OWNER)) == "ok"


async def test_of_many_guesses_at_once_one_locks() -> None:
    async with limited() as world:
        await world.register(OWNER)
        await world.acts()
        await asyncio.gather(*(outcome(world.log_in(OWNER, OTHER_PASSWORD)) for _ in range(30)))
        actions = [entry.action for entry in await world.acts()]
        assert (actions.count("session.login_failed"), actions.count("session.login_locked")) == (10, 1)


async def test_a_storm_of_guesses_from_many_addresses_is_one_lock_with_the_client_ip_of_the_last_failure() -> None:
    async with limited() as world:
        user = await world.register(OWNER)
        await world.acts()
        for number in range(1000):
            with at(f"198.51.{100 + number // 256}.{number % 256}"):
                await outcome(world.log_in(OWNER, OTHER_PASSWORD))
        entries = await world.acts()
        assert [entry.action for entry in entries].count("session.login_failed") == 10
        [locked] = [entry for entry in entries if entry.action == "session.login_locked"]
        assert (locked.actor_id, locked.target and locked.target.id) == (None, str(user.id))
        assert locked.ip == "198.51.100.9"


async def test_the_log_alone_says_why_a_login_failed() -> None:
    async with limited() as world:
        user = await world.register(OWNER)
        invited = CreateUserCommand(email="invited@example.org")
        await world.ubr.create_user(invited, actor=SYSTEM)
        await world.acts()

        async def reason(email: str, password: str = PASSWORD) -> object:
            with pytest.raises(InvalidCredentials):
                await world.log_in(email, password)
            [entry] = await world.acts()
            return entry.data["reason"]

        assert await reason(OWNER, OTHER_PASSWORD) == "wrong_password"
        assert await reason("nobody@example.org") == "unknown_email"
        assert await reason("invited@example.org") == "no_password"
        await world.set_status(user.id, UserStatus.DISABLED)
        await world.acts()
        assert await reason(OWNER) == "disabled"
        assert await reason(OWNER, OTHER_PASSWORD) == "wrong_password"


async def test_a_client_ip_may_be_wrong_about_so_many_accounts() -> None:
    async with limited(per_ip=5) as world:
        await world.register(OWNER)
        with at("2001:db8::1"):
            for _ in range(7):
                await world.log_in(OWNER)
            for number in range(5):
                assert await guess(world, 1, f"user{number}@example.org") == [WRONG]
            assert await outcome(world.log_in(OWNER)) == LIMITED
        with at("2001:db8::ffff"):
            assert await outcome(world.log_in(OWNER)) == LIMITED
        with at("2001:db8:0:1::1"):
            await world.log_in(OWNER)
        await world.log_in(OWNER)  # a call of the program itself
        world.clock.move(seconds=12)
        with at("2001:db8::1"):
            await world.log_in(OWNER)


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("no address", "no address"),
        (None, None),
    ],
)
def test_what_counts_as_one_client(ip: str | None, network: str | None) -> None:
    assert Origin(ip=ip).network == network


async def test_registrations_and_bad_refresh_tokens_are_counted_by_client_ip() -> None:
    async with limited() as world:

        async def register(actor: System | None = None) -> str:
            command = RegisterUserCommand(email=OWNER, password=PASSWORD)
            return await outcome(world.ubr.register_user(command, actor=actor))

        async def refresh(token: str) -> str:
            return await outcome(world.ubr.refresh_session(RefreshSessionCommand(refresh_token=token)))

        with at(HOME):
            assert [await register() for _ in range(61)] == ["ok"] + [EmailTaken.code] * 59 + [LIMITED]
            assert await register(SYSTEM) == EmailTaken.code
            bad = ["no token", "ubr_rt_" + "A" * 43] * 50
            assert [await refresh(token) for token in bad] == [InvalidToken.code] * 100
            assert await refresh("no token") == LIMITED
            tokens = await world.log_in(OWNER)
            assert await refresh(tokens.refresh_token) == "ok"
        with at(ELSEWHERE):
            assert await register() == EmailTaken.code
            assert await refresh("no token") == InvalidToken.code
        assert await register() == EmailTaken.code


@pytest.mark.parametrize("exists", [True, False])
async def test_mails_are_counted(exists: bool) -> None:
    async with limited() as world:
        if exists:
            await world.register(OWNER)

        def forgot(email: str) -> Awaitable[str]:
            return outcome(world.ubr.request_password_reset(RequestPasswordResetCommand(email=email)))

        def resend(email: str) -> Awaitable[str]:
            return outcome(world.ubr.resend_verification(ResendVerificationCommand(email=email)))

        with at(HOME):
            for number in range(5):
                assert await forgot(f"{'Oo'[number % 2]}wner@example.org") == "ok"
            assert (await forgot(OWNER), await resend(OWNER)) == (LIMITED, "ok"), "one kind takes nothing from another"
            said = [await forgot(f"user{number}@example.org") for number in range(24)]
            assert said == ["ok"] * 23 + [LIMITED]
        with at(ELSEWHERE):
            assert await forgot(OWNER) == LIMITED
        world.clock.move(minutes=12)
        assert await forgot(OWNER) == "ok"


async def test_nobody_is_flooded_with_mails_by_asking_otherwise() -> None:
    async with limited(registration="verified") as world:
        member = await world.user()
        command = RequestEmailChangeCommand(email=OWNER, current_password=PASSWORD)
        for _ in range(5):
            await world.ubr.request_email_change(command, actor=member.actor)
            await world.ubr.register_user(RegisterUserCommand(email=OWNER))
        await world.mails()
        # An error here would tell that others have registered with this e-mail.
        assert await outcome(world.ubr.register_user(RegisterUserCommand(email=OWNER))) == "ok"
        assert await world.mails() == []
        for _ in range(12):
            with pytest.raises(RateLimited):
                await world.ubr.request_email_change(command, actor=member.actor)
        await world.log_in(member.email)  # the password was right each time


async def test_an_account_is_made_without_a_mail_where_there_were_too_many() -> None:
    async with limited() as world:
        for number in range(7):
            made = await world.ubr.register_user(RegisterUserCommand(email=OWNER, password=PASSWORD))
            assert made is not None
            assert len(await world.mails()) == (1 if number < 5 else 0)
            await world.ubr.delete_user(DeleteUserCommand(user_id=made.id), actor=SYSTEM)


async def test_a_link_is_no_way_to_have_passwords_hashed_without_end() -> None:
    async with limited(per_ip=5) as world:
        await world.register(OWNER)
        command = VerifyEmailCommand(token=await world.link(OWNER), password="short")
        with at(HOME):
            said = [await outcome(world.ubr.verify_email(command)) for _ in range(6)]
        assert said == [WeakPassword.code] * 5 + [LIMITED]


async def test_a_registration_by_mail_that_is_repeated_with_its_key_is_not_counted() -> None:
    async with limited(registration="verified") as world:
        for _ in range(9):
            assert (
                await world.ubr.register_user(RegisterUserCommand(email=OWNER), idempotency_key=IdempotencyKey("once"))
                is None
            )
        assert len(await world.mails()) == 1


@pytest.mark.parametrize("kind", ["reset", "verify", "undo"])
async def test_bad_links_are_counted(kind: str) -> None:
    token = "ubr_link_" + "A" * 43
    async with limited() as world:
        app: Application = world.ubr

        def redeem() -> Awaitable[object]:
            match kind:
                case "reset":
                    return app.reset_password(ResetPasswordCommand(token=token, new_password=PASSWORD))
                case "verify":
                    return app.verify_email(VerifyEmailCommand(token=token, password=PASSWORD))
                case _:
                    return app.undo_email_change(UndoEmailChangeCommand(token="nonsense"))

        with at(HOME):
            assert [await outcome(redeem()) for _ in range(31)] == [InvalidLink.code] * 30 + [LIMITED]
        with at(ELSEWHERE):
            assert await outcome(redeem()) == InvalidLink.code


async def test_each_part_can_be_off() -> None:
    async with new_world() as world:
        with at(HOME):
            assert set(await guess(world, 120)) == {WRONG}
            for limit in (
                world.ubr.register_user.rate_limiter.registration,
                world.ubr.register_user.rate_limiter.bad_refresh,
            ):
                assert {await outcome(limit()) for _ in range(120)} == {"ok"}
    async with new_world(login_rate_limit=LoginRateLimit(None, Limit(20, MINUTE))) as world:
        with at(HOME):
            assert await guess(world, 21) == [WRONG] * 20 + [LIMITED]
    async with new_world(login_rate_limit=LoginRateLimit(Limit(3, MINUTE), None)) as world:
        with at(HOME):
            assert await guess(world, 4) == [WRONG] * 3 + [LIMITED]
            assert [await outcome(world.ubr.register_user.rate_limiter.registration()) for _ in range(61)][
                -1
            ] == LIMITED


# --- tries that come to no end ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Failing:
    """A hasher that fails."""

    error: BaseException

    async def verify(self, *_: object, **__: object) -> bool:
        raise self.error

    async def hash(self, *_: object, **__: object) -> Any:
        raise self.error

    def outdated(self, *_: object) -> bool:
        return False

    def rebind(self, *_: object) -> Any:
        raise self.error

    def lacks_secret(self, _: object) -> bool:
        return False


@pytest.mark.parametrize("error", [Busy(), StoreUnavailable(), asyncio.CancelledError(), ZeroDivisionError()])
async def test_a_try_that_was_not_looked_at_takes_nothing(error: BaseException) -> None:
    async with limited(per_ip=10) as world:
        await world.register(OWNER)
        log_in = log_in_with(world.ubr, Failing(error))
        with at(HOME):
            for _ in range(12):
                with pytest.raises(type(error)):
                    await log_in(LogInCommand(email=OWNER, password=PASSWORD))
            assert await guess(world, 11) == [WRONG] * 10 + [LIMITED]


async def test_a_wrong_one_stays_counted_where_the_client_does_not_wait_to_be_told() -> None:
    async with limited() as world:
        await world.register(OWNER)

        class Unable:
            """Nothing can be written once the password has been looked at."""

            def __init__(self) -> None:
                self.peek = world.ubr.log_in.unit_of_work.peek
                self.autocommit = world.ubr.log_in.unit_of_work.autocommit

            def begin(self, actor: Actor | System | None) -> Any:
                raise asyncio.CancelledError

        log_in = guarded(world, unit_of_work=Unable())
        for _ in range(10):
            with pytest.raises(asyncio.CancelledError):
                await log_in(LogInCommand(email=OWNER, password=OTHER_PASSWORD))
        assert await outcome(impatient(world)(LogInCommand(email=OWNER, password=PASSWORD))) == LIMITED


def guarded(world: World, **changes: Any) -> LogIn:
    return replace(world.ubr.log_in, passwords=replace(world.ubr.log_in.passwords, **changes))


def impatient(world: World) -> LogIn:
    """A login that takes no time to wait."""
    now = [0.0]

    async def pause(seconds: float) -> None:
        now[0] += seconds

    return guarded(world, pause=pause, elapsed=lambda: now[0])


async def test_a_try_waits_for_those_on_their_way_two_seconds_from_the_last_that_was_given_back() -> None:
    async with limited(account=1) as world:
        await world.register(OWNER)
        now, waited = [0.0], [0.0]
        take = world.ubr.log_in.passwords
        bucket = take.bucket(Email.parse(OWNER))
        on_its_way = await take.reserve(bucket)
        assert on_its_way is not None

        async def pause(seconds: float) -> None:
            now[0] += seconds
            waited[0] += seconds

        log_in = guarded(world, pause=pause, elapsed=lambda: now[0])
        command = LogInCommand(email=OWNER, password=PASSWORD)
        with pytest.raises(RateLimited) as refusal:
            await log_in(command)
        assert 2.0 <= waited[0] < 2.1
        assert refusal.value.retry_after == 60

        async def pause_and_give_back(seconds: float) -> None:
            await pause(seconds)
            if now[0] > 5:
                async with world.ubr.log_in.unit_of_work.begin(None) as tx:
                    await tx.password_attempts.give_back(on_its_way, passed=False)
                    await tx.commit()

        now[0] = 3.5
        log_in = guarded(world, pause=pause_and_give_back, elapsed=lambda: now[0])
        await log_in(command)
        assert 5 < now[0] < 5.1


async def test_no_attempt_waits_if_all_reservations_have_failed() -> None:
    async with limited() as world:
        await guess(world, 10)

        async def pause(_: float) -> None:
            raise AssertionError

        log_in = guarded(world, pause=pause)
        assert await outcome(log_in(LogInCommand(email=OWNER, password=PASSWORD))) == LIMITED


@pytest.mark.parametrize(
    ("error", "counted"), [(TransactionConflict(), 0), (StoreUnavailable(), 1), (asyncio.CancelledError(), 1)]
)
async def test_a_right_one_whose_commit_fails_is_given_back_where_that_is_certain(
    error: BaseException, counted: int
) -> None:
    """A commit of unknown outcome may have given it back already, and must not give back another's."""
    async with limited() as world:
        await world.register(OWNER)
        async with world.ubr.log_in.unit_of_work.read() as tx:
            kind: Any = type(tx)
        commit = kind.commit

        async def fail_once_opened(self: Any) -> None:
            if self._events:
                raise error
            await commit(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kind, "commit", fail_once_opened)
            with pytest.raises(type(error)):
                await world.log_in(OWNER)
        log_in = impatient(world)
        wrong = LogInCommand(email=OWNER, password=OTHER_PASSWORD)
        said = [await outcome(log_in(wrong)) for _ in range(11)]
        assert said == [WRONG] * (10 - counted) + [LIMITED] * (1 + counted)


# --- where nothing can be counted ------------------------------------------------------------------------------------


class Dead:
    """A store that is out of reach."""

    async def take(self, *_: object) -> Decision:
        raise StoreUnavailable

    async def look(self, *_: object) -> Decision:
        raise StoreUnavailable

    async def give_back(self, *_: object) -> None:
        raise StoreUnavailable

    async def forget(self, _: int) -> int:
        return 0


async def test_if_one_store_is_unavailable_the_other_counts() -> None:
    async with limited(per_ip=3) as world:
        rate_limit_store = world.ubr.log_in.passwords.rate_limiter.rate_limit_store
        for both, expected in (
            (FallbackRateLimitStore(Dead(), rate_limit_store), LIMITED),
            (Dead(), StoreUnavailable.code),
        ):
            rate_limiter = RateLimiter(both, world.ubr.log_in.passwords.rate_limiter.quotas)
            log_in = guarded(world, rate_limiter=rate_limiter)
            with at(HOME):
                said = [await outcome(log_in(LogInCommand(email=OWNER, password=PASSWORD))) for _ in range(4)]
            assert said[-1] == expected
        both = FallbackRateLimitStore(Dead(), rate_limit_store)
        quota = Quota(limit=1, per=MINUTE)
        assert (await both.take("a", quota)).allowed
        await both.give_back("a", quota)
        assert [(await both.take("a", quota)).allowed for _ in range(2)] == [True, False]
        assert await both.forget(10) == 0


def test_off_is_no_limit_at_all() -> None:
    off = Quotas.off()
    assert {getattr(off, name) for name in names_of(Quotas)} == {None}
