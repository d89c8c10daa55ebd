"""Undoing a change of e-mail hands over what the account had then: no more, and no less."""

from __future__ import annotations

import pytest

from tests.support.people import PASSWORD, Member, World
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.undo_email_change import UndoEmailChangeCommand
from ubr.application.accounts.verify_email import VerifyEmailCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.domain.roles.role import ADMIN_ROLE_ID

OWNER, THIEF = "owner@example.org", "thief@example.net"


async def owner(world: World, *roles: str) -> Member:
    await world.ubr.register_user(RegisterUserCommand(email=OWNER, password=PASSWORD))
    await world.ubr.verify_email(VerifyEmailCommand(token=await world.link(OWNER), password=PASSWORD))
    member = await world.logged_in(OWNER)
    for role in roles:
        await world.assign(member.id, role)
    world.clock.move(minutes=1)
    return member


async def stolen(world: World, member: Member) -> str:
    """The token of the link that undoes the change."""
    command = RequestEmailChangeCommand(email=THIEF, current_password=PASSWORD)
    await world.ubr.request_email_change(command, actor=member.actor)
    await world.ubr.verify_email(VerifyEmailCommand(token=await world.link(THIEF)))
    world.clock.move(minutes=1)
    return await world.link(OWNER)


async def roles_after_undo(world: World, member: Member, token: str) -> list[str]:
    await world.ubr.undo_email_change(UndoEmailChangeCommand(token=token))
    return (await world.seen(member.id)).roles


@pytest.mark.parametrize("others", [0, 1])
async def test_a_thief_who_describes_the_role_admin_anew_does_not_stop_the_owner(world: World, others: int) -> None:
    for _ in range(others):
        await world.admin()
    member = await owner(world, "admin")
    token = await stolen(world, member)
    changes = RoleChanges(description="Everything")
    await world.ubr.update_role(UpdateRoleCommand(role_id=ADMIN_ROLE_ID, changes=changes), actor=member.actor)
    assert "admin" in await roles_after_undo(world, member, token)
