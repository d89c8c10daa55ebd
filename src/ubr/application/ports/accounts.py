"""Accounts: users, their passwords, and the one-time links that are mailed to them.

These run inside a unit of work. A row read in a writing unit stays locked until the unit ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from ubr.application.ports.paging import After, Found
    from ubr.application.ports.secrets import MintedToken
    from ubr.domain.accounts.email import Email
    from ubr.domain.accounts.one_time_link import LinkKind, OneTimeLink
    from ubr.domain.accounts.passwords import PasswordHash
    from ubr.domain.accounts.search import Prefix
    from ubr.domain.accounts.user import User, UserStatus, UserSummary
    from ubr.domain.accounts.user_field import FieldValues, Term, Terms
    from ubr.domain.accounts.user_fields import FieldIndex
    from ubr.domain.ids import TokenDigest, UserId
    from ubr.domain.roles.role import RoleName

MAX_TERMS: Final = 5
"""Maximum number of fields of the host that one search names."""

UserSort: TypeAlias = Literal["created_at", "-created_at", "email", "-email"]


class UserFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects and orders users. `role` counts grants that are in force now.

    A user is found by all of `terms`, at most `MAX_TERMS`.
    """

    prefix: Prefix | None = None
    role: RoleName | None = None
    status: UserStatus | None = None
    sort: UserSort = "created_at"
    terms: tuple[Term, ...] = ()


class ReservedEmail(msgspec.Struct, frozen=True):
    """The user who gave up an e-mail, and the end of its reservation for them."""

    user_id: UserId
    until: datetime


class Users(Protocol):
    async def get(self, user_id: UserId) -> User | None:
        """The user; None if missing."""
        ...

    async def again(self, user: User) -> User | None:
        """The user now, whom an earlier unit read; None if missing. Costs less than `get` if nothing has changed."""
        ...

    async def by_email(self, email: Email) -> User | None:
        """The user whose e-mail has this key; None if there is none."""
        ...

    async def search(
        self, which: UserFilter, after: After[datetime] | After[str] | None, limit: int
    ) -> Found[UserSummary, datetime | str]:
        """At most `limit` users after `after`, in the requested order, never locked.

        E-mails are ordered by their key. With a prefix, a role or terms, this takes several queries, which have to see
        the same users. It reads a bounded number of rows, so it may find fewer users than there are.
        """
        ...

    async def add(self, user: User) -> None:
        """Store a new user and their events.

        Errors: `EmailTaken`, also if the e-mail is reserved for another user; `RoleNotFound` if a granted role is gone.
        """
        ...

    async def save(self, user: User) -> None:
        """Store the new state of a user read in this unit. A user deleted in the meantime stays deleted.

        The user is found by their `terms` from now on; None leaves the stored ones. Errors: those of `add`.
        """
        ...

    async def field_values(self, after: UserId | None, limit: int) -> list[tuple[UserId, FieldValues]]:
        """The stored fields of at most `limit` persons, in the order of ids, from the first one after `after`."""
        ...

    async def index(self, terms: Mapping[UserId, Terms]) -> None:
        """Let these users, read in this unit, be found by these terms alone. Records no event, raises no version."""
        ...

    async def declare_index(self, index: FieldIndex) -> None:
        """Store which fields users are found by who are indexed under this name. A second call does nothing."""
        ...

    async def indexes(self) -> list[FieldIndex]:
        """Those under which at least one person is indexed now, in the order of their names; never locked.

        The name of a person who was never indexed, or without a searchable field, is empty. An index that no one
        declared has no fields. The time of a call does not grow with the number of users.
        """
        ...

    async def indexed_under(self, name: str, limit: int) -> list[tuple[UserId, FieldValues]]:
        """The stored fields of at most `limit` persons who are indexed under this name.

        In a writing unit it skips those that another unit has locked.
        """
        ...

    async def remove(self, user: User) -> None:
        """Delete a user with all grants, sessions and refresh tokens. A second call does nothing."""
        ...

    async def reserve(self, email: Email, user_id: UserId, until: datetime) -> None:
        """Reserve an e-mail that a user has given up: no other user can take it before `until`.

        A second call moves the end.
        """
        ...

    async def reserved(self, email: Email, now: datetime) -> ReservedEmail | None:
        """The reservation of an e-mail that is in force at `now`; None if there is none."""
        ...

    async def release(self, user_id: UserId, until: datetime) -> None:
        """End the reservations of a user's former e-mails that last until `until` or longer."""
        ...

    async def forget_reservations(self, ended_before: datetime, limit: int) -> int:
        """Delete at most `limit` reservations that ended before this. Returns the number deleted."""
        ...

    async def forget_grants(self, ended_before: datetime, limit: int) -> int:
        """Delete at most `limit` grants of any user that ended before this. Returns the number deleted.

        No event is recorded and no version rises, because ended grants have no visible effect.
        """
        ...

    async def hashes(
        self, after: UserId | None, limit: int, *, among: int | None = None
    ) -> list[tuple[UserId, PasswordHash]]:
        """The hashes of at most `limit` users with a password, in the order of ids, from the first one after `after`.

        With `among` it looks at that many users, so that many without a password cost no more. Never locked.
        """
        ...

    async def rebind(self, user_id: UserId, before: PasswordHash, after: PasswordHash) -> bool:
        """Replace the stored hash of a user, if it is still `before`. Records no event and raises no version, because
        the password is the same. Returns True if it was replaced.
        """
        ...

    async def another_admin_stays(self, user_id: UserId) -> bool:
        """True if another user is active and has an unlimited grant of the admin role.

        The call takes a lock until the unit ends, and other units that call it wait. Of two admins who remove each
        other at the same moment, one therefore fails as the last.
        """
        ...


