"""Counters of attempts, shared by all workers."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from ubr.domain.accounts.email import Email
    from ubr.domain.ids import UserId


class Reservation(msgspec.Struct, frozen=True):
    """A reserved attempt: one of those that an account has in a window. `began_at` identifies the window."""

    bucket: bytes
    began_at: datetime


class Exhausted(msgspec.Struct, frozen=True, kw_only=True):
    """No attempt is free for this long, unless a reservation is returned; `all_failed` means that none will be.

    `passed` increases with every reservation that is returned because its password was right.
    """

    wait: timedelta
    all_failed: bool
    passed: int


class FailedAttempts(msgspec.Struct, frozen=True, kw_only=True):
    """The number of failures in a window, and its end."""

    count: int
    until: datetime


class PasswordAttempts(Protocol):
    """Password attempts, counted in windows that begin with the first reservation. A bucket is an HMAC of its name."""

    async def take(self, bucket: bytes, quota: Quota) -> Reservation | Exhausted:
        """Reserve an attempt atomically: of any number of concurrent callers, exactly as many as the quota allows get
        one.
        """
        ...

    async def give_back(self, reservation: Reservation, *, passed: bool) -> None:
        """Return the reservation of an attempt that passed, or that was not completed.

        A reservation of a past window is not credited to the next one.
        """
        ...

    async def fail(self, reservation: Reservation) -> int:
        """Record that a reservation will not be returned.

        Returns the number of failures in its window; 0 if nothing was recorded, because the window is over.
        """
        ...

    async def failed(self, bucket: bytes, quota: Quota) -> FailedAttempts | None:
        """The failures in the current window, which this call does not change; None if there is no current window."""
        ...

    async def clear(self, buckets: Collection[bytes]) -> None:
        """Delete the windows of these buckets. Attempts that are under way return nothing to the next window."""
        ...

    async def forget(self, began_before: datetime, limit: int) -> int:
        """Delete at most `limit` windows that began before this. Returns the number deleted."""
        ...


class KnownClients(Protocol):
    """The clients that users logged in from. A client is an HMAC of its network. All are deleted with their user."""

    async def absence(self, email: Email, client: bytes) -> timedelta | None:
        """The time since the client's last login to the account of this e-mail, by the clock of the store.

        None if it never logged in, or there is no account.
        """
        ...

    async def see(self, user_id: UserId, client: bytes, now: datetime) -> None:
        """Record a login of this client now. Errors: `UserNotFound`."""
        ...

    async def forget_of(self, user_id: UserId) -> None:
        """Delete the clients of a user."""
        ...

    async def forget(self, seen_before: datetime, limit: int) -> int:
        """Delete at most `limit` clients last seen before this. Returns the number deleted."""
        ...


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts per span of time, refilled evenly: after a full burst, one more is allowed every `per / limit`."""

    limit: int
    per: timedelta


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """`allowed` for this attempt, attempts `remaining` after it, `retry_after` until the next (0 if one remains)."""

    allowed: bool
    remaining: int
    retry_after: timedelta


class RateLimitStore(Protocol):
    async def take(self, name: str, quota: Quota) -> Decision:
        """Take one attempt from the named counter atomically: of any number of concurrent callers, exactly as many as
        the quota allows succeed. A rejected attempt takes nothing. Names never collide.

        Errors: `StoreUnavailable` if the count is unknown. The caller then counts elsewhere, and never admits everyone.
        """
        ...

    async def look(self, name: str, quota: Quota) -> Decision:
        """The decision about the next attempt, which this call does not take. `remaining` counts that attempt too.

        Errors: those of `take`.
        """
        ...

    async def give_back(self, name: str, quota: Quota) -> None:
        """Return an attempt that turned out not to count.

        Returning one that was never taken leaves a full quota full.
        """
        ...

    async def forget(self, limit: int) -> int:
        """Delete at most `limit` records of full quotas, if the store does not expire them.

        Returns the number deleted.
        """
        ...
