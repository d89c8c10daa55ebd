"""The revision that a user reads of themselves is the one that a change compares."""

from __future__ import annotations

import pytest

from tests.support.people import World
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.ids import RoleId
from ubr.domain.roles.role import USER_ROLE_ID


@pytest.mark.parametrize("everybodys", [True, False])
async def test_it_is_accepted_after_a_role_was_described_anew(world: World, everybodys: bool) -> None:
    role = await world.role("logs:read")
    member = await world.user(role=role.name)
    await world.ubr.get_me(actor=member.actor)
    role_id = USER_ROLE_ID if everybodys else RoleId(role.id)
    changes = RoleChanges(description="Described anew")
    await world.ubr.update_role(UpdateRoleCommand(role_id=role_id, changes=changes), actor=SYSTEM)
    read = await world.ubr.get_me(actor=member.actor)
    command = UpdateUserCommand(user_id=member.id, changes=UserChanges(full_name="Ada"), if_match=(read.revision,))
    assert (await world.ubr.update_user(command, actor=member.actor)).full_name == "Ada"
