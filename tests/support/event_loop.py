"""The event loop of the tests."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakSet


class Loop(asyncio.SelectorEventLoop):
    """Ends the TLS connections that are being closed before it closes.

    A closed TLS connection stays open until the other side has confirmed it. A loop that closes in the meantime leaves
    a socket behind, and the warning about it fails a later test.
    """

    def __init__(self) -> None:
        super().__init__()
        self._upgraded: WeakSet[asyncio.Transport] = WeakSet()

    async def start_tls(self, *args: Any, **options: Any) -> asyncio.Transport | None:
        upgraded = await super().start_tls(*args, **options)
        if upgraded is not None:
            self._upgraded.add(upgraded)
        return upgraded

    def close(self) -> None:
        for transport in [each for each in self._upgraded if each.is_closing()]:
            transport.abort()
            self.run_until_complete(asyncio.sleep(0))
        super().close()
