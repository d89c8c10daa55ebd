"""Recording of denials to logged-in users, and of requests rejected before authentication."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from ubr.application.kernel.origin import Origin, calling_from, current_origin
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.ports.audit import LogFilter
from ubr.application.ports.system import Clock
from ubr.application.ports.unit_of_work import Transaction, UnitOfWork
from ubr.domain.actor import SYSTEM, Actor
from ubr.domain.audit.events import USER_ERASED
from ubr.domain.events import ActRefused, Event, RequestsRejected
from ubr.domain.ids import SessionId, UserId

_MAX_COUNT: Final = 10_000
"""Maximum number of kinds of denial counted at a time. Each further denial becomes a separate entry."""

CountRejection: TypeAlias = Callable[[str], None]
"""Counts a rejected request, by the code of the error."""


class _Kind(msgspec.Struct, frozen=True):
    user_id: UserId
    act: str
    problem: str


class _Count(msgspec.Struct):
    """The number of denials not yet in the log, the origin of the last one, and the sessions of all of them."""

    count: int = 0
    origin: Origin = msgspec.field(default_factory=current_origin)
    sessions: set[SessionId] = msgspec.field(default_factory=set)

    def add(self, count: int, sessions: set[SessionId]) -> None:
        self.count += count
        self.sessions |= sessions


@dataclass(frozen=True, slots=True)
class DenialRecorder:
    """Writes denials to the audit log, in separate units, and at most a few entries a minute for each kind.

    - The first denial of a user, an act and a problem is an entry at once. Those that follow in the same minute are
      counted, and become one more entry when the minute is over.
    - All requests rejected before authentication become one entry a minute.
    - The count of a user who was erased meanwhile is an entry without a client IP.
    - If the store is unavailable, the response is the same, and the denials are counted for later.
    """

    unit_of_work: UnitOfWork
    clock: Clock
    _counts: dict[tuple[_Kind, datetime], _Count] = field(default_factory=dict, init=False, repr=False)
    """By user, act and problem, and by minute."""
    _rejected: dict[datetime, Counter[str]] = field(default_factory=dict, init=False, repr=False)

    async def note(self, actor: Actor, act: str, problem: str) -> None:
        kind, minute = _Kind(actor.user_id, act, problem), self._minute()
        counted = self._counts.get((kind, minute))
        if counted is not None:
            counted.add(1, {actor.session_id})
            counted.origin = current_origin()
            return
        if len(self._counts) < _MAX_COUNT:
            self._counts[kind, minute] = _Count()
        try:
            await self._write(actor, ActRefused(act=act, problem=problem, count=1))
        except BaseException:
            self._put_back(kind, minute, _Count(1, sessions={actor.session_id}))
            raise

    def count(self, actor: Actor, act: str, problem: str) -> None:
        """Count a denial, and write it later."""
        self._put_back(_Kind(actor.user_id, act, problem), self._minute(), _Count(1, sessions={actor.session_id}))

    def reject(self, problem: str) -> None:
        """Count a rejected request."""
        self._rejected.setdefault(self._minute(), Counter())[problem] += 1

    async def settle(self, *, everything: bool = False) -> None:
        """Write the counts of past minutes, or all counts. Errors: `StoreUnavailable`."""
        minute = self._minute()
        for kind, over in [key for key in self._counts if everything or key[1] != minute]:
            await self._write_count(kind, over)
        for over in [one for one in self._rejected if everything or one != minute]:
            await self._write_rejected(over)

    @property
    def unwritten(self) -> tuple[int, int]:
        """The numbers of denials and of rejected requests that are counted and not yet in the log."""
        return sum(counted.count for counted in self._counts.values()), sum(map(Counter.total, self._rejected.values()))

    async def settle_user(self, user_id: UserId) -> None:
        for kind, minute in [key for key in self._counts if key[0].user_id == user_id]:
            await self._write_count(kind, minute)

    @retry_on_conflict
    async def _write_count(self, kind: _Kind, minute: datetime) -> None:
        counted = self._counts.pop((kind, minute), None)
        if counted is None or not counted.count:
            return
        actor = Actor(kind.user_id, next(iter(counted.sessions)))
        several = len(counted.sessions) > 1
        event = ActRefused(act=kind.act, problem=kind.problem, count=counted.count, several_sessions=several)
        try:
            async with self.unit_of_work.begin(actor) as tx:
                origin = replace(counted.origin, ip=None) if await _is_erased(tx, kind.user_id) else counted.origin
                tx.record(event)
                with calling_from(origin):
                    await tx.commit()
        except BaseException:
            self._put_back(kind, minute, counted)
            raise

    @retry_on_conflict
    async def _write_rejected(self, minute: datetime) -> None:
        counts = self._rejected.pop(minute, None)
        if not counts:
            return
        try:
            await self._write(None, RequestsRejected(counts=dict(sorted(counts.items()))))
        except BaseException:
            self._rejected.setdefault(minute, Counter()).update(counts)
            raise

    def _put_back(self, kind: _Kind, minute: datetime, counted: _Count) -> None:
        """Add a count that could not be written to the count since then."""
        self._counts.setdefault((kind, minute), _Count(origin=counted.origin)).add(counted.count, counted.sessions)

    def _minute(self) -> datetime:
        return self.clock().replace(second=0, microsecond=0)

    async def _write(self, actor: Actor | None, event: Event) -> None:
        async with self.unit_of_work.begin(actor or SYSTEM) as tx:
            tx.record(event)
            await tx.commit()


async def _is_erased(tx: Transaction, user_id: UserId) -> bool:
    """True if an erasure of this user has begun to delete client IPs. A user who exists stays until the unit ends."""
    if await tx.users.get(user_id) is not None:
        return False
    return bool(await tx.logs.page(LogFilter(action=USER_ERASED, target_id=str(user_id)), None, 1))


class CountedDenials(msgspec.Struct, frozen=True):
    """Denials that are only counted now, while a transaction of the host keeps every other writer waiting."""

    recorder: DenialRecorder

    async def note(self, actor: Actor, act: str, problem: str) -> None:
        self.recorder.count(actor, act, problem)

    async def settle_user(self, user_id: UserId) -> None:
        """Nothing: the transaction of the host keeps the writer of counts waiting too."""
