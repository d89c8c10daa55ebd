"""An operator ends the locks of an account."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.support.people import World, new_world
from ubr.application.accounts.unlock_user import UnlockUserCommand
from ubr.application.kernel.origin import Origin, calling_from
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import Forbidden, GrantExceedsOwn, InvalidCredentials, RateLimited, UserNotFound
from ubr.settings import Limit, LoginRateLimit

OWNER, WRONG = "owner@example.org", "not the right one of them"
HOME, OFFICE, STRANGER = "192.0.2.1", "2001:db8::7", "198.51.100.7"


def limited() -> Any:
    return new_world(login_rate_limit=LoginRateLimit(Limit(3, timedelta(minutes=1)), None))


def at(ip: str) -> AbstractContextManager[None]:
    return calling_from(Origin(ip=ip))


async def lock(world: World, ip: str) -> None:
    with at(ip):
        for _ in range(3):
            with pytest.raises(InvalidCredentials):
                await world.log_in(OWNER, WRONG)
        with pytest.raises(RateLimited):
            await world.log_in(OWNER)


async def unlock(world: World, user_id: UUID, actor: Actor | System = SYSTEM) -> int:
    return (await world.ubr.unlock_user(UnlockUserCommand(user_id=user_id), actor=actor)).locks


async def test_a_locked_account_accepts_the_right_password_again_and_the_act_is_an_entry() -> None:
    async with limited() as world:
        user, operator = await world.register(OWNER), await world.user("users:write")
        await lock(world, STRANGER)
        await world.acts()
        assert await unlock(world, user.id, operator.actor) == 1
        [entry] = await world.acts()
        assert (entry.action, entry.level, entry.data) == ("user.unlocked", "warning", {"locks": 1})
        assert (entry.actor_id, entry.target and entry.target.id) == (operator.id, str(user.id))
        with at(STRANGER):
            await world.log_in(OWNER)
        await lock(world, HOME)


async def test_known_clients_are_unlocked_too_and_stay_known() -> None:
    async with limited() as world:
        user = await world.register(OWNER)
        for ip in (HOME, OFFICE):
            with at(ip):
                await world.log_in(OWNER)
        for ip in (HOME, OFFICE, STRANGER):
            await lock(world, ip)
        assert await unlock(world, user.id) == 3
        # Another address of the same IPv6 network is the same client.
        for ip in (HOME, "2001:db8::8", STRANGER):
            with at(ip):
                await world.log_in(OWNER)
        await lock(world, "198.51.100.8")
        with at(HOME):
            await world.log_in(OWNER)


async def test_without_a_lock_the_failures_so_far_no_longer_count() -> None:
    async with limited() as world:
        user = await world.register(OWNER)
        with at(STRANGER):
            for _ in range(2):
                with pytest.raises(InvalidCredentials):
                    await world.log_in(OWNER, WRONG)
        await world.acts()
        assert await unlock(world, user.id) == 0
        assert [(entry.action, entry.data) for entry in await world.acts()] == [("user.unlocked", {"locks": 0})]
        await lock(world, STRANGER)


async def test_a_lock_that_is_over_does_not_count() -> None:
    async with limited() as world:
        user = await world.register(OWNER)
        await lock(world, STRANGER)
        world.clock.move(minutes=1)
        assert await unlock(world, user.id) == 0


async def test_other_accounts_stay_locked() -> None:
    async with limited() as world:
        await world.register(OWNER)
        other = await world.register("other@example.org")
        await lock(world, STRANGER)
        assert await unlock(world, other.id) == 0
        with at(STRANGER), pytest.raises(RateLimited):
            await world.log_in(OWNER)


async def test_users_do_not_unlock_themselves() -> None:
    async with limited() as world:
        admin = await world.user(role="admin", email=OWNER)
        await lock(world, STRANGER)
        with pytest.raises(Forbidden):
            await unlock(world, admin.id, admin.actor)
        with at(STRANGER), pytest.raises(RateLimited):
            await world.log_in(OWNER)


async def test_a_user_with_more_permissions_is_not_unlocked() -> None:
    async with limited() as world:
        admin, operator = await world.user(role="admin", email=OWNER), await world.user("users:write")
        await lock(world, STRANGER)
        with pytest.raises(GrantExceedsOwn):
            await unlock(world, admin.id, operator.actor)
        with at(STRANGER), pytest.raises(RateLimited):
            await world.log_in(OWNER)


async def test_a_missing_user_is_not_unlocked() -> None:
    async with limited() as world:
        with pytest.raises(UserNotFound):
            await unlock(world, UUID(int=7))


async def test_without_limits_there_is_nothing_to_unlock() -> None:
    async with new_world() as world:
        user = await world.register(OWNER)
        assert await unlock(world, user.id) == 0
