"""What is stored. Inside a unit of work; what one reads in a writing unit is locked until it ends."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar
from uuid import UUID

from ubr.application.ports.counters import Quota
from ubr.domain.audit import LogEntry
from ubr.domain.events import Level
from ubr.domain.role import Role
from ubr.domain.session import RefreshToken, Session
from ubr.domain.signing_key import SigningKey
from ubr.domain.user import User, UserStatus
from ubr.domain.values import Email, LogEntryId, Prefix, RoleId, RoleName, SessionId, TokenDigest, UserId

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class After(Generic[Key]):
    """Where a page begins: just behind the thing with this sort key and id."""

    key: Key
    id: UUID


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


class Roles(Protocol):
    async def get(self, role_id: RoleId) -> Role | None:
        """The role; None where there is none."""
        ...

    async def by_name(self, name: RoleName) -> Role | None:
        """The role of this name; None where there is none."""
        ...

    async def many(self, role_ids: Collection[RoleId]) -> list[Role]:
        """Those of the roles that exist, by name; never locked."""
        ...

    async def page(self, after: After[datetime] | None, limit: int) -> list[Role]:
        """At most `limit` roles behind `after`, oldest first; never locked."""
        ...

    async def add(self, role: Role) -> None:
        """Store a new role. Errors: `RoleNameTaken`."""
        ...

    async def save(self, role: Role) -> None:
        """Store the new state of a role that was read here. Errors: `RoleNameTaken`."""
        ...

    async def remove(self, role: Role) -> None:
        """Delete a role and every grant of it. A second time does nothing."""
        ...


class Sessions(Protocol):
    async def get(self, session_id: SessionId) -> Session | None:
        """The session, ended or not; None where there is none."""
        ...

    async def live_of(self, user_id: UserId, now: datetime) -> list[Session]:
        """All sessions of a user that have not ended, oldest first."""
        ...

    async def page(self, user_id: UserId, now: datetime, after: After[datetime] | None, limit: int) -> list[Session]:
        """At most `limit` of a user's sessions that have not ended, newest first, behind `after`; never locked."""
        ...

    async def add(self, session: Session) -> None:
        """Store a new session."""
        ...

    async def save(self, session: Session) -> None:
        """Store the new state of a session that was read here."""
        ...

    async def end_any(self, now: datetime, limit: int) -> int:
        """End at most `limit` sessions that have not ended, whosever they are. The number ended.

        Nothing is recorded and nothing announced: that is for whoever ends them all.
        """
        ...

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """Delete at most `limit` sessions whose absolute end lies before this, with their refresh tokens.

        The number deleted. Nothing is recorded: they had ended by themselves.
        """
        ...


class RefreshTokens(Protocol):
    async def add(self, token: RefreshToken) -> None:
        """Store a token that is good."""
        ...

    async def spend(self, digest: TokenDigest, *, successor: bytes, now: datetime) -> SessionId | None:
        """Spend a token that is good, in one step, and keep its sealed successor with it.

        Its session, where this call spent it; None where there is no such token or it was spent before. However many
        try at once, one gets the session.
        """
        ...

    async def get(self, digest: TokenDigest) -> RefreshToken | None:
        """The token, spent or not, of any generation; None where there is none."""
        ...

    async def forget(self, expired_before: datetime, limit: int) -> int:
        """Delete at most `limit` tokens of sessions whose absolute end lies before this. The number deleted."""
        ...

    async def forget_successors(self, spent_before: datetime, limit: int) -> int:
        """Erase the sealed successors of at most `limit` tokens spent before this. The number erased."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which entries. All conditions must hold; `since` is the first moment counted, `until` the first not counted."""

    level: Level | None = None
    action: str | None = None
    actor_id: UserId | None = None
    target_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Logs(Protocol):
    async def page(self, which: LogFilter, after: After[datetime] | None, limit: int) -> list[LogEntry]:
        """At most `limit` entries behind `after`, newest first. Entries are written by committing a unit."""
        ...

    async def get(self, entry_id: LogEntryId) -> LogEntry | None:
        """The entry; None where there is none, or its content is gone."""
        ...


class SigningKeys(Protocol):
    async def all(self) -> Sequence[SigningKey]:
        """Every key, newest first; never locked."""
        ...

    async def all_to_change(self) -> Sequence[SigningKey]:
        """The same for who will add or change some of them.

        From this question on, until the unit ends, no other unit gets an answer to it: of two who rotate at the same
        moment one sees what the other did.
        """
        ...

    async def add(self, key: SigningKey) -> None:
        """Store a new key."""
        ...

    async def save(self, key: SigningKey) -> None:
        """Store the new state of a key that was read here."""
        ...


@dataclass(frozen=True, slots=True)
class Slot:
    """One of the tries that an account has in a window, taken. The window is known by the moment it began."""

    bucket: bytes
    began_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSlot:
    """None is free before `until`, unless one is given back; where all of them failed, none will be.

    `passed` grows whenever one is given back because its password was right.
    """

    until: datetime
    all_failed: bool
    passed: int


class PasswordTries(Protocol):
    """Tries of a password, counted in windows that begin with the first slot taken. A bucket is an HMAC of its name."""

    async def take(self, bucket: bytes, quota: Quota, now: datetime) -> Slot | NoSlot:
        """Take a slot, in one step: of any number of takers at once exactly as many get one as the quota has."""
        ...

    async def give_back(self, slot: Slot, *, passed: bool) -> None:
        """Return the slot of a try that passed, or that came to no end.

        Of a window that is over nothing is returned to the next one.
        """
        ...

    async def fail(self, slot: Slot) -> None:
        """Say that a slot is not going to be given back."""
        ...

    async def forget(self, began_before: datetime, limit: int) -> int:
        """Delete at most `limit` windows that began before this. The number deleted."""
        ...


class KnownClients(Protocol):
    """From where people signed in. A client is an HMAC of its network. All of a user's go with the user."""

    async def seen_at(self, email: Email, client: bytes) -> datetime | None:
        """When this client last signed in to the account of this e-mail; None where it did not, or there is none."""
        ...

    async def see(self, user_id: UserId, client: bytes, now: datetime) -> None:
        """It signs in now. Errors: `UserNotFound`."""
        ...

    async def forget(self, seen_before: datetime, limit: int) -> int:
        """Delete at most `limit` of those last seen before this. The number deleted."""
        ...
