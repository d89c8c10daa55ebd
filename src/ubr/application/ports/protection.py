"""Counting tries, one count for all workers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from ubr.domain.accounts.email import Email
from ubr.domain.ids import UserId


@dataclass(frozen=True, slots=True)
class Reservation:
    """One of the tries that an account has in a window, taken. The window is known by the moment it began."""

    bucket: bytes
    began_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """None is free before `until`, unless one is given back; where all of them failed, none will be.

    `passed` grows whenever one is given back because its password was right.
    """

    until: datetime
    all_failed: bool
    passed: int


class PasswordAttempts(Protocol):
    """Tries of a password, counted in windows that begin with the first slot taken. A bucket is an HMAC of its name."""

    async def take(self, bucket: bytes, quota: Quota, now: datetime) -> Reservation | Exhausted:
        """Take a slot, in one step: of any number of takers at once exactly as many get one as the quota has."""
        ...

    async def give_back(self, reservation: Reservation, *, passed: bool) -> None:
        """Return the slot of a try that passed, or that came to no end.

        Of a window that is over nothing is returned to the next one.
        """
        ...

    async def fail(self, reservation: Reservation) -> None:
        """Say that a slot is not going to be given back."""
        ...

    async def forget(self, began_before: datetime, limit: int) -> int:
        """Delete at most `limit` windows that began before this. The number deleted."""
        ...


class KnownClients(Protocol):
    """From where people logged in. A client is an HMAC of its network. All of a user's go with the user."""

    async def seen_at(self, email: Email, client: bytes) -> datetime | None:
        """When this client last logged in to the account of this e-mail; None where it did not, or there is none."""
        ...

    async def see(self, user_id: UserId, client: bytes, now: datetime) -> None:
        """It logs in now. Errors: `UserNotFound`."""
        ...

    async def forget(self, seen_before: datetime, limit: int) -> int:
        """Delete at most `limit` of those last seen before this. The number deleted."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """So many tries in a span of time, refilled evenly: after a full burst one more is allowed every `per / limit`."""

    limit: int
    per: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a try is allowed, how many more would be, and in how long the next one is (0 where one is at once)."""

    allowed: bool
    remaining: int
    retry_after: timedelta


class RateLimitStore(Protocol):
    async def take(self, name: str, quota: Quota) -> Decision:
        """Take one try of what is counted under this name, in one step: of any number of takers at once exactly as
        many are allowed as the quota has. A refused try takes nothing. Names never run into one another.

        Errors: `StoreUnavailable`: it is not known. The caller counts elsewhere then, and never lets everyone in.
        """
        ...

    async def give_back(self, name: str, quota: Quota) -> None:
        """Return a try that turned out not to count. One that was never taken leaves a full quota full."""
        ...

    async def forget(self, limit: int) -> int:
        """Delete at most `limit` of what is kept of full quotas, where it does not go by itself. The number deleted."""
        ...
