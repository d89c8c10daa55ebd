"""Leases: roles that one process at a time has."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ubr.application.ports.revocation import WorkerId


class Leases(Protocol):
    """Each has a name, a holder, and an end by the clock of the store. After its end it is free.

    An end further ahead than twice `lasts` dates from before the clock was set back, and is over.
    """

    async def holder(self, name: str, lasts: timedelta) -> WorkerId | None:
        """The holder; None if the lease is free. Never locked."""
        ...

    async def take(self, name: str, holder: WorkerId, lasts: timedelta) -> bool:
        """Take a free lease, or extend one's own. True if it is the holder's for this long from now."""
        ...

    async def give_back(self, name: str, holder: WorkerId) -> None:
        """End a lease of this holder. Does nothing to the lease of another one."""
        ...
