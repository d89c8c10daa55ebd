from __future__ import annotations

from dataclasses import dataclass

from ubr.application.ports.unit_of_work import Store


@dataclass(frozen=True, slots=True)
class CheckHealth:
    """Check that everything a request needs is reachable.

    Errors: `StoreUnavailable`.
    """

    store: Store

    async def __call__(self) -> None:
        await self.store.ping()
