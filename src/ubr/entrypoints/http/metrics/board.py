"""The values of all workers of a service, in memory that they share.

Each worker writes to an area of its own, so that no increment is lost, and reads all areas. The supervisor makes the
board before it forks the workers. A counter stays when its worker ends, so no sum ever decreases.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from ubr.adapters.security.system import utc_now
from ubr.entrypoints.http.metrics.registry import COUNTED, Kind, Metric, Source

_CELL: Final = 8
"""Bytes of a cell: a number with 53 bits for whole numbers, which the processor reads and writes as one."""
_AREAS: Final = 2
"""Areas of each worker number. A reload starts a worker while the former one of that number still answers requests."""
_CHUNK: Final = 256
"""Cells that are skipped together if nothing was counted in them."""

_START: Final[dict[str, int]] = {}
"""The first cell of each metric in an area. Cell 0 is the generation of the area's owner."""
_size = 1
for _metric in COUNTED:
    _START[_metric.name] = _size
    _size += _metric.series * _metric.width
_SIZE: Final = _size

_GAUGES: Final = [metric for metric in COUNTED if metric.kind is Kind.GAUGE]


class Board:
    """The cells of all workers. Forks of this process share them."""

    def __init__(self, workers: int = 1) -> None:
        self.started: Final = utc_now().timestamp()
        """The start of the service, in seconds since 1970."""
        self._workers = workers
        areas = workers * _AREAS
        self._cells: memoryview[float] = memoryview(mmap.mmap(-1, (areas + 1) * _SIZE * _CELL)).cast("d")
        # The sums at the last report, in the order of an area. Cell 0 is the moment of the report.
        self._reported = self._cells[areas * _SIZE :]

    def join(self, number: int = 0) -> memoryview[float]:
        """The area of a worker that starts, by its number from 0 on. The gauges of its predecessor end."""
        first, second = (self._area(number, which) for which in range(_AREAS))
        # The owner of the older area has ended: a number has no more than two workers at a time.
        older, newer = (first, second) if first[0] <= second[0] else (second, first)
        for metric in _GAUGES:
            start = _START[metric.name]
            for cell in range(start, start + metric.series):
                older[cell] = 0.0
        older[0] = newer[0] + 1
        return older

    def totals(self, metric: Metric, now: float) -> Iterator[tuple[tuple[str, ...], Sequence[float]]]:
        """The cells of each combination of the metric's labels, with their values. `now` is the time for ages."""
        merged = self._merged(metric)
        width = metric.width
        for index in _shown(metric, merged):
            cells = [merged.get(cell, 0.0) for cell in range(index * width, (index + 1) * width)]
            if metric.source is Source.OLDEST:
                if not any(cells):  # no worker has noted a moment yet
                    continue
                cells = [max(0.0, now - cell) for cell in cells]
            yield _values(metric, index), cells

    def is_current(self, number: int, area: memoryview[float]) -> bool:
        """False for the area of a worker whose successor has started."""
        return area[0] == max(self._area(number, which)[0] for which in range(_AREAS))

    @property
    def reported_at(self) -> float:
        """The moment of the last report; 0 before the first one."""
        return self._reported[0]

    def report(self, metrics: Iterable[Metric], now: float) -> dict[Metric, list[tuple[tuple[str, ...], list[float]]]]:
        """The growth of counters and histograms since the last report, by the values of their labels.

        The board remembers the report, so a worker that takes over from a killed one counts nothing twice.
        """
        found: dict[Metric, list[tuple[tuple[str, ...], list[float]]]] = {}
        self._reported[0] = now
        for metric in metrics:
            grown: dict[int, list[float]] = {}
            for cell, value in self._merged(metric).items():
                place = _START[metric.name] + cell
                growth = value - self._reported[place]
                self._reported[place] = value
                if growth:
                    index, within = divmod(cell, metric.width)
                    grown.setdefault(index, [0.0] * metric.width)[within] = growth
            found[metric] = [(_values(metric, index), cells) for index, cells in sorted(grown.items())]
        return found

    def _merged(self, metric: Metric) -> dict[int, float]:
        """The cells that are not 0, by their position in the metric."""
        start = _START[metric.name]
        end = start + metric.series * metric.width
        merged: dict[int, float] = {}
        for area in self._current() if metric.kind is Kind.GAUGE else self._all():
            for first in range(start, end, _CHUNK):
                chunk = area[first : min(first + _CHUNK, end)]
                if not chunk.tobytes().strip(b"\0"):
                    continue
                for cell, value in enumerate(chunk, first - start):
                    if value:
                        merged[cell] = _MERGE[metric.source](merged[cell], value) if cell in merged else value
        return merged

    def _area(self, number: int, which: int) -> memoryview[float]:
        begin = (number * _AREAS + which) * _SIZE
        return self._cells[begin : begin + _SIZE]

    def _all(self) -> Iterator[memoryview[float]]:
        return (self._area(number, which) for number in range(self._workers) for which in range(_AREAS))

    def _current(self) -> Iterator[memoryview[float]]:
        """The area of the newest worker of each number."""
        for number in range(self._workers):
            yield max((self._area(number, which) for which in range(_AREAS)), key=lambda area: float(area[0]))


_MERGE: Final[Mapping[Source, Callable[[float, float], float]]] = {
    Source.SUM: lambda one, other: one + other,
    Source.MAX: max,
    Source.OLDEST: min,
}


def _shown(metric: Metric, merged: Iterable[int]) -> Iterable[int]:
    """The indexes of the combinations that are shown, if these cells are not 0."""
    if not metric.sparse:
        return range(metric.series)
    shown = {cell // metric.width for cell in merged}
    if metric.zeros:
        last = metric.labels[-1].values
        positions = [last.index(value) for value in metric.zeros]
        shown |= {index - index % len(last) + position for index in shown for position in positions}
    return sorted(shown)


def first_cell(metric: Metric) -> int:
    """The position of a metric in an area."""
    return _START[metric.name]


def _values(metric: Metric, index: int) -> tuple[str, ...]:
    """The values of the labels of a combination, by its index. The last label varies fastest."""
    values = []
    for label in reversed(metric.labels):
        index, position = divmod(index, len(label.values))
        values.append(label.values[position])
    return tuple(reversed(values))
