"""The locks of an account: its own, and those of single clients that are known to it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from ubr.application.kernel.origin import Origin
from ubr.application.ports.audit import LogFilter
from ubr.application.ports.protection import FailedAttempts
from ubr.application.ports.unit_of_work import Transaction
from ubr.application.protection.password_throttle import KNOWN_FOR, PasswordThrottle
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.user import User
from ubr.domain.events import LogInLocked

MAX_LOCKS: Final = 1000
"""The entries of the audit log in which the locks of known clients are searched, the newest."""


class AccountLock(msgspec.Struct, frozen=True, kw_only=True):
    """No password is checked before `until`.

    `ip` is None for the lock of the account, which applies to every client that is not known to it. A known client has
    a lock of its own, and `ip` is its client IP.
    """

    bucket: bytes
    until: datetime
    ip: str | None


class AccountLocks(msgspec.Struct, frozen=True):
    """Reads the locks that the password throttle has set. The store has the time of each, the audit log the client.

    The store keeps a known client only as an HMAC, from which its count cannot be found. The entry of a lock has its
    client IP, and was written in the transaction that set the lock.
    """

    passwords: PasswordThrottle

    async def failed(self, tx: Transaction, email: Email) -> FailedAttempts | None:
        """The wrong passwords that count against every client that is not known to the account.

        None if there is no current window, or no limit.
        """
        quota = self.passwords.rate_limiter.quotas.account
        return None if quota is None else await tx.password_attempts.failed(self.passwords.bucket(email), quota)

    async def of(self, tx: Transaction, email: Email, user: User | None) -> list[AccountLock]:
        """The locks in force: that of the account first. `user` is None if no account has the e-mail."""
        quota = self.passwords.rate_limiter.quotas.account
        if quota is None:
            return []
        networks: dict[str | None, str | None] = {None: None}
        if user is not None:
            networks |= await self._known(tx, user, tx.now - quota.per)
        found = []
        for network, ip in networks.items():
            bucket = self.passwords.bucket(email, network)
            failed = await tx.password_attempts.failed(bucket, quota)
            if failed is not None and failed.count >= quota.limit:
                found.append(AccountLock(bucket=bucket, until=failed.until, ip=ip))
        return found

    async def _known(self, tx: Transaction, user: User, since: datetime) -> dict[str | None, str | None]:
        """The networks of known clients that may have a lock, each with its client IP."""
        which = LogFilter(action=LogInLocked.action, target_id=str(user.id), since=since)
        found: dict[str | None, str | None] = {}
        for entry in await tx.logs.page(which, None, MAX_LOCKS):
            network = Origin(ip=entry.known_ip).network
            if network is None or network in found:
                continue
            absence = await tx.known_clients.absence(user.email, self.passwords.client(network))
            if absence is not None and absence <= KNOWN_FOR:
                found[network] = entry.known_ip
        return found
