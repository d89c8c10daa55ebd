"""The answer of `/metrics`: the values of all workers, and those that come from the database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final

from ubr.application.kernel.periodic import Watched
from ubr.application.operations.backlogs import Backlogs
from ubr.application.ports.revocation import Elapsed
from ubr.bootstrap import Environment
from ubr.domain.errors import UbrError
from ubr.entrypoints.http.metrics import memory, registry
from ubr.entrypoints.http.metrics.access import MetricsAccess
from ubr.entrypoints.http.metrics.registry import COUNTED, METRICS, Kind, Metric
from ubr.entrypoints.http.metrics.text import Sample, written
from ubr.entrypoints.http.metrics.worker import WorkerMetrics

_READING: Final = 1.0
"""The time limit in seconds for reading from the database, and the least time between two reads."""

_MEASURING: Final = 10.0
"""The least time in seconds between two measurements of the memory: each takes a millisecond."""


@dataclass(slots=True, kw_only=True)
class Exporter:
    """The metrics of a worker, and through the board those of the others."""

    worker: WorkerMetrics
    access: MetricsAccess
    environment: Environment
    jobs: Mapping[str, Watched]
    elapsed: Elapsed
    _began: float = field(init=False)
    _measured_at: float = field(default=float("-inf"), init=False)
    _succeeded: dict[str, tuple[int, float]] = field(default_factory=dict, init=False)
    """The number of successes of each background job, and the moment at which it was new."""
    _backlogs: Backlogs | None = field(default=None, init=False)
    _read_at: float = field(default=float("-inf"), init=False)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self._began = self.elapsed()

    @property
    def interval(self) -> float:
        """Seconds between two notes of the gauges: the age of a session cache would be wrong by more otherwise."""
        return self.environment.session_cache.times.poll

    async def publish(self) -> None:
        """Note the gauges of this worker on the board, for scrapes that reach another one."""
        environment = self.environment
        self.worker.hashing(environment.hashing())
        self.worker.connections(environment.store.connections)
        polled_at = environment.session_cache.polled_at
        self.worker.session_cache(environment.session_cache.size, self._began if polled_at is None else polled_at)
        now = self.elapsed()
        for name, job in self.jobs.items():
            known = self._succeeded.get(name)
            if known is None or known[0] != job.successes:
                known = self._succeeded[name] = (job.successes, now)
            self.worker.job(name, failures=job.failures, succeeded_at=known[1])
        if now - self._measured_at >= _MEASURING:
            self._measured_at = now
            self.worker.memory(memory.used())

    async def text(self) -> bytes:
        """All metrics. Waits for the database for a second at most."""
        await self.publish()
        backlogs = await self._stored()
        # In a thread, because the cells of many workers take some milliseconds.
        return await asyncio.to_thread(self._text, backlogs)

    async def gauges(self) -> Mapping[Metric, Sequence[Sample]]:
        """All gauges with their values at this moment. Waits for the database for a second at most."""
        await self.publish()
        others, now = self._others(await self._stored()), self.elapsed()
        return {
            metric: [*self.worker.board.totals(metric, now)] if metric in COUNTED else others.get(metric, ())
            for metric in METRICS
            if metric.kind is Kind.GAUGE
        }

    def _text(self, backlogs: Backlogs | None) -> bytes:
        now = self.elapsed()
        others = self._others(backlogs)
        parts = []
        for metric in METRICS:
            counted = metric in COUNTED
            parts.append(written(metric, self.worker.board.totals(metric, now) if counted else others.get(metric, ())))
        return "".join(parts).encode()

    def _others(self, backlogs: Backlogs | None) -> Mapping[Metric, Sequence[Sample]]:
        """The metrics that no worker counts."""
        return {
            registry.REVOCATION_BOUND: [((), (self.environment.session_cache.times.bound,))],
            registry.START_TIME: [((), (self.worker.board.started,))],
            registry.MEMORY_LIMIT: [((), (float(memory.limit()),))],
            **_stored_metrics(backlogs),
        }

    async def _stored(self) -> Backlogs | None:
        """The backlogs in the database, no older than a second; None if it did not answer in time."""
        async with self._reading:
            if self.elapsed() - self._read_at >= _READING:
                try:
                    async with asyncio.timeout(_READING):
                        self._backlogs = await self.environment.read_backlogs()
                except (UbrError, TimeoutError):
                    self._backlogs = None
                self._read_at = self.elapsed()
        return self._backlogs


def _stored_metrics(backlogs: Backlogs | None) -> Mapping[Metric, Sequence[Sample]]:
    """The metrics that come from the database, and those that never change."""
    found: dict[Metric, Sequence[Sample]] = {
        registry.BUILD: [((version("ubr"),), (1.0,))],
        registry.STORE_READABLE: [((), (float(backlogs is not None),))],
    }
    if backlogs is not None:
        values = {
            registry.AUDIT_WAITING: backlogs.audit_entries,
            registry.AUDIT_AGE: backlogs.audit_age.total_seconds(),
            registry.MAILS_DUE: backlogs.mails_due,
            registry.MAILS_DEAD: backlogs.mails_dead,
            registry.MAIL_AGE: backlogs.mail_age.total_seconds(),
        }
        if backlogs.key_age is not None:
            values[registry.KEY_AGE] = backlogs.key_age.total_seconds()
        found |= {metric: [((), (value,))] for metric, value in values.items()}
    return found
