"""The quotas of accounts, sessions and users that do nothing wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from tests.support.people import OTHER_PASSWORD, PASSWORD, Member, World, new_world
from tests.support.values import names_of
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.ports.protection import Quota
from ubr.application.protection.rate_limits import Quotas
from ubr.bootstrap.decisions import quotas_of
from ubr.domain.actor import Actor
from ubr.domain.errors import InvalidCredentials, RateLimited
from ubr.settings import Limit, LoginRateLimit, RateLimit, Settings

HOUR = timedelta(hours=1)
USUAL = LoginRateLimit(Limit(10, timedelta(minutes=1)), Limit(100, timedelta(minutes=1)))
THREE = RateLimit(Limit(3, HOUR))
OWNER, OTHER = "owner@example.org", "other@example.org"
FIELDS = {
    "sessions": "session",
    "client_sessions": "client_session",
    "refreshes": "refresh",
    "own_changes": "own_change",
    "verifiers": "verifier",
    "registrations": "registration",
    "mails": "mail",
    "mails_to_one": "recipient",
    "bad_refreshes": "invalid_refresh",
    "bad_links": "invalid_link",
    "machine_logins": "machine",
    "bad_keys": "invalid_key",
}


@asynccontextmanager
async def limited(**settings: Any) -> AsyncIterator[World]:
    async with new_world(**{"login_rate_limit": USUAL, **settings}) as world:
        await world.register(OWNER)
        await world.register(OTHER)
        await world.acts()
        yield world


async def rename(world: World, member: Member, *, actor: Actor | None = None) -> None:
    command = UpdateUserCommand(user_id=member.id, changes=UserChanges(full_name="Ada"))
    await world.ubr.update_user(command, actor=actor or member.actor)


async def test_an_account_is_logged_in_to_so_often_and_no_other_pays_for_it() -> None:
    async with limited(session_rate_limit=THREE) as world:
        for _ in range(3):
            await world.log_in(OWNER)
        await world.acts()
        for _ in range(30):  # more than the wrong passwords that an account may have
            with pytest.raises(RateLimited):
                await world.log_in(OWNER)
        with pytest.raises(RateLimited) as refused:
            await world.log_in(OWNER)
        assert refused.value.retry_after == 20 * 60
        assert await world.acts() == []
        with pytest.raises(InvalidCredentials):  # who does not know the password learns nothing of it
            await world.log_in(OWNER, OTHER_PASSWORD)
        await world.log_in(OTHER)
        world.clock.move(minutes=20)
        await world.log_in(OWNER)


async def test_a_stranger_exhausts_no_logins_of_an_account() -> None:
    async with limited(session_rate_limit=THREE) as world:
        for _ in range(9):
            with pytest.raises(InvalidCredentials):
                await world.log_in(OWNER, OTHER_PASSWORD)
        for _ in range(3):
            await world.log_in(OWNER)


async def test_a_client_logs_in_so_often_to_any_accounts() -> None:
    async with limited(client_session_rate_limit=THREE) as world:
        with calling_from(Origin(ip="192.0.2.1")):
            for email in (OWNER, OTHER, OWNER):
                await world.log_in(email)
            with pytest.raises(RateLimited):
                await world.log_in(OTHER)
        with calling_from(Origin(ip="192.0.2.2")):
            await world.log_in(OTHER)


async def test_a_session_is_refreshed_so_often_and_its_token_stays_good() -> None:
    async with limited(refresh_rate_limit=THREE) as world:
        tokens = await world.log_in(OWNER)
        other = await world.log_in(OWNER)
        for _ in range(3):
            spent, tokens = tokens, await world.refresh(tokens.refresh_token)
            assert (await world.refresh(spent.refresh_token)).refresh_token == tokens.refresh_token
        await world.acts()
        with pytest.raises(RateLimited) as refused:
            await world.refresh(tokens.refresh_token)
        assert refused.value.retry_after == 20 * 60
        assert await world.acts() == []
        await world.refresh(other.refresh_token)
        world.clock.move(minutes=20)
        assert await world.alive(await world.refresh(tokens.refresh_token))


async def test_a_late_retry_counts_as_a_refresh() -> None:
    async with limited(refresh_rate_limit=THREE) as world:
        tokens = await world.log_in(OWNER)
        successors = []
        for _ in range(3):
            successors.append(await world.refresh(tokens.refresh_token))
            world.clock.move(seconds=11)
        with pytest.raises(RateLimited):
            await world.refresh(tokens.refresh_token)
        world.clock.move(minutes=20)
        await world.refresh(successors[-1].refresh_token)


async def test_users_change_their_own_account_so_often_and_operators_as_often_as_they_like() -> None:
    async with limited(own_change_rate_limit=RateLimit(Limit(2, HOUR))) as world:
        member, admin = await world.logged_in(OWNER), await world.admin()
        for _ in range(2):
            await rename(world, member)
        change = RequestEmailChangeCommand(email="new@example.org", current_password=PASSWORD)
        await world.ubr.request_email_change(change, actor=member.actor)
        new = ChangePasswordCommand(current_password=PASSWORD, new_password=OTHER_PASSWORD)
        await world.ubr.change_password(new, actor=member.actor)
        again = ChangePasswordCommand(current_password=OTHER_PASSWORD, new_password=PASSWORD)
        for refused in (
            rename(world, member),
            world.ubr.change_password(again, actor=member.actor),
            world.ubr.request_email_change(
                RequestEmailChangeCommand(email="new@example.org", current_password=OTHER_PASSWORD), actor=member.actor
            ),
        ):
            with pytest.raises(RateLimited):
                await refused
        for _ in range(9):
            await rename(world, member, actor=admin.actor)
        world.clock.move(minutes=30)
        await rename(world, member)


@pytest.mark.parametrize("field", FIELDS)
def test_each_quota_has_a_setting(field: str) -> None:
    name = f"UBR_{FIELDS[field].upper()}_RATE_LIMIT"
    given = {"UBR_DATABASE_URL": "memory:"}
    assert getattr(quotas_of(Settings.from_env(given)), field) is not None
    assert getattr(quotas_of(Settings.from_env({**given, name: "7/day"})), field) == Quota(limit=7, per=24 * HOUR)
    assert getattr(quotas_of(Settings.from_env({**given, name: "off"})), field) is None
    assert getattr(quotas_of(Settings.from_env({**given, "UBR_LOGIN_RATE_LIMIT": "off"})), field) is None


def test_there_is_no_quota_without_a_setting() -> None:
    assert set(names_of(Quotas)) == {"account", "log_in", *FIELDS}


@pytest.mark.parametrize(("lifetime", "limit"), [("10m", 120), ("2m", 120), ("1m", 240), ("1s", 14400)])
def test_short_lived_access_tokens_can_be_refreshed(lifetime: str, limit: int) -> None:
    settings = Settings.from_env({"UBR_DATABASE_URL": "memory:", "UBR_ACCESS_TOKEN_LIFETIME": lifetime})
    assert quotas_of(settings).refreshes == Quota(limit=limit, per=HOUR)
