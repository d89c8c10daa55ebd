"""The table `SESSION_TERMINATION`, event by event: which of a user's sessions end, and that nobody else's do."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from tests.support.people import OTHER_PASSWORD, PASSWORD, Member, World, new_world
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.accounts.reset_password import ResetPasswordCommand
from ubr.application.accounts.undo_email_change import UndoEmailChangeCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.accounts.verify_email import VerifyEmailCommand
from ubr.application.kernel.representations import TokensResult
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.unassign_role import UnassignRoleCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import InvalidToken
from ubr.domain.sessions.termination import SESSION_TERMINATION, SecurityEvent, TerminationScope

Cause = Callable[[World, Member], Awaitable[object]]


async def new_email(world: World, member: Member) -> None:
    command = RequestEmailChangeCommand(email="new@example.org", current_password=PASSWORD)
    await world.ubr.request_email_change(command, actor=member.actor)
    await world.ubr.verify_email(VerifyEmailCommand(token=await world.link("new@example.org")))


async def role_changes(world: World, member: Member) -> None:
    role = await world.role("users:read")
    await world.assign(member.id, role.name)
    await world.ubr.unassign_role(UnassignRoleCommand(user_id=member.id, role=role.name), actor=SYSTEM)


async def grant_expires(world: World, member: Member) -> None:
    role = await world.role("users:read")
    end = world.clock() + timedelta(seconds=60)
    await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role=role.name, expires_at=end), actor=SYSTEM)
    world.clock.move(seconds=60)


async def reuse(world: World, member: Member) -> None:
    await world.refresh(member.tokens.refresh_token)
    world.clock.move(seconds=121)
    with pytest.raises(InvalidToken):
        await world.refresh(member.tokens.refresh_token)


def change_password(world: World, member: Member) -> Awaitable[object]:
    command = ChangePasswordCommand(current_password=PASSWORD, new_password=OTHER_PASSWORD)
    return world.ubr.change_password(command, actor=member.actor)


def take_over(world: World, member: Member) -> Awaitable[object]:
    command = CreateAdminCommand(email=member.email, password=OTHER_PASSWORD, take_over=True)
    return world.ubr.create_admin(command, actor=SYSTEM)


def revoke_all(world: World, member: Member) -> Awaitable[object]:
    return world.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=member.id), actor=member.actor)


def revoke(world: World, member: Member) -> Awaitable[object]:
    return world.ubr.revoke_session(RevokeSessionCommand(session_id=member.actor.session_id), actor=SYSTEM)


async def reset(world: World, member: Member) -> None:
    await world.ubr.request_password_reset(RequestPasswordResetCommand(email=member.email))
    command = ResetPasswordCommand(token=await world.link(member.email), new_password=OTHER_PASSWORD)
    await world.ubr.reset_password(command)


async def verify(world: World, member: Member) -> None:
    command = VerifyEmailCommand(token=await world.link(member.email), password=PASSWORD)
    await world.ubr.verify_email(command)


async def verify_and_reset(world: World, member: Member) -> None:
    await verify(world, member)
    await reset(world, member)


async def change_and_undo(world: World, member: Member) -> None:
    await verify(world, member)
    await new_email(world, member)
    await world.ubr.undo_email_change(UndoEmailChangeCommand(token=await world.link(member.email)))


CAUSES: dict[SecurityEvent, Cause] = {
    SecurityEvent.LOG_OUT: lambda world, member: world.ubr.log_out(actor=member.actor),
    SecurityEvent.REVOKED: revoke,
    SecurityEvent.OTHERS_REVOKED: lambda world, member: world.ubr.revoke_other_sessions(actor=member.actor),
    SecurityEvent.ALL_REVOKED: revoke_all,
    SecurityEvent.PASSWORD_CHANGED: change_password,
    SecurityEvent.PASSWORD_RESET: verify_and_reset,
    SecurityEvent.CLAIMED: reset,
    SecurityEvent.EMAIL_CHANGED: new_email,
    SecurityEvent.EMAIL_CHANGE_UNDONE: change_and_undo,
    SecurityEvent.ROLE_CHANGED: role_changes,
    SecurityEvent.GRANT_EXPIRED: grant_expires,
    SecurityEvent.DISABLED: lambda world, member: world.set_status(member.id, UserStatus.DISABLED),
    SecurityEvent.DELETED: lambda world, member: world.ubr.delete_user(
        DeleteUserCommand(user_id=member.id), actor=SYSTEM
    ),
    SecurityEvent.TAKEN_OVER: take_over,
    SecurityEvent.TOKEN_REUSED: reuse,
    # The cap is three: the fourth session ends the one longest unused, which is the member's own.
    SecurityEvent.EVICTED: lambda world, member: world.log_in(member.email),
}


def test_every_event_of_the_table_is_shown() -> None:
    # Only a machine has keys: `tests/unit/machines` shows the end of its sessions.
    assert {*CAUSES, SecurityEvent.KEY_REVOKED} == set(SESSION_TERMINATION)


async def works(world: World, tokens: TokensResult) -> tuple[bool, bool]:
    """Whether the access token and the refresh token are good."""
    access = await world.alive(tokens)
    try:
        await world.refresh(tokens.refresh_token)
    except InvalidToken:
        return access, False
    return access, True


@pytest.mark.parametrize("event", CAUSES)
async def test_it_ends_what_the_table_says(event: SecurityEvent) -> None:
    async with new_world(sessions_per_user=3) as world:
        member, stranger = await world.user(), await world.user()
        others = []
        for _ in range(2):
            world.clock.move(seconds=1)
            others.append((await world.logged_in(member.email)).tokens)
        await world.acts()

        await CAUSES[event](world, member)

        ended = [entry.target.id for entry in await world.acts() if entry.action == "session.revoked" and entry.target]
        own, rest = member.tokens, [str(tokens.session_id) for tokens in others]
        expected = {
            TerminationScope.NONE: [],
            TerminationScope.ONE: [str(own.session_id)],
            TerminationScope.OTHERS: rest,
            TerminationScope.ALL: [str(own.session_id), *rest],
        }[SESSION_TERMINATION[event]]
        assert sorted(ended) == sorted(expected)
        if event is SecurityEvent.TOKEN_REUSED:
            assert not await world.alive(own)
        else:
            gone = str(own.session_id) in expected
            assert await works(world, own) == (not gone, not gone)
        for tokens in others:
            gone = str(tokens.session_id) in expected
            assert await works(world, tokens) == (not gone, not gone)
        assert await works(world, stranger.tokens) == (True, True)


@pytest.mark.parametrize(
    "event", [event for event in CAUSES if SESSION_TERMINATION[event] is not TerminationScope.NONE]
)
async def test_the_log_says_why(event: SecurityEvent) -> None:
    async with new_world(sessions_per_user=3) as world:
        member = await world.user()
        for _ in range(2):
            world.clock.move(seconds=1)
            await world.log_in(member.email)
        await world.acts()
        await CAUSES[event](world, member)
        revoked = [entry for entry in await world.acts() if entry.action == "session.revoked"]
        assert revoked
        # There is nothing to take back before a change, which ends some sessions itself.
        before = {"email_changed"} if event is SecurityEvent.EMAIL_CHANGE_UNDONE else set()
        assert {entry.data["cause"] for entry in revoked} - before == {event.value}
        assert {entry.data["user_id"] for entry in revoked} == {str(member.id)}


async def test_changed_by_another_every_session_of_the_user_ends(world: World) -> None:
    admin, member = await world.admin(), await world.user()
    command = UpdateUserCommand(user_id=member.id, changes=UserChanges(email="new@example.org"))
    await world.ubr.update_user(command, actor=admin.actor)
    assert await works(world, member.tokens) == (False, False)
    assert await world.alive(admin.tokens)


async def test_the_same_email_spelled_otherwise_ends_nothing(world: World) -> None:
    member = await world.user()
    command = UpdateUserCommand(user_id=member.id, changes=UserChanges(email=member.email.upper()))
    await world.ubr.update_user(command, actor=SYSTEM)
    assert await works(world, member.tokens) == (True, True)


async def test_disabling_and_enabling_again_revives_nothing(world: World) -> None:
    member = await world.user()
    retried = await world.refresh(member.tokens.refresh_token)
    await world.set_status(member.id, UserStatus.DISABLED)
    for tokens in (member.tokens, retried):
        assert await works(world, tokens) == (False, False)
    await world.set_status(member.id, UserStatus.ACTIVE)
    for tokens in (member.tokens, retried):
        assert await works(world, tokens) == (False, False)
    assert await world.alive(await world.log_in(member.email))


async def test_ended_sessions_are_listed_nowhere_and_stay_ended(world: World) -> None:
    member = await world.user()
    await revoke(world, member)
    world.clock.move(days=1)
    await world.acts()
    await revoke(world, member)
    await revoke_all(world, await world.logged_in(member.email))
    causes = [entry.data["cause"] for entry in await world.acts() if entry.action == "session.revoked"]
    assert causes == ["all_revoked"]
