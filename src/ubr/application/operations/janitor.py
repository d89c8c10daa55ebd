"""Removal of expired data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from ubr.application.kernel.operator_policy import OperatorPolicy
from ubr.application.kernel.periodic import Watched
from ubr.application.kernel.resting import resting
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

ENDED_KEYS_LAST: Final = timedelta(days=30)
"""How long a key of a machine is listed after its end."""

ENDED_GRANTS_LAST: Final = timedelta(days=30)
"""How long an ended grant is kept. No API shows it: it is for inspection of the rows themselves."""

_BATCH: Final = 100
"""Rows of one unit, some ten milliseconds of work: what other units wait for, on a processor or a disk."""

Batch: TypeAlias = Callable[[Transaction], Awaitable[int]]
"""Deletes at most `_BATCH` rows and returns their number."""


@dataclass(frozen=True, slots=True)
class Janitor:
    """One round of cleaning, in small units so that nothing waits for it. After each it rests as long as it took.

    - Spent refresh tokens are deleted once their retry window is over. They name their session, so a copy is still
      recognised. Tokens of earlier versions name none: only their encrypted successors are erased.
    - Sessions are deleted after their absolute end, with their tokens.
    - Links are deleted once they have expired, undeliverable mails after a week, and reservations of e-mails and
      former names of roles once they have ended.
    - Grants are deleted a month after their end. They have had no effect since, so nothing changes with them.
    - Keys of machines are deleted a month after their end.
    - Roles that were removed from very many holders are deleted with their grants, which have no effect any more.
    - Change records are deleted after a day.
    - Results stored for idempotency keys are deleted once they have expired.
    - Password attempts are deleted with their window, known clients after 30 days, and counters once they are full
      again.
    - A step that fails stops no other step. The log names a step that fails again and again.
    """

    unit_of_work: UnitOfWork
    feed: ChangeFeed
    rate_limit_store: RateLimitStore
    quotas: Quotas
    policy: OperatorPolicy
    _watched: dict[str, Watched] = field(default_factory=dict, init=False, repr=False)

    async def __call__(self) -> int:
        """The number of sessions deleted."""
        deleted = 0

        async def sessions() -> None:
            nonlocal deleted
            reached, more = None, True
            while more:
                async with resting():
                    count, more, reached = await self._forget_sessions(reached)
                deleted += count

        # A token yields its last successor for a while, which may have been made at the end of the longer window.
        kept = self.policy.refresh_retry_window + RETRY_WINDOW
        window = self.quotas.account.per if self.quotas.account is not None else timedelta(0)
        await self._each(
            "successors of refresh tokens",
            lambda tx: tx.refresh_tokens.forget_successors(tx.now - kept, _BATCH),
        )
        await self._step("expired sessions", sessions)
        await self._each("expired links", lambda tx: tx.links.forget(tx.now, _BATCH))
        await self._each("undeliverable mails", lambda tx: tx.outbox.forget(tx.now - QUEUED_MAILS_KEPT, _BATCH))
        await self._each("reserved e-mails", lambda tx: tx.users.forget_reservations(tx.now, _BATCH))
        await self._each("former names of roles", lambda tx: tx.roles.forget_names(tx.now, _BATCH))
        await self._each("results of idempotency keys", lambda tx: tx.idempotency.forget(tx.now, _BATCH))
        await self._each("ended grants", lambda tx: tx.users.forget_grants(tx.now - ENDED_GRANTS_LAST, _BATCH))
        await self._each("ended keys of machines", lambda tx: tx.machine_keys.forget(tx.now - ENDED_KEYS_LAST, _BATCH))
        await self._step("grants of removed roles", self._forget_grants)
        await self._step("change records", lambda: _until_none_left(lambda: self.feed.forget(FEED_LASTS, _BATCH)))
        await self._each("password attempts", lambda tx: tx.password_attempts.forget(tx.now - window, _BATCH))
        await self._each("known clients", lambda tx: tx.known_clients.forget(tx.now - KNOWN_FOR, _BATCH))
        await self._step("counters", lambda: _until_none_left(lambda: self.rate_limit_store.forget(_BATCH)))
        return deleted

    async def _forget_sessions(self, reached: datetime | None) -> tuple[int, bool, datetime | None]:
        async with self.unit_of_work.begin(SYSTEM) as tx:
            batch = await tx.sessions.forget(tx.now, _BATCH, reached=reached)
            await tx.commit()
        return batch.sessions, batch.more, batch.reached

    async def _forget_grants(self) -> None:
        reached, more = None, True
        while more:
            async with resting(), self.unit_of_work.begin(SYSTEM) as tx:
                batch = await tx.roles.forget_removed(_BATCH, reached=reached)
                await tx.commit()
            more, reached = batch.more, batch.reached

    async def _each(self, name: str, forget: Batch) -> None:
        """A step that runs one unit for each batch."""

        async def unit() -> int:
            async with self.unit_of_work.begin(SYSTEM) as tx:
                count = await forget(tx)
                await tx.commit()
            return count

        await self._step(name, lambda: _until_none_left(unit))

    async def _step(self, name: str, act: Callable[[], Awaitable[None]]) -> None:
        watched = self._watched.setdefault(name, Watched(f"Janitor, {name}"))
        await watched(act)


async def _until_none_left(forget: Callable[[], Awaitable[int]]) -> None:
    """Delete batch after batch, until one is not full."""
    count = _BATCH
    while count >= _BATCH:
        async with resting():
            count = await forget()
