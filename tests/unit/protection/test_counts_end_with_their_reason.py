"""What a thief or a stranger used up does not stop the owner, once the owner has proved who they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest

from tests.support.people import OTHER_PASSWORD, PASSWORD, Member, World, new_world
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.accounts.reset_password import ResetPasswordCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.kernel.origin import Origin, calling_from
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import InvalidCredentials, RateLimited
from ubr.settings import Limit, LoginRateLimit

LAPTOP, PHONE = "198.51.100.7", "203.0.113.9"
PER_HOUR = LoginRateLimit(Limit(10, timedelta(hours=1)), Limit(100, timedelta(minutes=1)))


@pytest.fixture
async def limited() -> AsyncIterator[World]:
    async with new_world(login_rate_limit=PER_HOUR) as made:
        yield made


async def log_in_from(world: World, ip: str, email: str, password: str) -> None:
    with calling_from(Origin(ip=ip)):
        await world.log_in(email, password)


async def take_over(world: World, email: str) -> None:
    command = CreateAdminCommand(email=email, password=OTHER_PASSWORD, take_over=True)
    await world.ubr.create_admin(command, actor=SYSTEM)


async def reset(world: World, email: str) -> None:
    with calling_from(Origin(ip=PHONE)):
        await world.ubr.request_password_reset(RequestPasswordResetCommand(email=email))
        command = ResetPasswordCommand(token=await world.link(email), new_password=OTHER_PASSWORD)
        await world.ubr.reset_password(command)


@pytest.mark.parametrize("proved", [take_over, reset])
async def test_the_usual_client_of_a_user_is_free_again_after_a_new_password_from_elsewhere(
    limited: World, proved: Callable[[World, str], Awaitable[None]]
) -> None:
    email = (await limited.user(role="admin")).email
    await log_in_from(limited, LAPTOP, email, PASSWORD)
    for _ in range(10):
        with pytest.raises(InvalidCredentials):
            await log_in_from(limited, LAPTOP, email, "what was it again, then")
    with pytest.raises(RateLimited):
        await log_in_from(limited, LAPTOP, email, PASSWORD)
    await proved(limited, email)
    await log_in_from(limited, LAPTOP, email, OTHER_PASSWORD)


async def test_logins_of_a_thief_do_not_count_after_a_reset(limited: World) -> None:
    email = (await limited.user()).email
    for _ in range(99):
        await limited.log_in(email)
    with pytest.raises(RateLimited):
        await limited.log_in(email)
    await reset(limited, email)
    await log_in_from(limited, PHONE, email, OTHER_PASSWORD)


async def test_a_stolen_access_token_cannot_keep_its_owner_from_changing_the_password(limited: World) -> None:
    owner = await limited.user()
    thief = Member(owner.email, owner.actor, owner.tokens)
    change = UpdateUserCommand(user_id=owner.id, changes=UserChanges(full_name="Nobody"))
    for _ in range(100):
        await limited.ubr.update_user(change, actor=thief.actor)
    with pytest.raises(RateLimited):
        await limited.ubr.update_user(change, actor=thief.actor)
    command = ChangePasswordCommand(current_password=PASSWORD, new_password=OTHER_PASSWORD)
    await limited.ubr.change_password(command, actor=(await limited.logged_in(owner.email)).actor)
