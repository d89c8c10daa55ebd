"""The installed signing keys of a worker."""

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
    """Keeps the installed keys as new as the session cache: reads them again when the feed reports a change.

    While no key changes, requests read nothing.
    """

    def __init__(
        self, session_cache: SessionCache, unit_of_work: UnitOfWork, access_tokens: AccessTokens, elapsed: Elapsed
    ) -> None:
        self._session_cache = session_cache
        self._unit_of_work = unit_of_work
        self._access_tokens = access_tokens
        self._elapsed = elapsed
        self.generation = 0
        """Number of times that the keys were read. While it stays the same, so do the installed keys."""
        self._heard = 0
        """Number of times that a key has changed, or may have."""
        self._read_heard = -1
        """The value of `_heard` when the read of the installed keys began."""
        self._read_at = float("-inf")
        self._begun = 0
        self._done = 0
        self._running_read: asyncio.Task[None] | None = None
        self._running_ask: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")
        session_cache.on_key(self._hear)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Read changed keys soon after the report, until the context ends.

        Only speed depends on it: otherwise, the next call that needs the keys waits until they are read.
        """
        task = asyncio.create_task(repeat(self.ensure_current, self._session_cache.times.poll))
        try:
            yield
        finally:
            task.cancel()
            # A running read is shared, so it was not cancelled with its waiters.
            running = [each for each in (self._running_read, self._running_ask) if each is not None]
            await asyncio.gather(task, *running, return_exceptions=True)

    async def ensure_current(self) -> None:
        """Return when the installed keys are as new as a fresh session cache.

        Errors: `StoreUnavailable` if they cannot be read in time.
        """
        await self._session_cache.ensure_fresh()
        heard = self._heard
        if self._read_heard < heard:
            await self._until(lambda: self._read_heard >= heard)

    async def ensure_recent(self) -> None:
        """Like `ensure_current`, for publishing the keys: they were also read no longer ago than one poll interval.

        Errors: `StoreUnavailable` if they cannot be read in time.
        """
        await self.ensure_current()
        oldest = self._elapsed() - self._session_cache.times.poll
        await self._until(lambda: self._read_at >= oldest)

    def read_within(self, span: timedelta) -> bool:
        """True if the read of the installed keys began no longer ago than this."""
        return self._elapsed() - self._read_at <= span.total_seconds()

    async def ask(self) -> None:
        """Read the keys because of a token with an unknown key.

        The key may be new. Anyone can send a token with an unknown key, so the keys are read at most once per poll
        interval; earlier callers wait together for the next read.
        Errors: `StoreUnavailable`; `WrongEventLoop`.
        """
        self._session_cache.home.check()
        if self._running_ask is None or self._running_ask.done():
            self._running_ask = shared(self._ask())
        await asyncio.shield(self._running_ask)

    async def read(self, tx: Transaction) -> tuple[str, ...]:
        """Install the keys as read in the caller's unit of work. Returns the `kid` of the locked ones.

        That unit may be older than the state known here, so the keys are read again before their next use.
        """
        locked = await self._install(tx)
        self._hear()
        return locked

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _install(self, tx: Transaction) -> tuple[str, ...]:
        keys = await tx.signing_keys.all()
        self.generation += 1
        return self._access_tokens.install(keys, tx.now)

    def _hear(self) -> None:
        self._heard += 1

    async def _ask(self) -> None:
        pause = self._asked_at + self._session_cache.times.poll - self._elapsed()
        if pause > 0:
            await asyncio.sleep(pause)
        # Later callers may have a key that this read misses, and need another read.
        self._running_ask = None
        self._asked_at, begun = self._elapsed(), self._begun
        await self._until(lambda: self._done > begun)

    async def _until(self, satisfied: Callable[[], bool]) -> None:
        """Read the keys until the condition holds. One read runs at a time, shared by all waiters."""
        try:
            async with asyncio.timeout(self._session_cache.times.patience):
                while not satisfied():
                    if self._running_read is None or self._running_read.done():
                        self._running_read = shared(self._read_again())
                    await asyncio.shield(self._running_read)
        except TimeoutError:
            raise StoreUnavailable("The signing keys were not read in time") from None

    async def _read_again(self) -> None:
        self._begun += 1
        number, heard, began = self._begun, self._heard, self._elapsed()
        async with self._unit_of_work.read() as tx:
            locked = await self._install(tx)
        self._done, self._read_heard, self._read_at = number, heard, began
        if locked:
            _log.error("UBR_SECRET_KEY does not decrypt a newly created signing key: %s", ", ".join(locked))
