"""Rate limits for client IPs, and their status for the caller."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from contextvars import ContextVar, Token
from datetime import timedelta
from typing import Final

import msgspec

from ubr.application.kernel.origin import current_origin
from ubr.application.ports.metrics import NO_METRICS, Metrics
from ubr.application.ports.protection import Decision, Quota, RateLimitStore
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.user import User
from ubr.domain.errors import IdempotencyKeyReused, InvalidLink, RateLimited, StoreUnavailable
from ubr.domain.ids import MachineKeyId, SessionId, UserId
from ubr.domain.mail.kinds import MailKind

_SECOND: Final = timedelta(seconds=1)


class Quotas(msgspec.Struct, frozen=True, kw_only=True):
    """The quotas; None means no limit."""

    account: Quota | None
    """Wrong passwords for one account."""
    log_in: Quota | None
    """Wrong passwords from one client IP."""
    sessions: Quota | None
    """Logins to one account."""
    client_sessions: Quota | None
    """Logins from one client IP."""
    refreshes: Quota | None
    """Refreshes of one session."""
    own_changes: Quota | None
    """Changes that one user makes to their own account."""
    verifiers: Quota | None
    """Verifiers that one user registers."""
    registrations: Quota | None
    mails: Quota | None
    """Mails requested by one client IP."""
    mails_to_one: Quota | None
    """Mails requested to one e-mail; changes of e-mail requested by one account."""
    machine_logins: Quota | None
    """Logins of machines with one key."""
    bad_keys: Quota | None
    """Refused logins of machines from one client IP."""
    bad_refreshes: Quota | None
    bad_links: Quota | None

    @classmethod
    def off(cls) -> Quotas:
        return cls(
            account=None,
            log_in=None,
            sessions=None,
            client_sessions=None,
            refreshes=None,
            own_changes=None,
            verifiers=None,
            registrations=None,
            mails=None,
            mails_to_one=None,
            machine_logins=None,
            bad_keys=None,
            bad_refreshes=None,
            bad_links=None,
        )


# --- the status for the caller ---------------------------------------------------------------------------------------


class RateLimitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The remaining quota of a client IP. It reveals nothing about other clients."""

    policy: str
    quota: Quota
    remaining: int
    retry_after: timedelta

    @property
    def seconds(self) -> int:
        """Until the next attempt if none remains, else until the quota is full again."""
        if not self.remaining:
            return whole_seconds(self.retry_after)
        return whole_seconds((self.quota.limit - self.remaining) * self.quota.per / self.quota.limit)


_collected: ContextVar[dict[str, RateLimitStatus] | None] = ContextVar("ubr_rate_limits", default=None)


def collecting_rate_limits() -> AbstractContextManager[dict[str, RateLimitStatus]]:
    """Collect, by policy, the rate limit status of the client IP of the calls within."""
    return _Collecting()


class _Collecting:
    """Every request enters one: a generator would take twice as long."""

    __slots__ = ("_before",)

    _before: Token[dict[str, RateLimitStatus] | None]

    def __enter__(self) -> dict[str, RateLimitStatus]:
        rate_limits: dict[str, RateLimitStatus] = {}
        self._before = _collected.set(rate_limits)
        return rate_limits

    def __exit__(self, *_: object) -> None:
        _collected.reset(self._before)


def _collect(status: RateLimitStatus) -> None:
    """Add it to the answer of the request, if an entry point collects them."""
    if (collected := _collected.get()) is not None:
        collected[status.policy] = status


def whole_seconds(span: timedelta) -> int:
    """Rounded up, so that waiting this long is never too short."""
    return math.ceil(span / _SECOND)


# --- the limits ------------------------------------------------------------------------------------------------------


class FallbackRateLimitStore(msgspec.Struct, frozen=True):
    """Counts in the first store, or in the second if the first is unavailable; never in none.

    Neither store knows the counts of the other. So a fault allows a client its quota once more, and returning an
    attempt to a store that did not take it leaves a full quota full.
    """

    first: RateLimitStore
    second: RateLimitStore

    async def take(self, name: str, quota: Quota) -> Decision:
        try:
            return await self.first.take(name, quota)
        except StoreUnavailable:
            return await self.second.take(name, quota)

    async def look(self, name: str, quota: Quota) -> Decision:
        try:
            return await self.first.look(name, quota)
        except StoreUnavailable:
            return await self.second.look(name, quota)

    async def give_back(self, name: str, quota: Quota) -> None:
        try:
            await self.first.give_back(name, quota)
        except StoreUnavailable:
            await self.second.give_back(name, quota)

    async def forget(self, limit: int) -> int:
        return await self.first.forget(limit) + await self.second.forget(limit)


