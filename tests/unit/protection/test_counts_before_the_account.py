"""Wrong passwords from before an e-mail got an account do not count against that account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest

from tests.support.people import PASSWORD, World, new_world
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.accounts.verify_email import VerifyEmailCommand
from ubr.application.kernel.origin import Origin, calling_from
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import InvalidCredentials, RateLimited
from ubr.settings import Limit, LoginRateLimit

EMAIL = "new@example.org"
PHONE = "203.0.113.9"


@pytest.fixture
async def limited() -> AsyncIterator[World]:
    async with new_world(login_rate_limit=LoginRateLimit(Limit(10, timedelta(hours=1)), None)) as made:
        yield made


async def log_in(world: World, password: str) -> None:
    with calling_from(Origin(ip=PHONE)):
        await world.log_in(EMAIL, password)


async def new_admin(world: World) -> None:
    await world.ubr.create_admin(CreateAdminCommand(email=EMAIL, password=PASSWORD), actor=SYSTEM)


async def new_user(world: World) -> None:
    admin = await world.admin()
    await world.ubr.create_user(CreateUserCommand(email=EMAIL, password=PASSWORD), actor=admin.actor)


async def new_email(world: World) -> None:
    member = await world.user()
    command = RequestEmailChangeCommand(email=EMAIL, current_password=PASSWORD)
    await world.ubr.request_email_change(command, actor=member.actor)
    await world.ubr.verify_email(VerifyEmailCommand(token=await world.link(EMAIL)))


async def new_email_by_an_operator(world: World) -> None:
    member, admin = await world.user(), await world.admin()
    command = UpdateUserCommand(user_id=member.id, changes=UserChanges(email=EMAIL))
    await world.ubr.update_user(command, actor=admin.actor)


@pytest.mark.parametrize("given", [new_admin, new_user, new_email, new_email_by_an_operator])
async def test_an_account_begins_without_the_failures_of_its_e_mail(
    limited: World, given: Callable[[World], Awaitable[None]]
) -> None:
    for _ in range(10):
        with pytest.raises(InvalidCredentials):
            await log_in(limited, "there is no such account yet")
    with pytest.raises(RateLimited):
        await log_in(limited, PASSWORD)
    await given(limited)
    await log_in(limited, PASSWORD)
