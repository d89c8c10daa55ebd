"""Once an account is another person's, the clients of the former one are strangers to it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.people import OTHER_PASSWORD, PASSWORD, World, new_world
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.accounts.reset_password import ResetPasswordCommand
from ubr.application.kernel.origin import Origin, calling_from
from ubr.domain.errors import InvalidCredentials, RateLimited
from ubr.settings import Limit, LoginRateLimit

SQUATTER, OWNER, STRANGER = "198.51.100.7", "203.0.113.9", "192.0.2.1"
EMAIL = "owner@example.org"


async def guess(world: World, ip: str) -> None:
    with calling_from(Origin(ip=ip)):
        await world.log_in(EMAIL, "not the right one of them")


async def test_the_client_that_registered_an_account_has_no_guesses_of_its_own_after_the_owner_claimed_it() -> None:
    limit = LoginRateLimit(Limit(10, timedelta(minutes=1)), None)
    async with new_world(login_rate_limit=limit) as world:
        with calling_from(Origin(ip=SQUATTER)):
            await world.ubr.register_user(RegisterUserCommand(email=EMAIL, password=PASSWORD))
        with calling_from(Origin(ip=OWNER)):
            await world.ubr.request_password_reset(RequestPasswordResetCommand(email=EMAIL))
            token = await world.link(EMAIL)
            await world.ubr.reset_password(ResetPasswordCommand(token=token, new_password=OTHER_PASSWORD))
        for _ in range(10):
            with pytest.raises(InvalidCredentials):
                await guess(world, STRANGER)
        with pytest.raises(RateLimited):
            await guess(world, SQUATTER)