class RateLimiter(msgspec.Struct, frozen=True):
    """Limits client IPs, accounts, sessions, and mails to one e-mail address. An IPv6 network of 64 bits is one client.

    A call without a client IP comes from the embedding program, and has no client limit. Errors of each method:
    `RateLimited`; `StoreUnavailable` if neither store can count.
    """

    rate_limit_store: RateLimitStore
    quotas: Quotas
    metrics: Metrics = NO_METRICS

    async def registration(self) -> None:
        """Count a registration."""
        await self._client("register-ip", self.quotas.registrations)

    @asynccontextmanager
    async def replaying(self) -> AsyncIterator[None]:
        """Count a repeated registration within, if it differs from the one that it claims to repeat."""
        try:
            yield
        except IdempotencyKeyReused:
            await self.registration()
            raise

    async def mail(self, kind: MailKind, email: Email) -> None:
        """Count a request for a mail to an e-mail, with or without an account.

        Each kind has its own count: a stranger who exhausts it has only caused mails of that kind.
        """
        await self._client("mail-ip", self.quotas.mails)
        await self._count(_mails_to(kind, email), self.quotas.mails_to_one)

    async def admits_mail(self, kind: MailKind, email: Email) -> bool:
        """Like `mail`, but returns False beyond the limit of the e-mail.

        An error would reveal that others requested mails to it.

        Errors: `RateLimited` beyond the limit of the client.
        """
        await self._client("mail-ip", self.quotas.mails)
        try:
            await self._count(_mails_to(kind, email), self.quotas.mails_to_one)
        except RateLimited:
            return False
        return True

    async def may_mail(self, kind: MailKind, email: Email) -> bool:
        """Like `mail`, for an additional mail that accompanies another act: returns False beyond the limit."""
        try:
            await self.mail(kind, email)
        except RateLimited:
            return False
        return True

    async def email_change(self, user: User, new: Email) -> None:
        """Count a request to change a user's e-mail: by account, old e-mail and new e-mail.

        Otherwise one account could mail very many notices to its old e-mail, and links to very many new ones.
        """
        await self._client("mail-ip", self.quotas.mails)
        account = f"mail {MailKind.EMAIL_CHANGE} by {user.id}"
        old, to = _mails_to(MailKind.EMAIL_CHANGE_ASKED, user.email), _mails_to(MailKind.EMAIL_CHANGE, new)
        for name in (account, old, to):
            await self._count(name, self.quotas.mails_to_one)

    async def login(self, user: User) -> None:
        """Count a login with a right password, for the account and for the client.

        The count of an account starts again with a new password: a thief who had the old one used up the former count.

        Only a caller who knows the password learns of these counts. So a stranger can exhaust none of an account.
        """
        network = current_origin().network
        if network is not None:
            await self._count(f"session-ip {network}", self.quotas.client_sessions)
        await self._count(_logins_of(user), self.quotas.sessions)

    async def next_login(self, user: User) -> Decision | None:
        """The decision about the next login of an account, which is not counted; None if there is no limit."""
        quota = self.quotas.sessions
        return None if quota is None else await self.rate_limit_store.look(_logins_of(user), quota)

    async def refresh(self, session_id: SessionId) -> None:
        """Count a refresh of a session."""
        await self._count(f"refresh {session_id}", self.quotas.refreshes)

    async def own_change(self, user_id: UserId, *, confirmed: bool = False) -> None:
        """Count a change that a user makes to their own account.

        A change that is `confirmed` by the password has a count of its own: a stolen access token cannot use it up.
        """
        await self._count(f"own-change{'-confirmed' * confirmed} {user_id}", self.quotas.own_changes)

    async def verifier(self, user_id: UserId) -> None:
        """Count the registration of a verifier."""
        await self._count(f"verifier {user_id}", self.quotas.verifiers)

    async def machine_login(self, key_id: MachineKeyId) -> None:
        """Count a login with a key."""
        await self._count(f"machine-key {key_id}", self.quotas.machine_logins)

    async def bad_key(self) -> None:
        """Count a refused login of a machine.

        There is no limit per machine: 256 random bits cannot be guessed, and a stranger could lock the machine out.
        """
        await self._client("machine-ip", self.quotas.bad_keys)

    async def _count(self, name: str, quota: Quota | None) -> None:
        if quota is not None:
            decision = await self._take(name, quota)
            if not decision.allowed:
                raise RateLimited(whole_seconds(decision.retry_after))

    async def _take(self, name: str, quota: Quota) -> Decision:
        """Take an attempt. The first word of a counter's name is the name of its limit."""
        decision = await self.rate_limit_store.take(name, quota)
        if not decision.allowed:
            self.metrics.rate_limited(name.partition(" ")[0])
        return decision

    async def bad_refresh(self) -> None:
        """Count an invalid refresh token."""
        await self._client("refresh-ip", self.quotas.bad_refreshes)

    @asynccontextmanager
    async def redeeming(self) -> AsyncIterator[None]:
        """Count the redemption of a one-time link within, if the link is not valid."""
        try:
            yield
        except InvalidLink:
            await self._client("link-ip", self.quotas.bad_links)
            raise

    async def password_attempt(self) -> RateLimitStatus | None:
        """Count a password attempt.

        Returns the status to give back if the password is right; None if nothing was counted.
        """
        return await self._client("login-ip", self.quotas.log_in)

    async def give_back(self, status: RateLimitStatus | None) -> None:
        """Return an attempt that does not count. If that fails, it is refilled with time."""
        network = current_origin().network
        if status is None or network is None:
            return
        with suppress(StoreUnavailable):
            await self.rate_limit_store.give_back(f"{status.policy} {network}", status.quota)
            remaining = min(status.remaining + 1, status.quota.limit)
            _collect(
                RateLimitStatus(policy=status.policy, quota=status.quota, remaining=remaining, retry_after=timedelta(0))
            )

    async def _client(self, policy: str, quota: Quota | None) -> RateLimitStatus | None:
        network = current_origin().network
        if quota is None or network is None:
            return None
        decision = await self._take(f"{policy} {network}", quota)
        status = RateLimitStatus(
            policy=policy, quota=quota, remaining=decision.remaining, retry_after=decision.retry_after
        )
        _collect(status)
        if not decision.allowed:
            raise RateLimited(whole_seconds(decision.retry_after))
        return status


def _logins_of(user: User) -> str:
    """The name of the counter of an account's logins."""
    return f"session {user.id} {user.security_version}"


def _mails_to(kind: MailKind, email: Email) -> str:
    """The name of the counter of the mails of a kind to an e-mail."""
    return f"mail {kind} {email.key}"