class PasswordHasher(Protocol):
    """A slow, salted, memory-hard hash, computed in a separate pool, and encrypted for its owner with the secret.

    Waiting calls are served one per client in turn, and within a client one per account. The client is that of the
    current origin, the `account` the canonical e-mail of a call, whether or not it exists. So a client or an account
    with many calls delays the others by one call each. If too many calls are waiting, `Busy` reaches those of the
    largest share first.
    """

    async def hash(self, password: str, *, owner: UserId, account: str = "") -> PasswordHash:
        """A new hash for this user, at the current cost. Errors: `Busy` if too many calls are waiting."""
        ...

    async def verify(
        self, password: str, against: PasswordHash | None, *, owner: UserId | None, account: str = ""
    ) -> bool:
        """True if the password matches a hash of this user. Takes the same time for any hash, readable or not, or None.

        A hash that was made for another user, or with a secret that this process lacks, cannot be read. A hash that
        is not encrypted is read for any user.

        Errors: `Busy` if too many calls are waiting.
        """
        ...

    def outdated(self, hashed: PasswordHash, owner: UserId) -> bool:
        """True unless the hash was made at the current cost or a higher one, and encrypted with the newest secret."""
        ...

    def rebind(self, hashed: PasswordHash, owner: UserId) -> PasswordHash | None:
        """The hash, encrypted with the newest secret; the same object if it is already. None if it cannot be read."""
        ...

    def lacks_secret(self, hashed: PasswordHash) -> bool:
        """True if the hash was encrypted with a secret that this process does not have."""
        ...


MAX_HASH_LENGTH: Final = 512
"""Maximum number of characters of an encoded hash, before it is encrypted."""


class SlowHasher(Protocol):
    """The hash of passwords itself, before ubr encrypts it for its owner. A host may replace it.

    It salts each hash at random, and knows its costs from the hash. It computes outside the thread of the event loop,
    and bounds how many calls wait.
    """

    async def hash(self, password: str, *, account: str = "") -> PasswordHash:
        """A new hash at the current cost: printable ASCII, at most `MAX_HASH_LENGTH` characters.

        Every byte of the password counts, as it comes: no normalization, no limit of length below 4096 bytes, and lone
        surrogates too. It never has control characters. `account` is the canonical e-mail of the call, for a fair
        queue. Errors: `Busy` if too many calls are waiting; `Unavailable` if it cannot compute.
        """
        ...

    async def verify(self, password: str, against: PasswordHash | None, *, account: str = "") -> bool:
        """True if the password matches. False for a hash that cannot be read, and for None, after the same work.

        Errors: those of `hash`.
        """
        ...

    def outdated(self, hashed: PasswordHash) -> bool:
        """True unless this hasher can read the hash, and it cost at least what a new one costs. Computes no hash."""
        ...


CommonPasswords: TypeAlias = Callable[[str], bool]
"""True if a password, in lower case, is one of the most common. No external service is used."""

GuessablePasswords: TypeAlias = Callable[[str], bool]
"""True if guessing a password is easy: a common password or word with a pattern or a few characters, or patterns alone.

The time of a call is bounded for every length. No external service is used.
"""


class LinkTokenMint(Protocol):
    """Tokens of one-time links: 256 random bits each. The store holds only their SHA-256 digest."""

    def mint(self) -> MintedToken:
        """A new token."""
        ...

    def digest(self, secret: str) -> TokenDigest:
        """The digest that a link is stored under. Errors: `InvalidLink` if the text cannot be a link token."""
        ...


class Links(Protocol):
    async def add(self, link: OneTimeLink, *, keep_older: bool = False) -> None:
        """Store a link. Deletes older links of the same kind for the same account, or for the e-mail if it has no
        account; not with `keep_older`.

        Links that undo a change of e-mail are kept, since each restores a different e-mail. Errors: `UserNotFound`.
        """
        ...

    async def get(self, digest: TokenDigest) -> OneTimeLink | None:
        """The link, expired or not, never locked; None if it is missing or was redeemed."""
        ...

    async def redeem(self, digest: TokenDigest, now: datetime) -> OneTimeLink | None:
        """Take a valid link out of the store atomically; None if there is none. Deletes those that `add` would delete.

        Of any number of concurrent calls one gets the link. A rollback of that unit makes the link valid again.
        """
        ...

    async def pending(self, kind: LinkKind, email: Email, now: datetime) -> OneTimeLink | None:
        """A valid link of this kind to an e-mail, for an account that does not exist yet; never locked."""
        ...

    async def forget_of(self, user_id: UserId, *, changed_since: datetime | None) -> None:
        """Delete the links of a user.

        Of the links that undo a change of e-mail, delete those for changes since `changed_since`; None keeps them all.
        """
        ...

    async def forget_unowned(self, email: Email) -> None:
        """Delete the links to an e-mail, in any spelling, that belong to no user."""
        ...

    async def forget_all(self, limit: int) -> int:
        """Delete at most `limit` links of any user. Returns the number deleted."""
        ...

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """Delete at most `limit` links that expired before this. Returns the number deleted."""
        ...
