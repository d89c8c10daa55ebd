"""What the suites of the stores build their examples from."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import uuid4

from ubr.application.ports.accounts import UserFilter
from ubr.application.ports.paging import After
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.accounts.user import User, UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.events import Event, LogInFailed
from ubr.domain.ids import RoleId, SessionId, TokenDigest, UserId
from ubr.domain.keys.signing_key import SigningKey
from ubr.domain.roles.grant import Grant
from ubr.domain.roles.permissions import Permission, Permissions
from ubr.domain.roles.role import Role, RoleName
from ubr.domain.sessions.session import RefreshToken, Session

T = TypeVar("T")

NOON = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class MovableClock:
    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> datetime:
        self.now += by
        return self.now


def email(name: str) -> Email:
    return Email.parse(f"{name}@example.com")


def new_grant(role: Role | RoleId, *, until: datetime | None = None, by: UserId | None = None) -> Grant:
    role_id = role.id if isinstance(role, Role) else role
    return Grant(role_id=role_id, granted_by=by, granted_at=NOON, expires_at=until)


def new_user(
    name: str | None = None,
    *,
    grants: Iterable[Grant] = (),
    status: UserStatus = UserStatus.ACTIVE,
    created: datetime = NOON,
) -> User:
    return User(
        id=UserId(uuid4()),
        email=email(name or f"u{uuid4().hex}"),
        full_name=None,
        password_hash=PasswordHash("a hash"),
        status=status,
        email_verified=False,
        created_at=created,
        updated_at=created,
        grants={grant.role_id: grant for grant in grants},
    )


def new_role(name: str | None = None, *permissions: str, id: RoleId | None = None, created: datetime = NOON) -> Role:
    return Role(
        id=id or RoleId(uuid4()),
        name=RoleName.parse(name or f"r{uuid4().hex}"),
        description=None,
        permissions=Permissions.of(map(Permission.parse, permissions)),
        created_at=created,
        updated_at=created,
    )


def new_session(
    user: User,
    *,
    created: datetime = NOON,
    idle: timedelta = HOUR,
    lifetime: timedelta = 24 * HOUR,
    ended: datetime | None = None,
) -> Session:
    return Session(
        id=SessionId(uuid4()),
        user_id=user.id,
        created_at=created,
        last_seen_at=created,
        idle_expires_at=created + idle,
        expires_at=created + lifetime,
        ip="2001:db8::1",
        user_agent="a browser",
        ended_at=ended,
    )


def new_token(session: Session) -> RefreshToken:
    return RefreshToken(digest=TokenDigest(uuid4().bytes * 2), session_id=session.id, issued_at=session.created_at)


def new_key(kid: str, *, created: datetime = NOON) -> SigningKey:
    return SigningKey(
        kid=kid,
        algorithm="EdDSA",
        public='{"kty":"OKP"}',
        private=b"\x00sealed\xff",
        created_at=created,
        signs_from=created,
    )


def something_happened(user_id: UserId | None = None) -> Event:
    return LogInFailed(user_id=user_id, reason="wrong_password")


async def page_of_users(
    tx: Transaction, which: UserFilter, after: After[datetime] | After[str] | None, limit: int
) -> list[User]:
    """The users on a page, each as it is stored."""
    found = [await tx.users.get(listed.id) for listed in (await tx.users.search(which, after, limit)).items]
    return [user for user in found if user is not None]


async def put(uow: UnitOfWork, *things: User | Role | Session | RefreshToken | SigningKey | Event) -> None:
    """Store new things, in one unit."""
    async with uow.begin(SYSTEM) as tx:
        for thing in things:
            match thing:
                case User():
                    await tx.users.add(thing)
                case Role():
                    await tx.roles.add(thing)
                case Session():
                    await tx.sessions.add(thing)
                case RefreshToken():
                    await tx.refresh_tokens.add(thing)
                case SigningKey():
                    await tx.signing_keys.add(thing)
                case Event():
                    tx.record(thing)
        await tx.commit()


async def seen(uow: UnitOfWork, look: Callable[[Transaction], Awaitable[T]]) -> T:
    """What a unit of its own reads."""
    async with uow.read() as tx:
        return await look(tx)


async def race(doings: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Do all at once; what each of them returned or raised."""
    return await asyncio.gather(*doings, return_exceptions=True)


async def pages(page: Callable[[T | None], Awaitable[list[T]]]) -> list[T]:
    """Everything there is, page by page: each is asked for by the last thing of the one before."""
    found: list[T] = []
    while more := await page(found[-1] if found else None):
        found += more
    return found
