"""Removal of expired data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from ubr.application.ports.protection import RateLimitStore
from ubr.application.ports.revocation import ChangeFeed
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.application.protection.password_throttle import KNOWN_FOR
from ubr.application.protection.rate_limits import Quotas
from ubr.domain.actor import SYSTEM
from ubr.domain.sessions.session import RETRY_WINDOW

FEED_LASTS: Final = timedelta(hours=24)
"""How long a change record is kept: much longer than anything that depends on it."""

QUEUED_MAILS_KEPT: Final = timedelta(days=7)
"""How long an undeliverable mail is kept, for inspection by an operator."""

ENDED_GRANTS_LAST: Final = timedelta(days=30)
"""How long an ended grant is kept. No API shows it: it is for inspection of the rows themselves."""

_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Janitor:
    """One round of cleaning, in small units so that nothing waits for it.

    - Sealed successors of refresh tokens are erased once their retry window is over.
    - Sessions are deleted after their absolute end: until then, every older refresh token is recognised. Their tokens
      are deleted first, since one session can have very many.
    - Links are deleted once they have expired, undeliverable mails after a week, and reservations of e-mails and
      former names of roles once they have ended.
    - Grants are deleted a month after their end. They have had no effect since, so nothing changes with them.
    - Change records are deleted after a day.
    - Results stored for idempotency keys are deleted once they have expired.
    - Password attempts are deleted with their window, known clients after 30 days, and counters once they are full
      again.
    """

    unit_of_work: UnitOfWork
    feed: ChangeFeed
    rate_limit_store: RateLimitStore
    quotas: Quotas

    async def __call__(self) -> int:
        """The number of sessions deleted."""
        await self._each(lambda tx: tx.refresh_tokens.forget_successors(tx.now - RETRY_WINDOW, _BATCH))
        await self._each(lambda tx: tx.refresh_tokens.forget(tx.now, _BATCH))
        await self._each(lambda tx: tx.links.forget(tx.now, _BATCH))
        await self._each(lambda tx: tx.outbox.forget(tx.now - QUEUED_MAILS_KEPT, _BATCH))
        await self._each(lambda tx: tx.users.forget_reservations(tx.now, _BATCH))
        await self._each(lambda tx: tx.roles.forget_names(tx.now, _BATCH))
        deleted = await self._each(lambda tx: tx.sessions.forget(tx.now, _BATCH))
        await self._each(lambda tx: tx.idempotency.forget(tx.now, _BATCH))
        await self._each(lambda tx: tx.users.forget_grants(tx.now - ENDED_GRANTS_LAST, _BATCH))
        while await self.feed.forget(FEED_LASTS, _BATCH) == _BATCH:
            pass
        window = self.quotas.account.per if self.quotas.account is not None else timedelta(0)
        await self._each(lambda tx: tx.password_attempts.forget(tx.now - window, _BATCH))
        await self._each(lambda tx: tx.known_clients.forget(tx.now - KNOWN_FOR, _BATCH))
        while await self.rate_limit_store.forget(_BATCH) >= _BATCH:
            pass
        return deleted

    async def _each(self, forget: Callable[[Transaction], Awaitable[int]]) -> int:
        """Run one unit for each batch, until a batch is not full."""
        total = 0
        while True:
            async with self.unit_of_work.begin(SYSTEM) as tx:
                count = await forget(tx)
                await tx.commit()
            total += count
            if count < _BATCH:
                return total
