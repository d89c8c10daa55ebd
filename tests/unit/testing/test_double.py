"""The double: users, requests, mails, times and failures, each independent of every other double."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from ubr import SYSTEM, GetUserCommand, ListUsersCommand, RequestPasswordResetCommand, errors
from ubr.adapters.memory.faults import Failure
from ubr.testing import Double


@pytest.fixture
def double() -> Iterator[Double]:
    with Double(permissions=["notes:read", "notes:edit"]) as made:
        yield made


async def test_a_user_exists_with_roles_permissions_and_a_password(double: Double) -> None:
    role = double.a_role("notes:read", name="reading")
    user = double.a_user(roles=[role], permissions=["notes:edit"])
    assert await double.ubr.permits(user.actor, "notes:read")
    assert await double.ubr.permits(user.actor, "notes:edit")
    assert user.log_in().session_id != user.tokens.session_id
    assert not await double.ubr.permits(double.a_user().actor, "notes:read")
    assert await double.ubr.permits(double.an_admin().actor, "users:read")


def test_users_with_the_same_permissions_share_a_role(double: Double) -> None:
    users = [double.a_user(permissions=["notes:edit"]) for _ in range(3)]
    shown = [double.http_sync.get("/api/users/me", headers=user.headers).json()["roles"] for user in users]
    assert shown[0] == shown[1] == shown[2]


def test_a_permission_that_the_program_does_not_have_is_refused(double: Double) -> None:
    with pytest.raises(errors.Invalid, match="is not a permission of this service"):
        double.a_user(permissions=["notes:delete"])


def test_a_password_has_the_length_that_the_settings_require() -> None:
    with Double(password_min_length=40) as double:
        assert len(double.a_user().password) == 40


async def test_a_user_is_made_while_the_loop_of_the_test_runs(double: Double) -> None:
    await double.ubr.check_health()
    user = await asyncio.to_thread(double.a_user)
    other = double.a_user()
    page = await double.ubr.list_users(ListUsersCommand(), actor=SYSTEM)
    assert {each.id for each in page.items} == {user.id, other.id}


async def test_the_clock_ends_a_session(double: Double) -> None:
    user = double.a_user()
    assert (await double.http.get("/api/users/me", headers=user.headers)).status_code == 200
    double.clock.move(days=15)
    assert (await double.http.get("/api/users/me", headers=user.headers)).status_code == 401


async def test_each_mail_is_read_once(double: Double) -> None:
    user = double.a_user()
    await double.ubr.request_password_reset(RequestPasswordResetCommand(email=user.email))
    assert [mail.to for mail in double.mails()] == [user.email]
    assert double.mails() == []


async def test_doubles_are_independent(double: Double) -> None:
    with Double() as other:
        user = double.a_user(email="reader@example.org")
        assert other.a_user(email="reader@example.org").id != user.id
        other.clock.move(days=15)
        answers = [await each.http.get("/api/users/me", headers=user.headers) for each in (double, other)]
        assert [answer.status_code for answer in answers] == [200, 401]
        with other.failing("unreachable"):
            await double.ubr.check_health()


@pytest.mark.parametrize(
    ("failure", "error", "code"),
    [
        ("unreachable", errors.StoreUnavailable, "store-unavailable"),
        ("slow", errors.StoreTooSlow, "store-too-slow"),
        ("conflict", errors.TransactionConflict, "store-unavailable"),
    ],
)
async def test_a_failure_of_the_store(double: Double, failure: Failure, error: type[Exception], code: str) -> None:
    user = double.a_user()
    headers = user.headers
    with double.failing(failure):
        with pytest.raises(error):
            await double.ubr.get_user(GetUserCommand(user_id=user.id), actor=SYSTEM)
        answer = await double.http.post("/api/auth/login", json={"email": user.email, "password": user.password})
        assert (answer.status_code, answer.json()["type"]) == (503, f"/problems/{code}")
        assert answer.headers["retry-after"]
        assert (await double.http.get("/health/ready")).status_code == 503
    assert (await double.http.get("/health/ready")).status_code == 200
    assert (await double.http.get("/api/users/me", headers=headers)).status_code == 200


async def test_a_call_repeats_itself_after_one_conflict(double: Double) -> None:
    with double.failing("conflict", times=1):
        assert double.a_user().email
    with double.failing("unreachable", times=1):
        with pytest.raises(errors.StoreUnavailable):
            await double.ubr.check_health()
        await double.ubr.check_health()


def test_a_failure_that_does_not_exist_is_refused(double: Double) -> None:
    with pytest.raises(ValueError, match="take one of unreachable, slow, conflict"), double.failing("tired"):  # type: ignore[arg-type]
        pass


def test_a_wrong_setting_leaves_nothing_open() -> None:
    with pytest.raises(TypeError, match="unknown_setting"), Double(unknown_setting=1):
        pass
