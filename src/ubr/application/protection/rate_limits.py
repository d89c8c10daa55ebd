"""How often a client IP may do what anybody may, and what a caller is told of it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from ubr.application.kernel.origin import current_origin
from ubr.application.ports.protection import Decision, Quota, RateLimitStore
from ubr.domain.accounts.email import Email
from ubr.domain.errors import InvalidLink, RateLimited, StoreUnavailable
from ubr.domain.mail.kinds import MailKind

_SECOND: Final = timedelta(seconds=1)


_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_REGISTRATIONS: Final = Quota(limit=60, per=_HOUR)
_MAILS: Final = Quota(limit=30, per=_HOUR)
_MAILS_TO_ONE: Final = Quota(limit=5, per=_HOUR)
_BAD_REFRESHES: Final = Quota(limit=100, per=_MINUTE)
_BAD_LINKS: Final = Quota(limit=30, per=_MINUTE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What is limited. None is no limit. The first two are chosen; the others are as they are, or off."""

    account: Quota | None
    """Passwords that may be wrong for one account."""
    log_in: Quota | None
    """Passwords that may be wrong from one client IP."""
    registrations: Quota | None = _REGISTRATIONS
    mails: Quota | None = _MAILS
    """Mails that one client IP may ask for."""
    mails_to_one: Quota | None = _MAILS_TO_ONE
    """Mails that may be asked for to one e-mail."""
    bad_refreshes: Quota | None = _BAD_REFRESHES
    bad_links: Quota | None = _BAD_LINKS

    @classmethod
    def off(cls) -> Quotas:
        return cls(
            account=None,
            log_in=None,
            registrations=None,
            mails=None,
            mails_to_one=None,
            bad_refreshes=None,
            bad_links=None,
        )


# --- what a caller is told -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitStatus:
    """What is left of a client IP's quota: nothing that would tell a stranger about anybody else."""

    policy: str
    quota: Quota
    remaining: int
    retry_after: timedelta

    @property
    def seconds(self) -> int:
        """Until the next try where none remains, else until the quota is full again."""
        if not self.remaining:
            return whole_seconds(self.retry_after)
        return whole_seconds((self.quota.limit - self.remaining) * self.quota.per / self.quota.limit)


_told: ContextVar[dict[str, RateLimitStatus] | None] = ContextVar("ubr_allowances", default=None)


@contextmanager
def collecting_rate_limits() -> Iterator[dict[str, RateLimitStatus]]:
    """Gather, by policy, what was counted for the client IP of the calls within."""
    rate_limits: dict[str, RateLimitStatus] = {}
    token = _told.set(rate_limits)
    try:
        yield rate_limits
    finally:
        _told.reset(token)


def _tell(status: RateLimitStatus) -> None:
    if (told := _told.get()) is not None:
        told[status.policy] = status


def whole_seconds(span: timedelta) -> int:
    """Rounded up: who waits as long is not too early."""
    return math.ceil(span / _SECOND)


# --- the limits ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FallbackRateLimitStore:
    """Counts in one place, and where that is out of reach in the other: never nowhere.

    What was counted in one is unknown to the other. So a fault allows a client as much again, once, and a try that is
    given back where it was not taken leaves a full quota full.
    """

    first: RateLimitStore
    second: RateLimitStore

    async def take(self, name: str, quota: Quota) -> Decision:
        try:
            return await self.first.take(name, quota)
        except StoreUnavailable:
            return await self.second.take(name, quota)

    async def give_back(self, name: str, quota: Quota) -> None:
        try:
            await self.first.give_back(name, quota)
        except StoreUnavailable:
            await self.second.give_back(name, quota)

    async def forget(self, limit: int) -> int:
        return await self.first.forget(limit) + await self.second.forget(limit)


@dataclass(frozen=True, slots=True)
class RateLimiter:
    """Limits a client IP, and mails to one e-mail address. An IPv6 network of 64 bits is one client.

    A call without a client IP comes from the program itself, and is not limited by it. Errors of each: `RateLimited`;
    `StoreUnavailable` where nothing can be counted.
    """

    rate_limit_store: RateLimitStore
    quotas: Quotas

    async def registration(self) -> None:
        """Somebody is about to register."""
        await self._client("register-ip", self.quotas.registrations)

    async def mail(self, kind: MailKind, email: Email) -> None:
        """Somebody asks for a mail to an e-mail, whether there is such an account or not.

        Each kind counts by itself: whoever uses up one for somebody else has had them mailed just that.
        """
        await self._client("mail-ip", self.quotas.mails)
        quota = self.quotas.mails_to_one
        if quota is not None:
            _allow(await self.rate_limit_store.take(f"mail {kind} {email.key}", quota))

    async def may_mail(self, kind: MailKind, email: Email) -> bool:
        """The same, where it is only a mail more that goes with something else."""
        try:
            await self.mail(kind, email)
        except RateLimited:
            return False
        return True

    async def bad_refresh(self) -> None:
        """A refresh token was not valid."""
        await self._client("refresh-ip", self.quotas.bad_refreshes)

    @asynccontextmanager
    async def redeeming(self) -> AsyncIterator[None]:
        """A one-time link is redeemed within. It counts where it is not good."""
        try:
            yield
        except InvalidLink:
            await self._client("link-ip", self.quotas.bad_links)
            raise

    async def password(self) -> RateLimitStatus | None:
        """Somebody is about to try a password. What to give back if it is right; None where nothing was taken."""
        return await self._client("login-ip", self.quotas.log_in)

    async def give_back(self, status: RateLimitStatus | None) -> None:
        """A try was none that counts. What cannot be given back comes back with time."""
        network = current_origin().network
        if status is None or network is None:
            return
        with suppress(StoreUnavailable):
            await self.rate_limit_store.give_back(f"{status.policy} {network}", status.quota)
            remaining = min(status.remaining + 1, status.quota.limit)
            _tell(
                RateLimitStatus(policy=status.policy, quota=status.quota, remaining=remaining, retry_after=timedelta(0))
            )

    async def _client(self, policy: str, quota: Quota | None) -> RateLimitStatus | None:
        network = current_origin().network
        if quota is None or network is None:
            return None
        decision = await self.rate_limit_store.take(f"{policy} {network}", quota)
        status = RateLimitStatus(
            policy=policy, quota=quota, remaining=decision.remaining, retry_after=decision.retry_after
        )
        _tell(status)
        _allow(decision)
        return status


def _allow(decision: Decision) -> None:
    if not decision.allowed:
        raise RateLimited(whole_seconds(decision.retry_after))
