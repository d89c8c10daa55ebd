"""Races that PostgreSQL has to decide: real use cases, real connections, many at the same moment.

Each runs a few rounds with `make test` and the full campaign with `make test-long`. Every call must end in a success or
in one of the refusals named; anything else, a deadlock or a time-out among them, fails the test.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import timedelta

import pytest

from tests.support.people import NO_LIMITS, token_in
from tests.support.plugin import NewDatabase
from tests.support.races import rounds, two_instances
from tests.support.values import replace
from ubr import (
    SYSTEM,
    Actor,
    Application,
    AssignRoleCommand,
    ChangePasswordCommand,
    CreateAdminCommand,
    DeleteUserCommand,
    DeliverMail,
    IssueAccessTokenCommand,
    ListLogsCommand,
    ListSessionsCommand,
    ListUsersCommand,
    LogInBrowserCommand,
    LogInCommand,
    RefreshSessionCommand,
    RegisterUserCommand,
    RequestPasswordResetCommand,
    ResetPasswordCommand,
    Settings,
    UnassignRoleCommand,
    UpdateUserCommand,
    UserChanges,
)
from ubr.adapters.memory.mail import MemoryMailer
from ubr.application.sessions import refresh_session
from ubr.domain.accounts.user import UserStatus
from ubr.domain.errors import (
    EmailTaken,
    GrantExceedsOwn,
    InvalidCredentials,
    InvalidLink,
    InvalidToken,
    LastAdmin,
    UbrError,
    UserNotFound,
)
from ubr.domain.errors import Forbidden as NotPermitted
from ubr.testing import TINY_HASHING, log_in

pytestmark = pytest.mark.system

PASSWORD = "a long enough password"


@pytest.fixture
async def instances(new_database: NewDatabase, clean_redis_url: str) -> AsyncIterator[tuple[Application, Application]]:
    settings = Settings.memory(
        database_url=new_database(),
        redis_url=clean_redis_url,
        migrate="check",
        login_rate_limit=NO_LIMITS,
        revocation_poll=timedelta(milliseconds=50),
        revocation_bound=timedelta(seconds=2),
        audit_refreshes="all",
        **TINY_HASHING,
    )
    async with two_instances(settings) as both:
        yield both


async def outcomes(calls: Iterable[Awaitable[object]], *expected: type[UbrError]) -> Counter[str]:
    """Run everything at once; how often each outcome came. An outcome that was not expected is raised."""
    counted: Counter[str] = Counter()
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException) and type(result) not in expected:
            raise result
        counted[type(result).__name__ if isinstance(result, BaseException) else "done"] += 1
    return counted


@rounds(2, 50)
async def test_one_of_200_registrations_of_one_email_succeeds(
    instances: tuple[Application, Application], rounds: int
) -> None:
    for number in range(rounds):
        spellings = (f"user{number}@example.org", f"USER{number}@Example.ORG", f" User{number}@example.org ")
        counted = await outcomes(
            (
                instances[at % 2].register_user(RegisterUserCommand(email=spellings[at % 3], password=PASSWORD))
                for at in range(200)
            ),
            EmailTaken,
        )
        assert counted == {"done": 1, "EmailTaken": 199}
    page = await instances[0].list_users(ListUsersCommand(limit=200), actor=SYSTEM)
    assert len(page.items) == rounds


@rounds(1, 100)
async def test_one_of_200_redemptions_of_one_link_succeeds(
    instances: tuple[Application, Application], rounds: int
) -> None:
    first, second = (_with_mail(instance) for instance in instances)
    email = "owner@example.org"
    await first[0].register_user(RegisterUserCommand(email=email, password=PASSWORD), actor=SYSTEM)
    for number in range(rounds):
        await first[0].request_password_reset(RequestPasswordResetCommand(email=email))
        await first[1](actor=SYSTEM)
        token = next(token_in(mail) for mail in reversed(first[2].sent) if "/reset-password#" in mail.text)
        password = f"{PASSWORD} {number}"
        counted = await outcomes(
            (
                (first, second)[at % 2][0].reset_password(ResetPasswordCommand(token=token, new_password=password))
                for at in range(200)
            ),
            InvalidLink,
        )
        assert counted == {"done": 1, "InvalidLink": 199}
        await log_in(second[0], email, password)


def _with_mail(ubr: Application) -> tuple[Application, DeliverMail, MemoryMailer]:
    mailer = MemoryMailer()
    return ubr, replace(ubr.deliver_mail, mailer=mailer), mailer


@rounds(10, 1000)
async def test_two_admins_who_remove_each_other_never_both_succeed(
    instances: tuple[Application, Application], rounds: int
) -> None:
    first, second = instances
    rng = random.Random(7)  # noqa: S311 - no secret
    emails = ("left@example.org", "right@example.org")
    for _ in range(rounds):
        actors = []
        for email in emails:
            there = await first.list_users(ListUsersCommand(q=email), actor=SYSTEM)
            command = CreateAdminCommand(email=email, password=PASSWORD, take_over=bool(there.items))
            assert await first.create_admin(command, actor=SYSTEM) is not None
            actors.append(await log_in(first, email, PASSWORD))
        left, right = actors
        await outcomes(
            (_remove(rng, first, left, right), _remove(rng, second, right, left)),
            *(LastAdmin, InvalidToken, GrantExceedsOwn, NotPermitted, UserNotFound),
        )
        admins = await first.list_users(ListUsersCommand(role="admin", status=UserStatus.ACTIVE), actor=SYSTEM)
        assert len(admins.items) >= 1


def _remove(rng: random.Random, ubr: Application, actor: Actor, target: Actor) -> Awaitable[object]:
    """One of the ways in which an administrator can be lost."""
    way: Callable[[], Awaitable[object]] = rng.choice(
        [
            lambda: ubr.unassign_role(UnassignRoleCommand(user_id=target.user_id, role="admin"), actor=actor),
            lambda: ubr.delete_user(DeleteUserCommand(user_id=target.user_id), actor=actor),
            lambda: ubr.update_user(
                UpdateUserCommand(user_id=target.user_id, changes=UserChanges(status=UserStatus.DISABLED)), actor=actor
            ),
        ]
    )
    return way()


@rounds(20, 10_000)
async def test_no_session_opened_with_the_old_password_survives_its_change(
    instances: tuple[Application, Application], rounds: int
) -> None:
    """A login with the old password and the change of it run at the same moment, on two instances."""
    first, second = instances
    together = 10
    people = [f"user{number}@example.org" for number in range(together)]
    passwords = dict.fromkeys(people, PASSWORD)
    for email in people:
        await first.register_user(RegisterUserCommand(email=email, password=PASSWORD))
    lost: Counter[str] = Counter()

    async def one_round(email: str, number: int) -> None:
        old, new = passwords[email], f"{PASSWORD} {number}"
        actor = await log_in(first, email, old)
        change = first.change_password(ChangePasswordCommand(current_password=old, new_password=new), actor=actor)
        tokens, cookie, _ = await asyncio.gather(
            _try_to_sign_in(second, email, old), _try_a_browser(second, email, old), change
        )
        passwords[email] = new
        assert cookie is None or not await _tried(second, cookie)
        lost["refused" if tokens is None else "ended"] += 1
        if tokens is not None:
            with pytest.raises(InvalidToken):
                await second.authenticate(tokens[0])
            with pytest.raises(InvalidToken):
                await second.refresh_session(RefreshSessionCommand(refresh_token=tokens[1]))

    for number in range(rounds // together):
        await asyncio.gather(*(one_round(email, number) for email in people))
    # Both orders came up: the test looked at a race and not at a queue.
    assert lost["refused"] > 0
    assert lost["ended"] > 0


@rounds(3, 500)
async def test_a_cookie_that_has_ended_is_refused_everywhere(
    instances: tuple[Application, Application], rounds: int
) -> None:
    """Both instances know the session. Calls with its cookie run beside the end, at the other instance."""
    email = "user@example.org"
    await instances[0].register_user(RegisterUserCommand(email=email, password=PASSWORD))
    password = PASSWORD
    for number in range(rounds):
        here, there = instances if number % 2 else instances[::-1]
        ended, kept = [await _browser(here, email, password) for _ in range(2)]
        for ubr in instances:
            for cookie in (ended, kept):
                await ubr.authenticate_cookie(cookie)
        calls = [_tried(there, ended) for _ in range(20)]
        actor = await here.authenticate_cookie(ended)
        await asyncio.gather(here.log_out(actor=actor), *calls)
        assert [await _tried(ubr, ended) for ubr in instances] == [False, False]
        assert [await _tried(ubr, kept) for ubr in instances] == [True, True]
        copied = await there.issue_access_token(IssueAccessTokenCommand(cookie=kept))
        changed = f"{PASSWORD} {number}"
        command = ChangePasswordCommand(current_password=password, new_password=changed)
        calls = [_tried(there, kept) for _ in range(20)]
        newer, *_ = await asyncio.gather(
            here.change_password(command, actor=await here.authenticate_cookie(kept)), *calls
        )
        password = changed
        assert newer is not None
        assert [await _tried(ubr, kept) for ubr in instances] == [False, False]
        assert [await _tried(ubr, newer.value) for ubr in instances] == [True, True]
        for ubr in instances:
            with pytest.raises(InvalidToken):
                await ubr.authenticate(copied.access_token)


@rounds(2, 100)
async def test_a_use_at_both_instances_is_stored_once(instances: tuple[Application, Application], rounds: int) -> None:
    first, second = instances
    await first.register_user(RegisterUserCommand(email="user@example.org", password=PASSWORD))
    for number in range(1, rounds + 1):
        cookie = await _browser(first, "user@example.org", PASSWORD)
        session_id = first.authenticate_cookie.cookies.read(cookie).actor.session_id
        async with first.log_in.unit_of_work.begin(SYSTEM) as tx:
            session = await tx.sessions.get(session_id)
            assert session is not None
            session.last_seen_at -= timedelta(minutes=11)
            await tx.sessions.save(session)
            await tx.commit()
        calls = (ubr.authenticate_cookie(cookie) for _ in range(50) for ubr in instances)
        assert await outcomes(calls) == {"done": 100}
        entries = await first.list_logs(ListLogsCommand(action="session.refreshed", limit=200), actor=SYSTEM)
        assert len(entries.items) == number
        page = await second.list_sessions(ListSessionsCommand(user_id=session.user_id), actor=SYSTEM)
        assert all(each.last_seen_at - each.created_at < timedelta(minutes=1) for each in page.items)


async def _browser(ubr: Application, email: str, password: str) -> str:
    login = await ubr.log_in_browser(LogInBrowserCommand(email=email, password=password))
    return login.cookie.value


async def _try_a_browser(ubr: Application, email: str, password: str) -> str | None:
    try:
        return await _browser(ubr, email, password)
    except InvalidCredentials:
        return None


async def _tried(ubr: Application, cookie: str) -> bool:
    try:
        await ubr.authenticate_cookie(cookie)
    except InvalidToken:
        return False
    return True


async def _try_to_sign_in(ubr: Application, email: str, password: str) -> tuple[str, str] | None:
    try:
        tokens = await ubr.log_in(LogInCommand(email=email, password=password))
    except InvalidCredentials:
        return None
    return tokens.access_token, tokens.refresh_token


@rounds(2, 100)
@pytest.mark.system(seconds=10)
async def test_all_of_200_refreshes_of_one_token_get_the_same_successor(
    instances: tuple[Application, Application], rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They come at once; that a slow machine gets to the last of them later than that is not what this is about.
    monkeypatch.setattr(refresh_session, "RETRY_WINDOW", timedelta(minutes=2))
    first, second = instances
    await first.register_user(RegisterUserCommand(email="user@example.org", password=PASSWORD))
    for _ in range(rounds):
        tokens = await first.log_in(LogInCommand(email="user@example.org", password=PASSWORD))
        command = RefreshSessionCommand(refresh_token=tokens.refresh_token)
        answers = await asyncio.gather(*((first, second)[at % 2].refresh_session(command) for at in range(200)))
        successors = {answer.refresh_token for answer in answers}
        assert len(successors) == 1
        await first.refresh_session(RefreshSessionCommand(refresh_token=successors.pop()))


@rounds(5, 500)
async def test_two_who_make_each_other_rise_and_fall_do_not_lock_up(
    instances: tuple[Application, Application], rounds: int
) -> None:
    """Grants and refreshes of the same two users, in both directions at once: nobody waits for ever."""
    first, second = instances
    for email in ("left@example.org", "right@example.org"):
        await first.create_admin(CreateAdminCommand(email=email, password=PASSWORD), actor=SYSTEM)
    left, right = [await log_in(first, email, PASSWORD) for email in ("left@example.org", "right@example.org")]
    await first.register_user(RegisterUserCommand(email="user@example.org", password=PASSWORD))
    for _ in range(rounds):
        tokens = await first.log_in(LogInCommand(email="user@example.org", password=PASSWORD))
        refresh = RefreshSessionCommand(refresh_token=tokens.refresh_token)
        await asyncio.gather(
            first.assign_role(AssignRoleCommand(user_id=right.user_id, role="admin"), actor=left),
            second.assign_role(AssignRoleCommand(user_id=left.user_id, role="admin"), actor=right),
            first.update_user(
                UpdateUserCommand(user_id=right.user_id, changes=UserChanges(full_name="Right")), actor=left
            ),
            second.update_user(
                UpdateUserCommand(user_id=left.user_id, changes=UserChanges(full_name="Left")), actor=right
            ),
            first.refresh_session(refresh),
            second.refresh_session(refresh),
        )
