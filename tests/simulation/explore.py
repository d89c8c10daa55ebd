"""Every schedule of a small scenario, within bounds that are said.

Stateless model checking on the real code: each schedule is run from the start, and follows another prefix of choices.
A state that was met before with as much left to spend is not looked at again. What is bounded is how often a thread is
interrupted that could go on (a switch where it waits or ends is free), and how many faults there are.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import AsyncGeneratorType, CoroutineType, FrameType
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

from tests.support.values import names_of
from ubr.adapters.memory.unit_of_work import MemoryTransaction
from ubr.application.access.cached_sessions import CachedRoles, CachedSessions
from ubr.application.ports.sessions import Principal
from ubr.domain.accounts.user import User
from ubr.domain.roles.role import Role
from ubr.domain.sessions.session import Session


@dataclass(frozen=True, slots=True)
class Event:
    """Something that can happen next. `thread` goes on with it; None where it is nobody's."""

    name: str
    thread: str | None = None
    fault: bool = False


class Scenario(Protocol):
    """One run, from the start, in one order."""

    def events(self) -> list[Event]:
        """What can happen next, always in the same order."""
        ...

    def perform(self, event: Event) -> None: ...

    def state(self) -> Hashable:
        """All that decides what can still happen."""
        ...

    @property
    def violation(self) -> str | None: ...

    def finish(self) -> None: ...


@dataclass(slots=True)
class Outcome:
    """What an exploration saw. `path` leads to the violation, where there is one."""

    schedules: int = 0
    states: int = 0
    events: int = 0
    violation: str | None = None
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        seen = f"{self.states} states, {self.schedules} schedules, {self.events} events"
        return f"{seen}: holds" if self.violation is None else f"{seen}: {self.violation}\n  " + "\n  ".join(self.path)


def explore(
    make: Callable[[], Scenario],
    *,
    interruptions: int,
    faults: int = 0,
    most: int = 1_000_000,
    pruned: bool = True,
) -> Outcome:
    """Try every schedule; stop at the first that breaks what must hold."""
    outcome = Outcome()
    seen: dict[Hashable, list[tuple[int, int]]] = {}
    prefixes: list[tuple[int, ...]] = [()]
    with _rarely_collecting():
        while prefixes and outcome.schedules < most and outcome.violation is None:
            prefix = prefixes.pop()
            outcome.schedules += 1
            scenario = make()
            try:
                _run(scenario, prefix, prefixes, seen if pruned else None, outcome, (interruptions, faults))
            finally:
                scenario.finish()
            if outcome.schedules % 5000 == 0:
                gc.collect()
    assert outcome.violation is not None or not prefixes, "there are more schedules than were allowed for"
    return outcome


@contextmanager
def _rarely_collecting() -> Iterator[None]:
    """A third of the time went into looking for garbage."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _run(
    scenario: Scenario,
    prefix: tuple[int, ...],
    prefixes: list[tuple[int, ...]],
    seen: dict[Hashable, list[tuple[int, int]]] | None,
    outcome: Outcome,
    budget: tuple[int, int],
) -> None:
    taken: list[int] = []
    path: list[str] = []
    current: str | None = None
    interruptions, faults = budget
    while True:
        events = scenario.events()
        goes_on = any(event.thread == current and not event.fault for event in events) and current is not None
        # Whoever runs goes on first: the order in which nothing is interrupted is tried before all others.
        events.sort(key=lambda event: event.fault * 2 + (event.thread != current))
        choices = []
        for event in events:
            cost = int(goes_on and event.thread != current and not event.fault)
            if cost <= interruptions and event.fault <= faults:
                choices.append((event, cost))
        if not choices:
            return
        if len(taken) >= len(prefix):
            if seen is not None:
                key = (scenario.state(), current if goes_on else None)
                met = seen.setdefault(key, [])
                if any(interruptions <= more and faults <= more_faults for more, more_faults in met):
                    return
                outcome.states += not met
                met.append((interruptions, faults))
            prefixes.extend((*taken, other) for other in range(len(choices) - 1, 0, -1))
            at = 0
        else:
            at = prefix[len(taken)]
        event, cost = choices[at]
        taken.append(at)
        path.append(event.name)
        scenario.perform(event)
        outcome.events += 1
        interruptions -= cost
        faults -= event.fault
        if not event.fault:
            current = event.thread
        if scenario.violation is not None:
            outcome.violation, outcome.path = scenario.violation, tuple(path)
            return


# --- what a state is -------------------------------------------------------------------------------------------------

_FEW: Final = 1000
"""Ids of a scenario's own making are smaller, as numbers, than this; all others are random and name nothing."""

