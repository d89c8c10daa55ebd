"""Removes what has no more use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ubr.application.actor import SYSTEM
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.policy import RETRY_WINDOW

_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Janitor:
    """One round of cleaning, in small units so that nobody waits for it.

    - Sealed successors of refresh tokens are erased once their retry window is over.
    - Sessions are deleted once their absolute end has passed: until then every older refresh token is recognised.
    """

    unit_of_work: UnitOfWork

    async def __call__(self) -> int:
        """The number of sessions deleted."""
        deleted = 0
        while True:
            async with self.unit_of_work.begin(SYSTEM) as tx:
                await tx.refresh_tokens.forget_successors(tx.now - RETRY_WINDOW)
                batch = await tx.sessions.forget(tx.now, _BATCH)
                await tx.commit()
            deleted += batch
            if batch < _BATCH:
                return deleted
