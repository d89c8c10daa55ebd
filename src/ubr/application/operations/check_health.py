from __future__ import annotations

import msgspec

from ubr.application.ports.unit_of_work import Store


class CheckHealth(msgspec.Struct, frozen=True):
    """Check that everything a request needs is reachable.

    Errors: `StoreUnavailable`.
    """

    store: Store

    async def __call__(self) -> None:
        await self.store.ping()
