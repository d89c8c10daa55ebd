"""The signing keys as a worker knows them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from ubr.application.access.session_cache import SessionCache, shared
from ubr.application.kernel.periodic import repeat
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.revocation import Elapsed
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.errors import StoreUnavailable

_log: Final = logging.getLogger("ubr.keys")


class KeyRing:
    """Keeps the installed keys as new as the view: read from the store again when the feed says that one changed.

    Nothing is read for a request while nothing changes.
    """

    def __init__(
        self, session_cache: SessionCache, unit_of_work: UnitOfWork, access_tokens: AccessTokens, elapsed: Elapsed
    ) -> None:
        self._view = session_cache
        self._unit_of_work = unit_of_work
        self._access_tokens = access_tokens
        self._elapsed = elapsed
        self._heard = 0
        """How often a key has changed, or may have."""
        self._read = -1
        """How often it had when the reading began whose keys are installed."""
        self._read_at = float("-inf")
        self._begun = 0
        self._done = 0
        self._reading: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._asked = float("-inf")
        session_cache.on_key(self._hear)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Read what changed soon after it was heard of, for as long as the context lasts.

        Without it everything is right all the same: who needs the keys waits until they are read.
        """
        task = asyncio.create_task(repeat(self.current, self._view.times.poll))
        try:
            yield
        finally:
            task.cancel()
            # A reading that is under way is shared, so it was not cancelled with those who wait for it.
            running = [each for each in (self._reading, self._asking) if each is not None]
            await asyncio.gather(task, *running, return_exceptions=True)

    async def current(self) -> None:
        """Return when the installed keys are as new as a fresh view.

        Errors: `StoreUnavailable` where they cannot be known in time.
        """
        await self._view.ensure_fresh()
        heard = self._heard
        if self._read < heard:
            await self._until(lambda: self._read >= heard)

    async def recent(self) -> None:
        """The same, for who shows the keys to others: they were also read no longer ago than the feed is.

        Errors: `StoreUnavailable` where they cannot be known in time.
        """
        await self.current()
        oldest = self._elapsed() - self._view.times.poll
        await self._until(lambda: self._read_at >= oldest)

    def read_within(self, span: timedelta) -> bool:
        """Whether the reading of the installed keys began no longer ago than this."""
        return self._elapsed() - self._read_at <= span.total_seconds()

    async def ask(self) -> None:
        """Read the keys because of a token whose key nobody here has heard of.

        It may have been made a moment ago. Anybody can make such a token up, so this is done no more often than the
        feed is read; whoever comes too early waits for the next time, together with all others.
        Errors: `StoreUnavailable`; `WrongEventLoop`.
        """
        self._view.home.check()
        if self._asking is None or self._asking.done():
            self._asking = shared(self._ask())
        await asyncio.shield(self._asking)

    async def read(self, tx: Transaction) -> tuple[str, ...]:
        """Install the keys as somebody's unit of work reads them; the `kid` of those that are locked.

        That unit may be older than what is known here, so they are read again before they are next relied on.
        """
        locked = await self._install(tx)
        self._hear()
        return locked

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _install(self, tx: Transaction) -> tuple[str, ...]:
        return self._access_tokens.install(await tx.signing_keys.all(), tx.now)

    def _hear(self) -> None:
        self._heard += 1

    async def _ask(self) -> None:
        pause = self._asked + self._view.times.poll - self._elapsed()
        if pause > 0:
            await asyncio.sleep(pause)
        # Whoever comes from here on may have a key that this reading misses, and needs another one.
        self._asking = None
        self._asked, begun = self._elapsed(), self._begun
        await self._until(lambda: self._done > begun)

    async def _until(self, satisfied: Callable[[], bool]) -> None:
        """Read the keys until it is so. One reading at a time, shared by all who wait."""
        try:
            async with asyncio.timeout(self._view.times.patience):
                while not satisfied():
                    if self._reading is None or self._reading.done():
                        self._reading = shared(self._read_keys())
                    await asyncio.shield(self._reading)
        except TimeoutError:
            raise StoreUnavailable from None

    async def _read_keys(self) -> None:
        self._begun += 1
        number, heard, began = self._begun, self._heard, self._elapsed()
        async with self._unit_of_work.read() as tx:
            locked = await self._install(tx)
        self._done, self._read, self._read_at = number, heard, began
        if locked:
            _log.error("UBR_SECRET_KEY does not open a signing key that was made meanwhile: %s", ", ".join(locked))
