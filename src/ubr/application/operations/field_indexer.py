"""The job that indexes users again after a change of the declaration of fields."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ubr.application.accounts.field_index import declare, index
from ubr.application.kernel.periodic import running_beside
from ubr.application.kernel.resting import resting
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.operations.leader import Leader
from ubr.application.ports.revocation import Elapsed
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.user_fields import NO_FIELDS, FieldIndex, UserFields

LEASE: Final = "user fields"
"""The name of the lease that the processes with searchable fields share."""

PAUSE: Final = 2.0
"""Seconds between two rounds: users whom a process with another declaration writes are found again after them."""

BATCH: Final = 100
"""The users of one unit, which locks them."""

_ROUND: Final = 5.0
"""Seconds of a round. The next one goes on, and meanwhile operators see that the job works."""

_log: Final = logging.getLogger("ubr.jobs")


class _State(msgspec.Struct):
    indexed: int = 0
    """The users indexed since the last time that nothing was left."""


@dataclass(frozen=True, slots=True)
class FieldIndexer:
    """One round: index the users again who cannot be found by all searchable fields.

    - Each user names the declaration under which they were indexed. Users under one that lacks a field, or has it in
      another form, are next. So a round goes on where the last one stopped, in any process.
    - One process does it, as long as it runs. A process with a newer declaration follows when the earlier ones have
      ended, and two declarations that contradict each other do not index in turn.
    - After each batch it rests as long as the batch took. It skips users whom another unit has locked until later.
    - A process without a searchable field does nothing, and asks for no lease.
    """

    unit_of_work: UnitOfWork
    leader: Leader
    elapsed: Elapsed
    user_fields: UserFields = NO_FIELDS
    _state: _State = field(default_factory=_State, init=False, repr=False)

    async def declare(self) -> None:
        """Store the declaration, and warn if users are missing. Errors: `StoreUnavailable`."""
        declared = self.user_fields.index
        if not declared.name:
            return
        await declare(self.unit_of_work, self.user_fields)
        if lacking := declared.lacking(await self._indexes()):
            _log.warning("Not every user is indexed by %s yet: a search by it is refused", ", ".join(lacking))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Do a round every two seconds, in one process at a time, until the context ends."""
        if not self.user_fields.index.name:
            yield
            return
        async with self.leader.running(), running_beside((self.leader.led(self), PAUSE)):
            yield

    async def __call__(self) -> None:
        """Errors: `StoreUnavailable`."""
        declared, began = self.user_fields.index, self.elapsed()
        while self.leader.leads and self.elapsed() - began < _ROUND:
            others = [other for other in await self._indexes() if declared.lacking([other])]
            if not others:
                if self._state.indexed:
                    _log.warning("Every user is indexed by the searchable fields now: %d were not", self._state.indexed)
                self._state.indexed = 0
                return
            async with resting():
                counts = [await self._batch(other.name) for other in others]
            self._state.indexed += sum(counts)
            if not any(counts):  # others have locked the last ones
                return
        if self._state.indexed:
            _log.info("Users indexed by their searchable fields so far: %d", self._state.indexed)

    @retry_on_conflict
    async def _batch(self, name: str) -> int:
        async with self.unit_of_work.begin(None) as tx:
            found = await tx.users.indexed_under(name, BATCH)
            if found:
                await index(tx, self.user_fields, found)
                await tx.commit()
        return len(found)

    async def _indexes(self) -> list[FieldIndex]:
        async with self.unit_of_work.peek() as repositories:
            return await repositories.users.indexes()
