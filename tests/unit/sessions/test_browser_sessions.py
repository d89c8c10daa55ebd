"""Sessions of browsers: their cookie, their use and their ends."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.support.people import OTHER_PASSWORD, PASSWORD, Member, World, new_world
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.accounts.reset_password import ResetPasswordCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.kernel.representations import BrowserLoginResult, SessionCookieResult
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.application.sessions.issue_access_token import IssueAccessTokenCommand
from ubr.application.sessions.list_sessions import ListSessionsCommand
from ubr.application.sessions.log_in_browser import LogInBrowserCommand
from ubr.application.sessions.revoke_session import RevokeSessionCommand
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessionsCommand
from ubr.application.sessions.session_renewal import SessionRenewal
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import InvalidCredentials, InvalidToken, RateLimited
from ubr.domain.ids import SessionId, UserId
from ubr.settings import Limit, LoginRateLimit, RateLimit

MINUTE = timedelta(minutes=1)


async def browser(world: World, email: str, password: str = PASSWORD, cookie: str | None = None) -> BrowserLoginResult:
    return await world.ubr.log_in_browser(LogInBrowserCommand(email=email, password=password, cookie=cookie))


async def known(world: World, cookie: str) -> bool:
    try:
        await world.ubr.authenticate_cookie(cookie)
    except InvalidToken:
        return False
    return True


async def test_a_cookie_is_an_actor(world: World) -> None:
    member = await world.user()
    login = await browser(world, member.email)
    actor = await world.ubr.authenticate_cookie(login.cookie.value)
    assert actor == Actor(UserId(member.id), SessionId(login.session.session_id))
    assert login.cookie.max_age == timedelta(days=90).total_seconds()
    assert login.session.expires_in == timedelta(days=14).total_seconds()
    assert login.session.user == await world.seen(member.id)


async def test_no_repr_shows_a_cookie(world: World) -> None:
    member = await world.user()
    login = await browser(world, member.email)
    token = await world.ubr.issue_access_token(IssueAccessTokenCommand(cookie=login.cookie.value))
    for shown in (login, login.cookie, LogInBrowserCommand(email="", password="", cookie=login.cookie.value), token):
        assert login.cookie.value not in repr(shown)
        assert token.access_token not in repr(shown)


async def test_the_log_names_the_kind_of_a_login(world: World) -> None:
    member = await world.user()
    await world.acts()
    login = await browser(world, member.email)
    [entry] = await world.acts()
    assert (entry.action, entry.actor_id) == ("session.opened", member.id)
    assert entry.target is not None
    assert entry.target.id == str(login.session.session_id)
    assert entry.data == {"user_id": str(member.id), "kind": "browser"}


async def test_wrong_passwords_count_with_those_of_other_logins(world: World) -> None:
    member = await world.user()
    await world.acts()
    with pytest.raises(InvalidCredentials):
        await browser(world, member.email, OTHER_PASSWORD)
    [entry] = await world.acts()
    assert entry.action == "session.login_failed"
    await world.set_status(member.id, UserStatus.DISABLED)
    with pytest.raises(InvalidCredentials):
        await browser(world, member.email)


async def test_browsers_count_among_the_sessions_of_a_user() -> None:
    async with new_world(sessions_per_user=2) as world:
        member = await world.user()
        cookies = []
        for _ in range(3):
            world.clock.move(seconds=1)
            cookies.append((await browser(world, member.email)).cookie.value)
        assert not await world.alive(member.tokens)
        assert [await known(world, cookie) for cookie in cookies] == [False, True, True]
        world.clock.move(seconds=1)
        await world.logged_in(member.email)
        assert [await known(world, cookie) for cookie in cookies] == [False, False, True]


async def _disabled(world: World, member: Member, _: Actor) -> None:
    await world.set_status(member.id, UserStatus.DISABLED)


async def _deleted(world: World, member: Member, _: Actor) -> None:
    await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=SYSTEM)


async def _logged_out(world: World, _: Member, actor: Actor) -> None:
    await world.ubr.log_out(actor=actor)


async def _revoked(world: World, member: Member, actor: Actor) -> None:
    await world.ubr.revoke_session(RevokeSessionCommand(session_id=actor.session_id), actor=member.actor)


async def _others_revoked(world: World, member: Member, _: Actor) -> None:
    await world.ubr.revoke_other_sessions(actor=member.actor)


async def _all_revoked(world: World, member: Member, _: Actor) -> None:
    await world.ubr.revoke_user_sessions(RevokeUserSessionsCommand(user_id=member.id), actor=SYSTEM)


async def _password_changed(world: World, member: Member, _: Actor) -> None:
    command = ChangePasswordCommand(current_password=PASSWORD, new_password=OTHER_PASSWORD)
    assert await world.ubr.change_password(command, actor=member.actor) is None


async def _password_reset(world: World, member: Member, _: Actor) -> None:
    await world.mails()
    await world.ubr.request_password_reset(RequestPasswordResetCommand(email=member.email))
    await world.ubr.reset_password(ResetPasswordCommand(token=await world.link(), new_password=OTHER_PASSWORD))


async def _email_changed(world: World, member: Member, _: Actor) -> None:
    changes = UserChanges(email="other@example.org")
    await world.ubr.update_user(UpdateUserCommand(user_id=member.id, changes=changes), actor=SYSTEM)


async def _idle(world: World, *_: Any) -> None:
    world.clock.move(days=14)


ENDS: list[Callable[[World, Member, Actor], Awaitable[None]]] = [
    _disabled,
    _deleted,
    _logged_out,
    _revoked,
    _others_revoked,
    _all_revoked,
    _password_changed,
    _password_reset,
    _email_changed,
    _idle,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__[1:])
async def test_a_stolen_cookie_is_worthless_after_each_end(
    world: World, end: Callable[[World, Member, Actor], Awaitable[None]]
) -> None:
    member = await world.user()
    cookie = (await browser(world, member.email)).cookie.value
    actor = await world.ubr.authenticate_cookie(cookie)
    token = await world.ubr.issue_access_token(IssueAccessTokenCommand(cookie=cookie))
    await end(world, member, actor)
    assert not await known(world, cookie)
    with pytest.raises(InvalidToken):
        await world.ubr.issue_access_token(IssueAccessTokenCommand(cookie=cookie))
    with pytest.raises(InvalidToken):
        await world.ubr.authenticate(token.access_token)
    with pytest.raises(InvalidToken):
        await world.ubr.log_out(actor=await world.ubr.authenticate_cookie.even_if_ended(cookie))
    if end is _disabled:  # an end is final
        await world.set_status(member.id, UserStatus.ACTIVE)
        assert not await known(world, cookie)


async def test_a_changed_password_moves_its_browser_to_a_new_session(world: World) -> None:
    member = await world.user()
    other, own = await browser(world, member.email), await browser(world, member.email)
    actor = await world.ubr.authenticate_cookie(own.cookie.value)
    token = await world.ubr.issue_access_token(IssueAccessTokenCommand(cookie=own.cookie.value))
    await world.acts()
    command = ChangePasswordCommand(current_password=PASSWORD, new_password=OTHER_PASSWORD)
    newer = await world.ubr.change_password(command, actor=actor)
    assert isinstance(newer, SessionCookieResult)
    moved = await world.ubr.authenticate_cookie(newer.value)
    assert (moved.user_id, moved.session_id == actor.session_id) == (member.id, False)
    assert [await known(world, each.cookie.value) for each in (other, own)] == [False, False]
    assert [entry.action for entry in await world.acts()] == [
        "user.password_changed",
        "session.revoked",
        "session.revoked",
        "session.revoked",
        "session.opened",
    ]
    # A copy of the earlier cookie, or a token that it was exchanged for, can do nothing more, and end nothing.
    with pytest.raises(InvalidToken):
        await world.ubr.authenticate(token.access_token)
    with pytest.raises(InvalidToken):
        await world.ubr.log_out(actor=await world.ubr.authenticate_cookie.even_if_ended(own.cookie.value))
    assert await known(world, newer.value)


async def test_the_session_that_a_login_leaves_ends_only_if_the_login_succeeds(world: World) -> None:
    one, other = await world.user(), await world.user()
    left = (await browser(world, one.email)).cookie.value
    with pytest.raises(InvalidCredentials):
        await browser(world, other.email, OTHER_PASSWORD, left)
    assert await known(world, left)
    await world.acts()
    assert await known(world, (await browser(world, other.email, cookie=left)).cookie.value)
    assert not await known(world, left)
    told = [(entry.action, entry.actor_id, entry.data.get("cause")) for entry in await world.acts()]
    assert told == [("session.revoked", one.id, "log_out"), ("session.opened", other.id, None)]


# --- use -------------------------------------------------------------------------------------------------------------


async def seen_at(world: World, member: Member, login: BrowserLoginResult) -> timedelta:
    """How long ago the session was used last, as it is listed."""
    page = await world.ubr.list_sessions(ListSessionsCommand(user_id=member.id), actor=SYSTEM)
    [session] = [each for each in page.items if each.id == login.session.session_id]
    assert session.expires_at - session.last_seen_at == timedelta(days=14)
    return world.clock() - session.last_seen_at


async def test_a_use_is_stored_every_ten_minutes(world: World) -> None:
    member = await world.user()
    login = await browser(world, member.email)
    found = []
    for _ in range(5):
        world.clock.move(minutes=4)
        await world.ubr.authenticate_cookie(login.cookie.value)
        found.append((await seen_at(world, member, login)).total_seconds() // 60)
    assert found == [4, 8, 0, 4, 8]


async def test_a_session_in_use_lives_to_its_absolute_end(world: World) -> None:
    member = await world.user()
    cookie = (await browser(world, member.email)).cookie.value
    await world.acts()
    for day in range(1, 90):
        world.clock.move(days=1)
        assert await known(world, cookie), day
    world.clock.move(days=1)
    assert not await known(world, cookie)
    # One entry a day, as for refreshes.
    assert [entry.action for entry in await world.acts()] == ["session.refreshed"] * 89


@pytest.mark.parametrize("minutes", [1, 5, 60])
async def test_a_short_idle_time_ends_a_tenth_early_at_most(minutes: int) -> None:
    async with new_world(session_idle=timedelta(minutes=minutes)) as world:
        member = await world.user()
        cookie = (await browser(world, member.email)).cookie.value
        for _ in range(30):
            world.clock.move(minutes=minutes * 0.09)
            assert await known(world, cookie)
        world.clock.move(minutes=minutes * 0.9)
        assert await known(world, cookie)
        world.clock.move(minutes=minutes)
        assert not await known(world, cookie)


async def test_uses_at_the_same_time_are_stored_once() -> None:
    async with new_world(audit_refreshes="all") as world:
        member = await world.user()
        cookie = (await browser(world, member.email)).cookie.value
        await world.acts()
        world.clock.move(minutes=11)
        await asyncio.gather(*(world.ubr.authenticate_cookie(cookie) for _ in range(50)))
        assert [entry.action for entry in await world.acts()] == ["session.refreshed"]


class Counted:
    """Counts the writing units."""

    def __init__(self, inner: UnitOfWork) -> None:
        self.inner = inner
        self.begun = 0

    def begin(self, actor: Actor | System | None) -> Any:
        self.begun += 1
        return self.inner.begin(actor)


async def test_uses_at_the_same_time_do_not_queue_for_the_database(world: World) -> None:
    member = await world.user()
    login = await browser(world, member.email)
    known = world.ubr.authenticate_cookie
    cache = known.authorize.session_cache
    units: Any = Counted(world.ubr.log_in.unit_of_work)
    renewal = SessionRenewal(units, cache, world.clock, world.ubr.log_in.policy)
    principal = await cache.principal(SessionId(login.session.session_id))
    assert principal is not None
    world.clock.move(minutes=11)
    await asyncio.gather(*(renewal(principal) for _ in range(50)))
    assert units.begun == 1


# --- tokens for other services ---------------------------------------------------------------------------------------


async def test_a_token_for_a_page_ends_with_the_session(world: World) -> None:
    member = await world.user()
    cookie = (await browser(world, member.email)).cookie.value
    for _ in range(6):  # in use for 84 days, and then for three days less two minutes
        world.clock.move(days=13)
        await world.ubr.authenticate_cookie(cookie)
    world.clock.move(days=11, hours=23, minutes=58)
    token = await world.ubr.issue_access_token(IssueAccessTokenCommand(cookie=cookie))
    assert token.expires_in == 120
    assert (await world.ubr.authenticate(token.access_token)).user_id == member.id


async def test_tokens_for_pages_are_limited_per_session() -> None:
    quota = RateLimit(Limit(3, timedelta(hours=1)))
    async with new_world(
        login_rate_limit=LoginRateLimit(Limit(10, MINUTE), Limit(100, MINUTE)), refresh_rate_limit=quota
    ) as world:
        member = await world.user()
        command = IssueAccessTokenCommand(cookie=(await browser(world, member.email)).cookie.value)
        for _ in range(3):
            await world.ubr.issue_access_token(command)
        with pytest.raises(RateLimited):
            await world.ubr.issue_access_token(command)
        other = await browser(world, member.email)
        await world.ubr.issue_access_token(IssueAccessTokenCommand(cookie=other.cookie.value))
