from datetime import timedelta
from uuid import UUID

import pytest

from tests.support.people import World
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import Forbidden, InvalidToken, SessionNotFound, UserNotFound


async def test_sessions_are_listed_newest_first_and_the_asking_one_is_marked(world: World) -> None:
    member = await world.user()
    with calling_from(Origin(ip="192.0.2.7", user_agent="client/1.0")):
        world.clock.move(seconds=1)
        second = await world.logged_in(member.email)
    world.clock.move(seconds=1)
    third = await world.logged_in(member.email)
    page = await world.ubr.list_sessions(ListSessionsCommand(user_id=member.id), actor=second.actor)
    assert [session.id for session in page.items] == [
        third.actor.session_id,
        second.actor.session_id,
        member.actor.session_id,
    ]
    assert [session.current for session in page.items] == [False, True, False]
    assert [(session.ip, session.user_agent) for session in page.items] == [
        (None, None),
        ("192.0.2.7", "client/1.0"),
        (None, None),
    ]
    assert page.items[1].expires_at == page.items[1].created_at + timedelta(days=14)


async def test_seen_by_another_no_session_is_current(world: World) -> None:
    admin, member = await world.admin(), await world.user()
    for actor in (admin.actor, SYSTEM):
        page = await world.ubr.list_sessions(ListSessionsCommand(user_id=member.id), actor=actor)
        assert [session.current for session in page.items] == [False]


async def test_ended_sessions_are_not_listed(world: World) -> None:
    member = await world.user()
    await world.ubr.log_out(actor=member.actor)
    world.clock.move(days=10)
    await world.logged_in(member.email)
    world.clock.move(days=5)
    kept = await world.logged_in(member.email)
    world.clock.move(days=9)
    page = await world.ubr.list_sessions(ListSessionsCommand(user_id=member.id), actor=SYSTEM)
    assert [session.id for session in page.items] == [kept.actor.session_id]


async def test_the_sessions_of_an_unknown_user_cannot_be_listed_or_ended(world: World) -> None:
    with pytest.raises(UserNotFound):
        await world.ubr.list_sessions(ListSessionsCommand(user_id=UUID(int=7)), actor=SYSTEM)
    with pytest.raises(UserNotFound):
        await world.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=UUID(int=7)), actor=SYSTEM)


async def test_one_of_ones_own_can_be_ended_from_another(world: World) -> None:
    member = await world.user()
    other = await world.logged_in(member.email)
    command = RevokeSessionCommand(session_id=other.actor.session_id)
    await world.ubr.revoke_session(command, actor=member.actor)
    assert (await world.alive(other.tokens), await world.alive(member.tokens)) == (False, True)
    await world.acts()
    await world.ubr.revoke_session(command, actor=member.actor)
    assert await world.acts() == []


@pytest.mark.parametrize("kind", ["one", "all"])
async def test_each_call_about_the_sessions_of_another_is_an_entry(world: World, kind: str) -> None:
    actor, member = await world.user("sessions:revoke"), await world.user()
    await world.acts()
    for who in (actor.actor, actor.actor, SYSTEM):
        if kind == "one":
            await world.ubr.revoke_session(RevokeSessionCommand(session_id=member.actor.session_id), actor=who)
        else:
            await world.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=member.id), actor=who)
    first, *later = await world.acts()
    assert (first.action, first.actor_id) == ("session.revoked", actor.id)
    assert [(entry.action, entry.actor_id) for entry in later] == [
        ("user.no_session_revoked", actor.id),
        ("user.no_session_revoked", None),
    ]
    assert {entry.target and entry.target.id for entry in later} == {str(member.id)}


async def test_without_the_permission_a_caller_does_not_learn_which_sessions_exist(world: World) -> None:
    member, other = await world.user(), await world.user()
    told = set()
    for session_id in (other.actor.session_id, UUID(int=7)):
        with pytest.raises(Forbidden) as failure:
            await world.ubr.revoke_session(RevokeSessionCommand(session_id=session_id), actor=member.actor)
        told.add((failure.value.code, failure.value.detail))
    assert len(told) == 1
    assert await world.alive(other.tokens)


async def test_with_it_an_unknown_session_is_not_found(world: World) -> None:
    member = await world.user("sessions:revoke")
    with pytest.raises(SessionNotFound):
        await world.ubr.revoke_session(RevokeSessionCommand(session_id=UUID(int=7)), actor=member.actor)


async def test_logging_out_twice_is_refused(world: World) -> None:
    member = await world.user()
    await world.ubr.log_out(actor=member.actor)
    with pytest.raises(InvalidToken):
        await world.ubr.log_out(actor=member.actor)


async def test_all_the_others_and_then_all(world: World) -> None:
    member = await world.user()
    others = [await world.logged_in(member.email) for _ in range(3)]
    await world.ubr.revoke_other_sessions(actor=member.actor)
    assert [await world.alive(other.tokens) for other in others] == [False] * 3
    assert await world.alive(member.tokens)
    await world.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=member.id), actor=member.actor)
    assert not await world.alive(member.tokens)
    assert await world.alive(await world.log_in(member.email))
