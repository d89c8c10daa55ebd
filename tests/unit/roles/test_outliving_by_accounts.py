"""No right outlives the right of the one who used it, also not by taking another account."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.people import Member, World
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import GrantExceedsOwn

SOON = timedelta(seconds=90)


async def for_a_while(world: World, role: str) -> Member:
    member = await world.user()
    command = AssignRoleCommand(user_id=member.id, role=role, expires_at=world.clock() + SOON)
    await world.ubr.assign_role(command, actor=SYSTEM)
    return member


async def test_whoever_holds_rights_for_a_time_cannot_move_a_lasting_account_to_another_mailbox(world: World) -> None:
    role = await world.role("users:write", "logs:read")
    peer, deputy = await world.user(role=role.name), await for_a_while(world, role.name)
    change = UpdateUserCommand(user_id=peer.id, changes=UserChanges(email="thief@example.net"))
    with pytest.raises(GrantExceedsOwn):
        await world.ubr.update_user(change, actor=deputy.actor)


async def test_an_administrator_for_a_time_cannot_take_a_lasting_administrator(world: World) -> None:
    boss, deputy = await world.admin(), await for_a_while(world, "admin")
    change = UpdateUserCommand(user_id=boss.id, changes=UserChanges(email="thief@example.net"))
    with pytest.raises(GrantExceedsOwn):
        await world.ubr.update_user(change, actor=deputy.actor)


async def test_whoever_holds_rights_for_a_time_cannot_enable_an_account_that_holds_them_for_good(world: World) -> None:
    role = await world.role("users:write", "logs:read")
    second = await world.user(role=role.name)
    await world.set_status(second.id, UserStatus.DISABLED)
    deputy = await for_a_while(world, role.name)
    with pytest.raises(GrantExceedsOwn):
        await world.set_status(second.id, UserStatus.ACTIVE, actor=deputy.actor)


async def test_an_account_whose_rights_end_no_later_may_be_moved(world: World) -> None:
    role = await world.role("users:write", "logs:read")
    peer, deputy = await for_a_while(world, role.name), await for_a_while(world, role.name)
    change = UpdateUserCommand(user_id=peer.id, changes=UserChanges(email="new@example.org"))
    await world.ubr.update_user(change, actor=deputy.actor)
