"""A service asks if a user may do an act: the same answer in Python, in the user's own data and in the token."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.support.people import Member, World, new_world
from ubr import SYSTEM, AssignRoleCommand, ListRolesCommand, RoleChanges, UnassignRoleCommand, UpdateRoleCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.errors import Invalid, InvalidToken
from ubr.domain.roles.permissions import BUILT_IN_PERMISSIONS


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with new_world(permissions=("notes:edit", "notes:read")) as made:
        yield made


def claimed(member: Member) -> Any:
    payload = member.tokens.access_token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))).get("permissions", [])


async def test_a_permission_of_the_operator_comes_out_on_every_face(world: World) -> None:
    editor, plain = await world.user("notes:edit", "users:read"), await world.user()
    assert await world.ubr.permits(editor.actor, "notes:edit")
    assert await world.ubr.permits(editor.actor, "users:read")
    assert not await world.ubr.permits(editor.actor, "notes:read")
    assert not await world.ubr.permits(plain.actor, "notes:edit")
    assert (await world.ubr.get_me(actor=editor.actor)).permissions == ["notes:edit", "users:read"]
    assert (await world.ubr.get_me(actor=plain.actor)).permissions == []
    assert claimed(editor) == ["notes:edit", "users:read"]
    assert claimed(plain) == []


async def test_an_administrator_and_the_program_may_do_everything(world: World) -> None:
    admin = await world.admin()
    for name in (*BUILT_IN_PERMISSIONS, "notes:edit"):
        assert await world.ubr.permits(admin.actor, name)
        assert await world.ubr.permits(SYSTEM, name)
    assert (await world.ubr.get_me(actor=admin.actor)).permissions == ["*"]
    assert claimed(admin) == ["*"]


async def test_a_permission_that_nobody_declared_is_a_mistake_and_not_a_no(world: World) -> None:
    for actor in (SYSTEM, (await world.admin()).actor, (await world.user()).actor):
        for name in ("notes:edits", "notes", "Notes:edit", ""):
            with pytest.raises(Invalid) as caught:
                await world.ubr.permits(actor, name)
            assert caught.value.flaws[0].pointer == "/permission"


async def test_the_answer_follows_every_change_at_once(world: World) -> None:
    role = await world.role("notes:edit")
    member = await world.user()

    async def both() -> tuple[bool, list[str]]:
        shown = await world.ubr.get_me(actor=member.actor)
        return await world.ubr.permits(member.actor, "notes:edit"), shown.permissions

    assert await both() == (False, [])
    end = world.clock() + timedelta(hours=1)
    await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role=role.name, expires_at=end), actor=SYSTEM)
    assert await both() == (True, ["notes:edit"])
    changes = RoleChanges(permissions=["notes:read"])
    await world.ubr.update_role(UpdateRoleCommand(role_id=role.id, changes=changes), actor=SYSTEM)
    assert await both() == (False, ["notes:read"])
    changes = RoleChanges(permissions=["notes:read", "notes:edit"])
    await world.ubr.update_role(UpdateRoleCommand(role_id=role.id, changes=changes), actor=SYSTEM)
    assert await both() == (True, ["notes:edit", "notes:read"])
    world.clock.move(hours=1)
    assert await both() == (False, [])
    await world.assign(member.id, role.name)
    assert (await both())[0]
    await world.ubr.unassign_role(UnassignRoleCommand(user_id=member.id, role=role.name), actor=SYSTEM)
    assert await both() == (False, [])


async def test_nobody_is_permitted_once_the_session_has_ended(world: World) -> None:
    member = await world.user("notes:edit")
    await world.set_status(member.id, UserStatus.DISABLED)
    for call in (world.ubr.permits(member.actor, "notes:edit"), world.ubr.get_me(actor=member.actor)):
        with pytest.raises(InvalidToken):
            await call


async def test_a_no_is_neither_an_error_nor_an_entry(world: World) -> None:
    member = await world.user()
    await world.acts()
    assert not await world.ubr.permits(member.actor, "notes:edit")
    assert await world.acts() == []


async def test_the_revision_changes_with_the_permissions_of_a_role(world: World) -> None:
    member = await world.user("notes:edit")
    before = await world.ubr.get_me(actor=member.actor)
    assert before.revision == (await world.seen(member.id)).revision
    [name] = [each for each in before.roles if each != "user"]
    role = next(role for role in (await _roles(world)) if role.name == name)
    changes = RoleChanges(permissions=["notes:read"])
    await world.ubr.update_role(UpdateRoleCommand(role_id=role.id, changes=changes), actor=SYSTEM)
    after = await world.ubr.get_me(actor=member.actor)
    assert after.revision != before.revision
    assert after.revision == (await world.seen(member.id)).revision


async def _roles(world: World) -> list[Any]:
    return (await world.ubr.list_roles(ListRolesCommand(limit=100), actor=SYSTEM)).items
