"""What a service in Python does with ubr. mypy has to take all of it, and to know the types that are asserted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import assert_type
from uuid import UUID

from msgspec import UNSET

import ubr.testing
from ubr import (
    SYSTEM,
    AccessTokenResult,
    Actor,
    Application,
    AssignRoleCommand,
    BrowserLoginResult,
    ChangeNotifier,
    CreateUserCommand,
    Extensions,
    GetUserCommand,
    GrantResult,
    HookedUnit,
    Hooks,
    HostedUseCases,
    IdempotencyKey,
    IssueAccessTokenCommand,
    ListLogsCommand,
    ListSessionsCommand,
    ListUserRolesCommand,
    ListUsersCommand,
    LogEntryResult,
    LogInBrowserCommand,
    LogInCommand,
    Mailer,
    Origin,
    Page,
    RegisterUserCommand,
    SessionCookieResult,
    SessionResult,
    Settings,
    SlowHasher,
    TokensResult,
    TokenSubject,
    UbrError,
    UpdateUserCommand,
    UserChanges,
    UserResult,
    calling_from,
    connect,
    events,
    sync,
)
from ubr.testing import MovableClock, in_memory, log_in
from ubr.verifier import Credentials, ServiceKey, VerifiedToken, Verifier


async def as_a_library() -> None:
    async with connect(Settings.from_env()) as app:
        assert_type(app, Application)
        # The system's registration always answers with the account; a stranger's may have to wait for the mail.
        command = RegisterUserCommand(email="reader@example.org", password="a long enough password")
        user = await app.register_user(command, actor=SYSTEM, idempotency_key=IdempotencyKey("once"))
        assert_type(user, UserResult)
        assert_type(await app.register_user(command), UserResult | None)

        tokens = await app.log_in(LogInCommand(email=user.email, password="a long enough password"))
        assert_type(tokens, TokensResult)
        actor = await app.authenticate(tokens.access_token)
        assert_type(actor, Actor)
        await members(app, actor)

        login = await app.log_in_browser(LogInBrowserCommand(email=user.email, password="a long enough password"))
        assert_type(login, BrowserLoginResult)
        assert_type(login.cookie, SessionCookieResult)
        assert_type(await app.authenticate_cookie(login.cookie.value), Actor)
        token = await app.issue_access_token(IssueAccessTokenCommand(cookie=login.cookie.value))
        assert_type(token, AccessTokenResult)


async def members(app: Application, actor: Actor) -> None:
    page = await app.list_users(ListUsersCommand(limit=10), actor=actor)
    assert_type(page, Page[UserResult])
    for user in page.items:
        assert_type(user.id, UUID)
        assert_type(user.full_name, str | None)
        assert_type(user.created_at, datetime)
        assert_type(user.revision, str)
        # An id that was answered is an id that can be asked with.
        await app.assign_role(AssignRoleCommand(user_id=user.id, role="editor", expires_at=None), actor=SYSTEM)
        grants = await app.list_user_roles(ListUserRolesCommand(user_id=user.id), actor=actor)
        assert_type(grants, Page[GrantResult])
    following = ListUsersCommand(cursor=page.next_cursor)
    await app.list_users(following, actor=actor)


async def the_rest(app: Application, actor: Actor) -> None:
    # Absent and null are two things.
    changes = (UserChanges(full_name="A Reader"), UserChanges(full_name=None), UserChanges(full_name=UNSET))
    for change in changes:
        updated = await app.update_user(UpdateUserCommand(user_id=actor.user_id, changes=change), actor=actor)
        assert_type(updated, UserResult)
    assert_type(await app.list_sessions(ListSessionsCommand(user_id=actor.user_id), actor=actor), Page[SessionResult])
    logs = await app.list_logs(ListLogsCommand(), actor=actor)
    assert_type(logs, Page[LogEntryResult])
    where = calling_from(Origin(ip="192.0.2.1"))
    origin: AbstractContextManager[None] = where
    with origin:
        await app.log_out(actor=actor)
    try:
        await app.create_user(CreateUserCommand(email="another@example.org"), actor=actor)
    except UbrError as error:
        assert_type(str(error), str)


def without_an_event_loop() -> None:
    with sync.connect(Settings.from_env(), timeout=10) as users:
        command = RegisterUserCommand(email="reader@example.org", password="a long enough password")
        assert_type(users.register_user(command, actor=SYSTEM), UserResult)
        assert_type(users.register_user(command), UserResult | None)
        assert_type(users.create_user(CreateUserCommand(email="a@example.org"), actor=SYSTEM), UserResult)
        page = users.list_users(ListUsersCommand(limit=10), actor=SYSTEM)
        assert_type(page, Page[UserResult])
        users.assign_role(AssignRoleCommand(user_id=page.items[0].id, role="editor"), actor=SYSTEM)


async def in_ones_own_transaction(app: Application, connection: object) -> None:
    users = app.within(connection)
    assert_type(users, HostedUseCases)
    made = await users.create_user(CreateUserCommand(email="a@example.org"), actor=SYSTEM)
    assert_type(made, UserResult)
    await users.committed()


async def events_of(app: Application) -> None:
    async for event in events.follow(app, after=None, actions=["user.created"]):
        assert_type(event.position, str)
        assert_type(event.entry, LogEntryResult)


hooks = Hooks()


@hooks.before(CreateUserCommand)
async def invited(command: CreateUserCommand, actor: object) -> None:
    assert_type(command.email, str)
    assert_type(actor, object)


@hooks.within(events.UserCreated)
async def noted(event: events.UserCreated, unit: HookedUnit) -> None:
    assert_type(unit.now, datetime)


@hooks.after(events.UserEvent)
async def counted(event: events.UserEvent, actor: object) -> None:
    assert_type(event.action, str)


async def plan_of(subject: TokenSubject) -> dict[str, object]:
    return {"plan": subject.user.email}


def parts(hasher: SlowHasher, mailer: Mailer, notifier: ChangeNotifier) -> Extensions:
    return Extensions(hasher=hasher, mailer=mailer, notifier=notifier, hooks=hooks, token_claims=plan_of)


async def in_tests() -> AsyncIterator[Application]:
    async with in_memory(registration="verified") as (app, clock):
        assert_type(app, Application)
        assert_type(clock, MovableClock)
        clock.move(days=15)
        actor = await log_in(app, "reader@example.org", "a long enough password")
        await app.get_user(GetUserCommand(user_id=actor.user_id), actor=actor)
        assert_type(clock(), datetime)
        for mail in await ubr.testing.delivered(app):
            assert_type(mail.text, str)
        yield app


async def in_another_service(token: str) -> VerifiedToken:
    access = Credentials("service@example.org", "a long enough password")
    async with Verifier("https://users.example.org", access, issuer="https://users.example.org") as verifier:
        assert_type(await verifier.verify(token), VerifiedToken)
    key = ServiceKey("ubr_sk_…")
    async with Verifier("https://users.example.org", key, issuer="https://users.example.org") as verifier:
        return await verifier.verify(token)
