from uuid import UUID

import pytest

from tests.support.people import World
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.get_user import GetUserCommand
from ubr.application.accounts.list_users import ListUsersCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import (
    InvalidCredentials,
    InvalidToken,
    PreconditionFailed,
    ReauthenticationRequired,
    UserNotFound,
)


@pytest.mark.parametrize("minutes", [0, 9, 10])
async def test_oneself_within_ten_minutes_of_signing_in(world: World, minutes: int) -> None:
    member = await world.user()
    world.clock.move(minutes=minutes)
    await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=member.actor)
    with pytest.raises(UserNotFound):
        await world.ubr.get_user(GetUserCommand(user_id=member.id), actor=SYSTEM)


async def test_oneself_later_has_to_sign_in_again(world: World) -> None:
    member = await world.user()
    world.clock.move(minutes=10, microseconds=1)
    await world.acts()
    with pytest.raises(ReauthenticationRequired):
        await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=member.actor)
    assert await world.acts() == []
    again = await world.logged_in(member.email)
    await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=again.actor)


async def test_a_refresh_is_not_a_login(world: World) -> None:
    member = await world.user()
    world.clock.move(minutes=11)
    tokens = await world.refresh(member.tokens.refresh_token)
    actor = await world.ubr.authenticate(tokens.access_token)
    with pytest.raises(ReauthenticationRequired):
        await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=actor)


async def test_a_user_with_users_delete_needs_no_recent_login(world: World) -> None:
    member = await world.user("users:delete")
    world.clock.move(days=1)
    await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=member.actor)


async def test_nothing_is_left_but_the_log(world: World) -> None:
    member = await world.user()
    await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=SYSTEM)
    users = await world.ubr.list_users(ListUsersCommand(), actor=SYSTEM)
    assert member.id not in {user.id for user in users.items}
    assert not await world.alive(member.tokens)
    with pytest.raises(InvalidToken):
        await world.refresh(member.tokens.refresh_token)
    with pytest.raises(InvalidCredentials):
        await world.log_in(member.email)
    assert (await world.register(member.email)).id != member.id
    deleted = [entry for entry in await world.acts() if entry.action == "user.deleted"]
    assert [entry.target and entry.target.id for entry in deleted] == [str(member.id)]


async def test_a_second_deletion_does_not_find_the_user(world: World) -> None:
    member = await world.user()
    await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=SYSTEM)
    for user_id in (member.id, UUID(int=7)):
        with pytest.raises(UserNotFound):
            await world.ubr.delete_user(DeleteUserCommand(user_id=user_id), actor=SYSTEM)


async def test_a_stale_revision_is_refused(world: World) -> None:
    member = await world.user()
    revision = (await world.seen(member.id)).revision
    with pytest.raises(PreconditionFailed):
        await world.ubr.delete_user(DeleteUserCommand(user_id=member.id, if_match=("0-0",)), actor=SYSTEM)
    await world.ubr.delete_user(DeleteUserCommand(user_id=member.id, if_match=("0-0", revision)), actor=SYSTEM)
