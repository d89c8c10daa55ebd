"""Users, roles and tokens for tests over the whole application."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.support.values import replace
from ubr.application.accounts.get_user import GetUserCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.app import Application
from ubr.application.audit.list_logs import ListLogsCommand
from ubr.application.kernel.representations import (
    AccessTokenResult,
    LogEntryResult,
    RoleResult,
    TokensResult,
    UserResult,
)
from ubr.application.ports.accounts import PasswordHasher
from ubr.application.ports.mail import Mail
from ubr.application.roles.assign_role import AssignRoleCommand
from ubr.application.roles.create_role import CreateRoleCommand
from ubr.application.sessions.log_in import LogIn, LogInCommand
from ubr.application.sessions.refresh_session import RefreshSessionCommand
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM, Actor, System
from ubr.domain.errors import InvalidToken
from ubr.domain.ids import UserId
from ubr.domain.mail.queued_mail import LAST_TRY
from ubr.settings import LoginRateLimit
from ubr.testing import MovableClock, delivered, in_memory

PASSWORD = "correct horse battery staple"
OTHER_PASSWORD = "staple battery horse correct"
THIRD_PASSWORD = "battery correct staple horse"
NO_LIMITS = LoginRateLimit(None, None)

_TOKEN = re.compile(r"#token=([A-Za-z0-9_-]+)")


async def give_up(ubr: Application, email: str) -> None:
    """The one mail that is queued for this e-mail has failed as often as a mail is tried."""
    async with ubr.deliver_mail.unit_of_work.begin(SYSTEM) as tx:
        [queued] = [each for each in await tx.outbox.page(None, 9) if each.email.key == email]
        failed = queued
        for _ in range(LAST_TRY):
            failed = failed.failed("the server answered 451", for_good=False, now=tx.now)
        assert await tx.outbox.save(failed, was=queued)
        await tx.commit()


def token_in(mail: Mail) -> str:
    """The token of the one link in a mail, the same in its text and its HTML."""
    [text], [html] = {*_TOKEN.findall(mail.text)}, {*_TOKEN.findall(mail.html)}
    assert text == html
    return str(text)


@dataclass(frozen=True, slots=True)
class Member:
    """A logged-in user."""

    email: str
    actor: Actor
    tokens: TokensResult

    @property
    def id(self) -> UUID:
        return self.actor.user_id


@dataclass(slots=True)
class World:
    """An application, its clock, and its users."""

    ubr: Application
    clock: MovableClock
    _made: int = 0
    _read: set[UUID] = field(default_factory=set)

    async def role(self, *permissions: str, name: str | None = None) -> RoleResult:
        self._made += 1
        command = CreateRoleCommand(name=name or f"role{self._made}", permissions=list(permissions))
        return await self.ubr.create_role(command, actor=SYSTEM)

    async def register(self, email: str | None = None, password: str = PASSWORD) -> UserResult:
        self._made += 1
        command = RegisterUserCommand(email=email or f"member{self._made}@example.org", password=password)
        made = await self.ubr.register_user(command, actor=SYSTEM)
        assert made is not None
        return made

    async def assign(self, user_id: UUID, role: str, *, actor: Actor | System = SYSTEM) -> None:
        await self.ubr.assign_role(AssignRoleCommand(user_id=user_id, role=role), actor=actor)

    async def user(self, *permissions: str, role: str | None = None, email: str | None = None) -> Member:
        """A logged-in user, with a role of these permissions, or of this name."""
        user = await self.register(email)
        if permissions:
            role = (await self.role(*permissions)).name
        if role is not None:
            await self.assign(user.id, role)
        return await self.logged_in(user.email)

    async def admin(self) -> Member:
        return await self.user(role="admin")

    async def log_in(self, email: str, password: str = PASSWORD) -> TokensResult:
        return await self.ubr.log_in(LogInCommand(email=email, password=password))

    async def logged_in(self, email: str, password: str = PASSWORD) -> Member:
        tokens = await self.log_in(email, password)
        return Member(email, await self.ubr.authenticate(tokens.access_token), tokens)

    async def refresh(self, refresh_token: str) -> TokensResult:
        return await self.ubr.refresh_session(RefreshSessionCommand(refresh_token=refresh_token))

    async def set_status(self, user_id: UUID, status: UserStatus, *, actor: Actor | System = SYSTEM) -> UserResult:
        command = UpdateUserCommand(user_id=user_id, changes=UserChanges(status=status))
        return await self.ubr.update_user(command, actor=actor)

    async def seen(self, user_id: UUID) -> UserResult:
        return await self.ubr.get_user(GetUserCommand(user_id=user_id), actor=SYSTEM)

    async def alive(self, tokens: TokensResult | AccessTokenResult) -> bool:
        """True if the access token of a session is accepted."""
        return await self.accepted(tokens.access_token)

    async def accepted(self, access_token: str) -> bool:
        """True if an access token is accepted."""
        try:
            await self.ubr.authenticate(access_token)
        except InvalidToken:
            return False
        return True

    async def mails(self) -> list[Mail]:
        """The mails sent since the last call, oldest first."""
        return await delivered(self.ubr)

    async def link(self, to: str | None = None) -> str:
        """The token of the newest link mailed since the last call; to this e-mail."""
        found = [mail for mail in await self.mails() if to is None or mail.to == to]
        return token_in(found[-1])

    async def acts(self) -> list[LogEntryResult]:
        """The log entries since the last call, oldest first, without denials and reads of the log itself."""
        found: list[LogEntryResult] = []
        cursor = None
        while True:
            page = await self.ubr.list_logs(ListLogsCommand(limit=200, cursor=cursor), actor=SYSTEM)
            found += [entry for entry in page.items if entry.id not in self._read]
            cursor = page.next_cursor
            if cursor is None or len(found) % 200:
                break
        self._read |= {entry.id for entry in found}
        asking = ("log.read", None)
        return [e for e in reversed(found) if e.action != "act.refused" and (e.action, e.actor_id) != asking]


@asynccontextmanager
async def new_world(**settings: Any) -> AsyncIterator[World]:
    """A new world, without limits. `settings` are fields of `Settings`."""
    async with in_memory(**{"login_rate_limit": NO_LIMITS, **settings}) as (ubr, clock):
        world = World(ubr, clock)
        await world.acts()
        yield world


@dataclass(slots=True)
class PassingOn:
    """A password hasher that passes every call on to another one."""

    hasher: PasswordHasher

    async def hash(self, password: str, *, owner: UserId, account: str = "") -> PasswordHash:
        return await self.hasher.hash(password, owner=owner, account=account)

    async def verify(
        self, password: str, against: PasswordHash | None, *, owner: UserId | None, account: str = ""
    ) -> bool:
        return await self.hasher.verify(password, against, owner=owner, account=account)

    def outdated(self, hashed: PasswordHash, owner: UserId) -> bool:
        return self.hasher.outdated(hashed, owner)

    def rebind(self, hashed: PasswordHash, owner: UserId) -> PasswordHash | None:
        return self.hasher.rebind(hashed, owner)

    def lacks_secret(self, hashed: PasswordHash) -> bool:
        return self.hasher.lacks_secret(hashed)


@dataclass(slots=True)
class Meanwhile(PassingOn):
    """A password hasher that runs another act once during its work, for races that must be reproduced every time."""

    act: Callable[[], Awaitable[object]]
    times: int = 1

    async def verify(
        self, password: str, against: PasswordHash | None, *, owner: UserId | None, account: str = ""
    ) -> bool:
        right = await self.hasher.verify(password, against, owner=owner, account=account)
        if self.times:
            self.times -= 1
            await self.act()
        return right


def log_in_with(ubr: Application, hasher: PasswordHasher) -> LogIn:
    """The login of an application, with another hasher."""
    return replace(ubr.log_in, passwords=replace(ubr.log_in.passwords, hasher=hasher))


def log_in_while(world: World, act: Callable[[], Awaitable[object]], times: int = 1) -> LogIn:
    """A login during whose hashing another act runs, `times` times."""
    return log_in_with(world.ubr, Meanwhile(world.ubr.log_in.passwords.hasher, act, times))
