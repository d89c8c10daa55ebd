"""The metrics of one worker. It writes them to its own area of the board."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from ubr.application.ports.metrics import Load
from ubr.entrypoints.http.metrics import registry
from ubr.entrypoints.http.metrics.board import Board, first_cell
from ubr.entrypoints.http.metrics.registry import HUNG_UP, OTHER, UNMATCHED, Label, Metric


def _positions(label: Label) -> dict[str, int]:
    return {value: position for position, value in enumerate(label.values)}


_METHODS: Final = _positions(registry.METHODS)
_ROUTES: Final = _positions(registry.ROUTES)
_STATUSES: Final = {int(value): position for value, position in _positions(registry.STATUSES).items() if value != OTHER}
_LIMITS: Final = _positions(registry.LIMITS)
_POOLS: Final = _positions(registry.POOLS)
_JOBS: Final = _positions(registry.JOBS)

_OTHER_METHOD: Final = _METHODS[OTHER]
_NO_ROUTE: Final = _ROUTES[UNMATCHED]
_OTHER_STATUS: Final = len(registry.STATUSES.values) - 1

_TIMED_BY_CLIENTS: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HUNG_UP})
"""The statuses of requests whose duration their client determined."""

_REQUESTS: Final = first_cell(registry.REQUESTS)
_DURATION: Final = first_cell(registry.REQUEST_DURATION)
_RUNNING: Final = first_cell(registry.REQUESTS_RUNNING)
_LIMITED: Final = first_cell(registry.RATE_LIMITED)
_AT_BOUND: Final = first_cell(registry.REVOCATIONS_AT_BOUND)

_ROUTE_COUNT: Final = len(registry.ROUTES.values)
_STATUS_COUNT: Final = len(registry.STATUSES.values)
_DURATION_WIDTH: Final = registry.REQUEST_DURATION.width
_DURATION_BUCKETS: Final = registry.REQUEST_DURATION.buckets


class WorkerMetrics:
    """Counts, measures and notes: constant time, no allocation that lasts, and every label from a fixed list.

    It fulfils the port `Metrics`. Each cell is written by the event loop, or under one lock.
    """

    def __init__(self, board: Board | None = None, number: int = 0) -> None:
        self.board = board or Board()
        self._number = number
        self._cells = self.board.join(number)
        self._cells[first_cell(registry.WORKER_STARTS)] += 1

    @property
    def reports(self) -> bool:
        """True for the one worker that reports for all: the newest one with the number 0."""
        return self._number == 0 and self.board.is_current(0, self._cells)

    # --- requests ----------------------------------------------------------------------------------------------------

    def request_began(self) -> None:
        self._cells[_RUNNING] += 1

    def request_ended(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count a request. `route` is the template of its path, None without one."""
        cells = self._cells
        cells[_RUNNING] -= 1
        place = _METHODS.get(method, _OTHER_METHOD) * _ROUTE_COUNT + _ROUTES.get(route or UNMATCHED, _NO_ROUTE)
        cells[_REQUESTS + place * _STATUS_COUNT + _STATUSES.get(status, _OTHER_STATUS)] += 1
        if status in _TIMED_BY_CLIENTS:
            return
        start = _DURATION + place * _DURATION_WIDTH
        cells[start + bisect_left(_DURATION_BUCKETS, seconds)] += 1
        cells[start + _DURATION_WIDTH - 1] += seconds

    # --- the port ----------------------------------------------------------------------------------------------------

    def rate_limited(self, limit: str) -> None:
        self._cells[_LIMITED + _LIMITS.get(limit, _LIMITS[OTHER])] += 1

    def password_hashed(self, seconds: float) -> None:
        self._observe(registry.HASH_DURATION, seconds)

    def revocation_waited(self, seconds: float, *, in_time: bool) -> None:
        self._observe(registry.REVOCATION_WAIT, seconds)
        if not in_time:
            self._cells[_AT_BOUND] += 1

    def _observe(self, metric: Metric, value: float) -> None:
        start = first_cell(metric)
        self._cells[start + bisect_left(metric.buckets, value)] += 1
        self._cells[start + metric.width - 1] += value

    # --- gauges ------------------------------------------------------------------------------------------------------

    def hashing(self, load: Load) -> None:
        self._cells[first_cell(registry.HASHES_RUNNING)] = load.used
        self._cells[first_cell(registry.HASHES_WAITING)] = load.waiting

    def connections(self, loads: Mapping[str, Load]) -> None:
        """The load of each pool of database connections."""
        for pool, load in loads.items():
            self._cells[first_cell(registry.CONNECTIONS_IN_USE) + _POOLS[pool]] = load.used
            self._cells[first_cell(registry.CONNECTIONS_AWAITED) + _POOLS[pool]] = load.waiting

    def session_cache(self, entries: int, polled_at: float) -> None:
        """The size of the session cache, and the moment from which its age counts."""
        self._cells[first_cell(registry.CACHED_SESSIONS)] = entries
        self._cells[first_cell(registry.CACHE_AGE)] = polled_at

    def job(self, name: str, *, failures: int, succeeded_at: float) -> None:
        """The failures in a row of a background job, and the moment from which the age of its last success counts."""
        place = _JOBS.get(name, _JOBS[OTHER])
        self._cells[first_cell(registry.JOB_FAILURES) + place] = failures
        self._cells[first_cell(registry.JOB_SUCCESS_AGE) + place] = succeeded_at

    def memory(self, used: int) -> None:
        """The memory of this worker, in bytes."""
        self._cells[first_cell(registry.MEMORY)] = used
