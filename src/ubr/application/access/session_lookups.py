"""Look-ups of sessions in the store: the calls that wait at the same time share a query."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final, TypeAlias

import msgspec

from ubr.application.ports.revocation import Elapsed, FeedPosition
from ubr.application.ports.sessions import Principal
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.ids import SessionId

_LARGEST: Final = 200
"""Maximum number of sessions in one query."""

_AT_ONCE: Final = 2
"""Number of queries that run at the same time. More of them would be smaller, and cost more together."""


class Lookup(msgspec.Struct, frozen=True):
    """The stored principal of a session, or None. The feed was at a position from `position` to `until` at the read."""

    session_id: SessionId
    principal: Principal | None
    position: FeedPosition
    until: FeedPosition
    read_at: float


_Waiting: TypeAlias = "asyncio.Future[Principal | None]"


class SessionLookups:
    """Finds principals in the store. `received` gets each of them before any caller does, and may replace it."""

    def __init__(
        self, unit_of_work: UnitOfWork, elapsed: Elapsed, received: Callable[[Lookup], Principal | None]
    ) -> None:
        self._unit_of_work = unit_of_work
        self._elapsed = elapsed
        self._received = received
        self._waiting: dict[SessionId, _Waiting] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, session_id: SessionId) -> Principal | None:
        """The principal of a session, read after this call began; None if the session is missing.

        Errors: `StoreUnavailable`.
        """
        waiting = self._waiting.get(session_id)
        if waiting is None:
            waiting = self._waiting[session_id] = asyncio.get_running_loop().create_future()
            waiting.add_done_callback(_ignore_error)
            # A task that has ended stays in the set until the loop goes round, and takes no more calls.
            if sum(not task.done() for task in self._running) < _AT_ONCE:
                task = asyncio.create_task(self._run())
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        # Others may wait for the same: a caller that is cancelled leaves it to them.
        return await asyncio.shield(waiting)

    async def _run(self) -> None:
        while self._waiting:
            # Taken out before the query begins: a later call must not get an answer that is older than itself.
            batch = dict(islice(self._waiting.items(), _LARGEST))
            for session_id in batch:
                del self._waiting[session_id]
            try:
                await self._look_up(batch)
            except Exception as error:  # noqa: BLE001 - each caller raises it
                for waiting in batch.values():
                    if not waiting.done():
                        waiting.set_exception(error)
            finally:
                for waiting in batch.values():
                    waiting.cancel()  # without effect, unless this task was cancelled

    async def _look_up(self, batch: Mapping[SessionId, _Waiting]) -> None:
        read_at = self._elapsed()
        async with self._unit_of_work.peek() as tx:
            # In this order: each statement of a peek reads the state at its own beginning.
            position = await tx.feed_position()
            found = await tx.principals.many(batch)
            until = await tx.feed_position()
        for session_id, waiting in batch.items():
            principal = self._received(Lookup(session_id, found.get(session_id), position, until, read_at))
            if not waiting.done():
                waiting.set_result(principal)


def _ignore_error(waiting: _Waiting) -> None:
    """All callers may be gone."""
    if not waiting.cancelled():
        waiting.exception()
