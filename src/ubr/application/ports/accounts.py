"""Accounts: users, their passwords, and the one-time links that are mailed to them.

Inside a unit of work: what one reads in a writing unit is locked until it ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from ubr.application.ports.paging import After
from ubr.application.ports.secrets import MintedToken
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.one_time_link import LinkKind, OneTimeLink
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.accounts.search import Prefix
from ubr.domain.accounts.user import User, UserStatus
from ubr.domain.ids import TokenDigest, UserId
from ubr.domain.roles.role import RoleName

UserSort: TypeAlias = Literal["created_at", "-created_at", "email", "-email"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFilter:
    """Which users, and in which order. `role` counts grants that hold at `now`."""

    prefix: Prefix | None = None
    role: RoleName | None = None
    status: UserStatus | None = None
    sort: UserSort = "created_at"
    now: datetime


class Users(Protocol):
    async def get(self, user_id: UserId) -> User | None:
        """The user; None where there is none."""
        ...

    async def by_email(self, email: Email) -> User | None:
        """The user whose e-mail has this key; None where there is none."""
        ...

    async def page(self, which: UserFilter, after: After[datetime] | After[str] | None, limit: int) -> list[User]:
        """At most `limit` users behind `after`, in the order asked for, never locked. By e-mail means by its key."""
        ...

    async def add(self, user: User) -> None:
        """Store a new user and what happened to them.

        Errors: `EmailTaken`, also for one that is reserved for another user; `RoleNotFound` for a role that is gone.
        """
        ...

    async def save(self, user: User) -> None:
        """Store the new state of a user who was read here; one who is gone by then stays gone.

        Errors: as of `add`.
        """
        ...

    async def remove(self, user: User) -> None:
        """Delete a user with all grants, sessions and refresh tokens. A second time does nothing."""
        ...

    async def reserve(self, email: Email, user_id: UserId, until: datetime) -> None:
        """Keep an e-mail that a user has given up: until then it becomes nobody else's. Again moves the end."""
        ...

    async def release(self, user_id: UserId, until: datetime) -> None:
        """Keep none of a user's former e-mails any longer that are reserved until then, or longer."""
        ...

    async def forget_reservations(self, ended_before: datetime, limit: int) -> int:
        """Delete at most `limit` reservations that ended before this. The number deleted."""
        ...

    async def forget_grants(self, ended_before: datetime, limit: int) -> int:
        """Delete at most `limit` grants whose end lies before this, whosever they are. The number deleted.

        Nothing is recorded and no version rises: nobody could tell that they were there.
        """
        ...

    async def another_admin_stays(self, user_id: UserId) -> bool:
        """Whether somebody else is an active admin with no end to it.

        From this question on, until the unit ends, no other unit gets an answer to it: of two admins who remove each
        other at the same moment one is told that they are the last.
        """
        ...


class PasswordHasher(Protocol):
    """A slow, salted, memory-hard hash, in a pool of its own."""

    async def hash(self, password: str) -> PasswordHash:
        """A new hash at today's cost. Errors: `Busy` where too many are waiting."""
        ...

    async def verify(self, password: str, against: PasswordHash | None) -> bool:
        """Whether the password is the one. Takes as long for None, and for a hash it cannot read, as for any other.

        Errors: `Busy` where too many are waiting.
        """
        ...

    def outdated(self, hashed: PasswordHash) -> bool:
        """Whether a hash was made at a lower cost than today's."""
        ...


CommonPasswords: TypeAlias = Callable[[str], bool]
"""Whether a password, in lower case, is one of those that everybody tries first. Nobody outside is told of it."""


class LinkTokenMint(Protocol):
    """The tokens of one-time links: 256 random bits each, known to the store by their SHA-256 digest alone."""

    def mint(self) -> MintedToken:
        """A token nobody has seen."""
        ...

    def digest(self, secret: str) -> TokenDigest:
        """Under what a link is stored. Errors: `InvalidLink` for what cannot be its token."""
        ...


class Links(Protocol):
    async def add(self, link: OneTimeLink) -> None:
        """Store a link. Older ones of its kind for the same account, or e-mail where there is none, are deleted.

        But for those that undo a change of e-mail: each goes back to another one. Errors: `UserNotFound`.
        """
        ...

    async def get(self, digest: TokenDigest) -> OneTimeLink | None:
        """The link, expired or not, never locked; None where there is none, or it was redeemed."""
        ...

    async def redeem(self, digest: TokenDigest, now: datetime) -> OneTimeLink | None:
        """Take a link that is good out of the store, in one step; None where there is none.

        However many try at once, one gets it. Where its unit is rolled back it is as good as before.
        """
        ...

    async def pending(self, kind: LinkKind, email: Email, now: datetime) -> OneTimeLink | None:
        """A link of this kind to an e-mail, for no account yet, that is good; never locked."""
        ...

    async def forget_of(self, user_id: UserId, *, changed_since: datetime | None) -> None:
        """Delete the links of a user; of those that undo a change of e-mail those of changes since then, or none."""
        ...

    async def forget_all(self, limit: int) -> int:
        """Delete at most `limit` links, whosever they are. The number deleted."""
        ...

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """Delete at most `limit` links that expired before this. The number deleted."""
        ...