_PLAIN: Final = frozenset({type(None), bool, int, str, bytes, datetime})
_VALUES: Final = frozenset(
    {
        "CachedSession",
        "_CachedRole",
        "Lookup",
        "ChangeRecord",
        "Change",
        "FeedPosition",
        "FeedRead",
        "CommittedChanges",
    }
)


class Shapes:
    """Values as far as they decide what can still happen: a task is what it waits for and what it holds.

    A moment is how long ago it was, and `old` is the same as older.
    """

    def __init__(self, now: float, old: float) -> None:
        self._now = now
        self._old = old

    def of(self, value: object) -> Hashable:
        kind = type(value)
        if kind in _PLAIN:
            return value
        known = _SHAPES.get(kind)
        if known is None:
            known = _SHAPES[kind] = _shape_of(kind)
        return known(self, value)

    def moment(self, value: float) -> float:
        return min(self._now - value, self._old)

    def each(self, values: Iterable[object]) -> tuple[Hashable, ...]:
        return tuple([self.of(value) for value in values])

    def suspended(self, value: object, frame: FrameType | None, waits_for: object) -> Hashable:
        if frame is None:
            return "done"
        held = tuple([(name, self.of(each)) for name, each in frame.f_locals.items() if each is not value])
        return (frame.f_code.co_name, frame.f_lasti, held, self.of(waits_for))


_Shape: TypeAlias = Callable[[Shapes, Any], Hashable]


def _shape_of(kind: type) -> _Shape:
    if issubclass(kind, float):
        return Shapes.moment
    if issubclass(kind, UUID):
        return lambda _, value: value.int if value.int < _FEW else "id"
    if issubclass(kind, asyncio.Task):
        return lambda shapes, value: "done" if value.done() else shapes.of(value.get_coro())
    if issubclass(kind, asyncio.Future):
        return lambda _, value: value.done()
    if issubclass(kind, asyncio.Event):
        return lambda _, value: value.is_set()
    if issubclass(kind, asyncio.Timeout):
        return lambda shapes, value: (shapes.of(value.when()), value.expired())
    if issubclass(kind, CoroutineType):
        return lambda shapes, value: shapes.suspended(value, value.cr_frame, value.cr_await)
    if issubclass(kind, AsyncGeneratorType):
        return lambda shapes, value: shapes.suspended(value, value.ag_frame, value.ag_await)
    if issubclass(kind, AbstractAsyncContextManager):
        return lambda shapes, value: shapes.of(value.gen) if hasattr(value, "gen") else kind.__name__
    if issubclass(kind, Principal):
        return lambda shapes, value: shapes.each([value.session, value.user, value.roles])
    if issubclass(kind, Session):
        return lambda _, value: value.ended_at is None
    if issubclass(kind, User | Role):
        return lambda _, value: value.version
    if issubclass(kind, CachedSessions | CachedRoles):
        return lambda shapes, value: shapes.of(vars(value))
    if issubclass(kind, MemoryTransaction):
        return lambda _, value: (value.commit_id is None, value.must_propagate)
    if issubclass(kind, Mapping):
        return lambda shapes, value: shapes.each(value.items())
    if issubclass(kind, list | tuple):
        return lambda shapes, value: shapes.each(value)
    if issubclass(kind, set | frozenset):
        return lambda shapes, value: frozenset(shapes.each(value))
    if kind.__name__ in _VALUES:
        names = names_of(kind)
        return lambda shapes, value: shapes.each([getattr(value, name) for name in names])
    return lambda _, value: kind.__name__


_SHAPES: Final[dict[type, _Shape]] = {}
