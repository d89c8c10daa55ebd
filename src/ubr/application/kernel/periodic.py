"""Periodic jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ubr.domain.errors import StoreUnavailable

Act: TypeAlias = Callable[[], Awaitable[object]]

TOLERATED: Final = 2
"""A job may fail this many times in a row before the log says so: the database may just be restarting."""

_log: Final = logging.getLogger("ubr.jobs")


def always(act: Act) -> Act:
    """The act itself, in a process that does its jobs without a leader."""
    return act


@asynccontextmanager
async def running_beside(*rounds: tuple[Act, float]) -> AsyncIterator[None]:
    """Repeat all of these, each with its pause in seconds, until the context ends."""
    tasks = [asyncio.create_task(repeat(act, seconds)) for act, seconds in rounds]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def repeat(act: Act, seconds: float) -> None:
    """Repeat an act without end, with a pause in seconds. A failed round is followed by the next one.

    `Watched` describes what is logged.
    """
    watched = Watched(_name(act))
    while True:
        await watched(act)
        await asyncio.sleep(seconds)


@dataclass(slots=True)
class Watched:
    """Runs a job, or one step of it, whose errors stop neither the job nor its other steps.

    The first unexpected error is logged, and then the first after each success. An unavailable database is logged
    by the third failure in a row, and then whenever their number has doubled, so that no job stops without a word.
    The end of a logged series is logged too.
    """

    name: str
    """For people: it is in the log."""
    successes: int = field(default=0, init=False)
    """The number of successes so far."""
    _failures: int = field(default=0, init=False)
    _unexpected: bool = field(default=False, init=False)
    _logged: int = field(default=0, init=False)
    """The number of failures in a row at the last line in the log about them."""

    def __post_init__(self) -> None:
        if (jobs := _jobs.get()) is not None:
            jobs[self.name] = self

    @property
    def failures(self) -> int:
        """The number of failures since the last success."""
        return self._failures

    async def __call__(self, act: Act) -> bool:
        """True if the act succeeded."""
        try:
            await act()
        except StoreUnavailable as error:
            self._failures += 1
            if self._failures > TOLERATED and self._failures >= 2 * self._logged:
                self._logged = self._failures
                _log.warning(
                    "Background job (%s): %d failures in a row, it will be retried: %s%s",
                    self.name,
                    self._failures,
                    error.detail,
                    _reason(error),
                )
            return False
        except Exception:  # noqa: BLE001 - the service continues without this round
            self._failures += 1
            if not self._unexpected:
                _log.exception("Background job (%s): failed, it will be retried", self.name)
            self._unexpected = True
            return False
        if self._logged:
            _log.warning("Background job (%s): works again after %d failures", self.name, self._failures)
        self._failures = self._logged = 0
        self._unexpected = False
        self.successes += 1
        return True


_jobs: ContextVar[dict[str, Watched] | None] = ContextVar("ubr_jobs", default=None)


@contextmanager
def collecting_jobs() -> Iterator[Mapping[str, Watched]]:
    """Collect, by name, the jobs that start within, and their steps."""
    jobs: dict[str, Watched] = {}
    token = _jobs.set(jobs)
    try:
        yield jobs
    finally:
        _jobs.reset(token)


def _reason(error: StoreUnavailable) -> str:
    """The reason that a store gives to operators, in parentheses."""
    reason = getattr(error, "reason", None)
    return "" if reason is None else f" ({reason})"


def _name(act: Act) -> str:
    """The name of a function, or of the class of another callable."""
    function: object = act
    while (inner := getattr(function, "func", None)) is not None:  # in functools.partial, and in jobs of a leader
        function = inner
    return getattr(function, "__qualname__", type(function).__name__)
