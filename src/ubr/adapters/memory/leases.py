"""Leases, on a draft of the table."""

from __future__ import annotations

from datetime import datetime, timedelta

from ubr.adapters.memory.store import Drafts
from ubr.application.ports.revocation import WorkerId


class MemoryLeases:
    def __init__(self, drafts: Drafts, now: datetime) -> None:
        self._now = now
        self._leases = drafts.leases

    async def holder(self, name: str, lasts: timedelta) -> WorkerId | None:
        lease = self._leases.get(name)
        return lease[0] if lease is not None and self._now < lease[1] <= self._now + 2 * lasts else None

    async def take(self, name: str, holder: WorkerId, lasts: timedelta) -> bool:
        if await self.holder(name, lasts) not in {None, holder}:
            return False
        self._leases.put(name, (holder, self._now + lasts))
        return True

    async def give_back(self, name: str, holder: WorkerId) -> None:
        lease = self._leases.get(name)
        if lease is not None and lease[0] == holder:
            self._leases.drop(name)
