from datetime import timedelta
from uuid import UUID

import pytest
from msgspec import UNSET

from tests.support.people import World
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.kernel.representations import UserResult
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import EmailTaken, Forbidden, Invalid, InvalidCredentials, PreconditionFailed, UserNotFound


async def update(
    world: World,
    user_id: UUID,
    changes: UserChanges,
    *,
    actor: Actor | System = SYSTEM,
    if_match: tuple[str, ...] | None = None,
) -> UserResult:
    command = UpdateUserCommand(user_id=user_id, changes=changes, if_match=if_match)
    return await world.ubr.update_user(command, actor=actor)


async def test_oneself_may_change_the_full_name_and_clear_it(world: World) -> None:
    member = await world.user()
    world.clock.move(seconds=1)
    named = await update(world, member.id, UserChanges(full_name=" User One "), actor=member.actor)
    assert (named.full_name, named.updated_at) == ("User One", world.clock())
    assert (await update(world, member.id, UserChanges(full_name=None), actor=member.actor)).full_name is None
    assert await world.alive(member.tokens)


@pytest.mark.parametrize(
    "changes",
    [
        UserChanges(email="new@example.org"),
        UserChanges(status=UserStatus.ACTIVE),
        UserChanges(status=UserStatus.DISABLED),
        UserChanges(full_name="User One", email="new@example.org"),
    ],
)
async def test_oneself_may_change_nothing_else(world: World, changes: UserChanges) -> None:
    member = await world.user()
    before = await world.seen(member.id)
    with pytest.raises(Forbidden):
        await update(world, member.id, changes, actor=member.actor)
    assert await world.seen(member.id) == before


@pytest.mark.parametrize("role", ["users:write", "*"])
async def test_ones_own_e_mail_does_not_change_here_whatever_one_may(world: World, role: str) -> None:
    member = await world.user(role)
    before = await world.seen(member.id)
    await world.acts()
    for email in ("new@example.org", member.email.upper()):
        with pytest.raises(Forbidden, match="password"):
            await update(world, member.id, UserChanges(email=email, full_name="x"), actor=member.actor)
    assert await world.seen(member.id) == before
    assert await world.acts() == []
    assert {mail.to for mail in await world.mails()} == {member.email}, "only the one that verifies it"
    same = UserChanges(email=before.email, full_name="User One")
    assert (await update(world, member.id, same, actor=member.actor)).full_name == "User One"


async def test_who_may_not_change_it_anyway_learns_how_it_changes(world: World) -> None:
    member = await world.user()
    with pytest.raises(Forbidden, match="password"):
        await update(world, member.id, UserChanges(email="new@example.org"), actor=member.actor)


async def test_an_absent_field_stays_as_it_is(world: World) -> None:
    member = await world.user()
    await update(world, member.id, UserChanges(full_name="User One"))
    after = await update(world, member.id, UserChanges(email="new@example.org"))
    assert (after.full_name, after.email, after.status) == ("User One", "new@example.org", UserStatus.ACTIVE)


async def test_an_unchanged_resource_gets_no_new_revision_and_no_entry(world: World) -> None:
    member = await world.user()
    before = await world.seen(member.id)
    await world.acts()
    world.clock.move(seconds=1)
    for changes in (UserChanges(), UserChanges(email=before.email), UserChanges(status=UserStatus.ACTIVE)):
        after = await update(world, member.id, changes)
        assert (after, after.revision) == (before, before.revision)
    assert await world.acts() == []


async def test_another_email_is_where_one_signs_in_from_then_on(world: World) -> None:
    member = await world.user()
    await update(world, member.id, UserChanges(email="New@example.org"))
    await world.log_in("new@example.org")
    with pytest.raises(InvalidCredentials):
        await world.log_in(member.email)
    assert (await world.register(member.email)).id != member.id  # the old one is free


async def test_an_email_of_another_is_refused_and_nothing_changes(world: World) -> None:
    member, other = await world.user(), await world.user()
    before = await world.seen(member.id)
    await world.acts()
    with pytest.raises(EmailTaken):
        await update(world, member.id, UserChanges(email=other.email.upper(), full_name="User One"))
    assert await world.seen(member.id) == before
    assert await world.alive(member.tokens)
    assert await world.acts() == []


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        (UserChanges(email="x"), "/email"),
        (UserChanges(full_name=""), "/full_name"),
        (UserChanges(full_name="\0"), "/full_name"),
    ],
)
async def test_bad_input_says_where(world: World, changes: UserChanges, pointer: str) -> None:
    member = await world.user()
    with pytest.raises(Invalid) as failure:
        await update(world, member.id, changes)
    assert [flaw.pointer for flaw in failure.value.flaws] == [pointer]


async def test_an_unknown_user_is_not_found(world: World) -> None:
    with pytest.raises(UserNotFound):
        await update(world, UUID(int=7), UserChanges(full_name="x"))


async def test_a_stale_revision_is_refused(world: World) -> None:
    member = await world.user()
    first = (await world.seen(member.id)).revision
    second = (await update(world, member.id, UserChanges(full_name="One"), if_match=(first,))).revision
    await world.acts()
    for stale in ((first,), (), ("other", first)):
        with pytest.raises(PreconditionFailed):
            await update(world, member.id, UserChanges(full_name="Two"), if_match=stale)
    assert await world.acts() == []
    assert (await update(world, member.id, UserChanges(full_name="Two"), if_match=(first, second))).full_name == "Two"


async def test_a_grant_that_ended_meanwhile_makes_a_revision_stale(world: World) -> None:
    member = await world.user()
    end = world.clock() + timedelta(minutes=1)
    await world.ubr.assign_role(AssignRoleCommand(user_id=member.id, role="admin", expires_at=end), actor=SYSTEM)
    revision = (await world.seen(member.id)).revision
    world.clock.move(minutes=1)
    with pytest.raises(PreconditionFailed):
        await update(world, member.id, UserChanges(full_name="One"), if_match=(revision,))


async def test_a_caller_without_the_permission_does_not_learn_the_revision(world: World) -> None:
    member, other = await world.user(), await world.user()
    with pytest.raises(Forbidden):
        await update(world, other.id, UserChanges(full_name="One"), actor=member.actor, if_match=("stale",))


def test_a_change_is_absent_unless_it_is_given() -> None:
    assert UserChanges() == UserChanges(email=UNSET, full_name=UNSET, status=UNSET)
