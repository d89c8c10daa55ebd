"""Who is told that something has ended can rely on it, also where it had ended before: the first may have gone without
waiting. So every such answer has a row of the feed behind it, and waits like the first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from tests.support.people import Member, World
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.kernel.representations import RoleResult
from ubr.application.ports.revocation import WorkerId
from ubr.application.revocation.follow_revocations import FollowRevocationsCommand
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.delete_role import DeleteRoleCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import InvalidToken, UbrError
from ubr.domain.revocation.changes import Change, ChangeKind, ChangeRecord

Act = Callable[[World, Member, RoleResult], Awaitable[object]]


async def log_out(world: World, member: Member, _: RoleResult) -> None:
    await world.ubr.log_out(actor=member.actor)


async def revoke_own(world: World, member: Member, _: RoleResult) -> None:
    await world.ubr.revoke_session(RevokeSessionCommand(session_id=member.actor.session_id), actor=member.actor)


async def revoke(world: World, member: Member, _: RoleResult) -> None:
    await world.ubr.revoke_session(RevokeSessionCommand(session_id=member.actor.session_id), actor=SYSTEM)


async def revoke_all_own(world: World, member: Member, _: RoleResult) -> None:
    await world.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=member.id), actor=member.actor)


async def revoke_all(world: World, member: Member, _: RoleResult) -> None:
    await world.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=member.id), actor=SYSTEM)


async def revoke_others(world: World, member: Member, _: RoleResult) -> None:
    await world.ubr.revoke_other_sessions(actor=member.actor)


async def delete_oneself(world: World, member: Member, _: RoleResult) -> None:
    await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=member.actor)


async def delete(world: World, member: Member, _: RoleResult) -> None:
    await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=SYSTEM)


async def disable(world: World, member: Member, _: RoleResult) -> None:
    await world.set_status(member.id, UserStatus.DISABLED)


async def unassign(world: World, member: Member, role: RoleResult) -> None:
    await world.ubr.unassign_role(UnassignRoleCommand(user_id=member.id, role=role.name), actor=SYSTEM)


async def give_an_end(world: World, member: Member, role: RoleResult) -> None:
    end = world.clock() + timedelta(days=1)
    await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role=role.name, expires_at=end), actor=SYSTEM)


async def delete_role(world: World, _: Member, role: RoleResult) -> None:
    await world.ubr.delete_role(DeleteRoleCommand(role_id=role.id), actor=SYSTEM)


async def take_permissions(world: World, _: Member, role: RoleResult) -> None:
    await world.ubr.update_role(UpdateRoleCommand(role_id=role.id, changes=RoleChanges(permissions=[])), actor=SYSTEM)


async def use_a_spent_token(world: World, member: Member, _: RoleResult) -> None:
    spent = member.tokens.refresh_token
    with suppress(InvalidToken):
        await world.refresh((await world.refresh(spent)).refresh_token)
    await world.refresh(spent)


@pytest.fixture
async def told(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Change]:
    """What others have acknowledged before an answer was given."""
    changes: list[Change] = []

    async def deliver(_epoch: str, rows: Sequence[ChangeRecord], _to: frozenset[WorkerId]) -> bool:
        changes.extend(row.change for row in rows)
        return True

    monkeypatch.setattr(world.ubr.follow_revocations.notifier, "deliver", deliver)
    await world.ubr.follow_revocations(FollowRevocationsCommand(verifier=uuid4()), actor=SYSTEM)
    return changes


def about(member: Member, role: RoleResult, kind: ChangeKind) -> Change:
    ids: dict[str, UUID] = {"session": member.actor.session_id, "user": member.id, "role": role.id}
    return Change(kind, str(ids[kind]))


@pytest.mark.parametrize(
    ("first", "again", "kind"),
    [
        (log_out, log_out, "session"),
        (revoke_own, revoke_own, "session"),
        (log_out, revoke, "session"),
        (delete, revoke, "session"),
        (revoke_all_own, revoke_all_own, "session"),
        (revoke_all, revoke_all, "user"),
        (delete, revoke_all, "user"),
        (revoke_others, revoke_others, "user"),
        (log_out, revoke_others, "session"),
        (delete_oneself, delete_oneself, "session"),
        (delete, delete, "user"),
        (delete, log_out, "session"),
        (disable, disable, "user"),
        (disable, log_out, "session"),
        (unassign, unassign, "user"),
        (give_an_end, give_an_end, "user"),
        (delete_role, unassign, "user"),
        (delete, unassign, "user"),
        (delete_role, delete_role, "role"),
        (take_permissions, take_permissions, "role"),
        (use_a_spent_token, use_a_spent_token, "session"),
        (log_out, use_a_spent_token, "session"),
    ],
)
async def test_a_second_answer_waits_like_the_first(
    world: World, told: list[Change], first: Act, again: Act, kind: ChangeKind
) -> None:
    role = await world.role("users:read")
    member = await world.user(role=role.name)
    if again is use_a_spent_token:
        await world.refresh(member.tokens.refresh_token)
        world.clock.move(seconds=121)
    with suppress(InvalidToken):
        await first(world, member, role)
    told.clear()

    with suppress(UbrError):
        await again(world, member, role)

    assert about(member, role, kind) in told


async def test_what_takes_nothing_away_tells_nobody(world: World, told: list[Change]) -> None:
    role = await world.role("users:read")
    told.clear()
    for changes in (RoleChanges(), RoleChanges(description="another"), RoleChanges(description=None)):
        await world.ubr.update_role(UpdateRoleCommand(role_id=role.id, changes=changes), actor=SYSTEM)
    assert told == []
