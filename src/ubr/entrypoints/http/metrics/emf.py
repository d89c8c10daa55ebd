"""The metrics as lines for CloudWatch Logs, which makes metrics of them.

Source: Amazon CloudWatch User Guide, "Specification: Embedded metric format". Histograms have the form that the
exporters of AWS itself write, with `Values` and `Counts`: an array of single values has 100 members at most.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from ubr.adapters.security.system import utc_now
from ubr.application.ports.system import Clock
from ubr.entrypoints.http.metrics.exporter import Exporter
from ubr.entrypoints.http.metrics.registry import (
    COUNTED,
    HUNG_UP,
    LIMITS,
    OTHER,
    POOLS,
    STATUSES,
    VERSION,
    Kind,
    Label,
    Metric,
    Source,
)
from ubr.entrypoints.http.metrics.text import Sample

NAMESPACE: Final = "ubr"
DIMENSION: Final = "issuer"
"""The only dimension: `UBR_ISSUER` tells one installation from another, and each value more would cost extra."""

MAX_METRICS: Final = 100
"""The maximum number of metrics of a line."""

LOOKING: Final = 1.0
"""Seconds between two looks whether a line is due: a worker that takes over from another writes in time."""

_COUNTED: Final = tuple(metric for metric in COUNTED if metric.kind is not Kind.GAUGE)
_UNITS: Final = {"seconds": "Seconds", "bytes": "Bytes", "0 or 1": "None"}
_HIGHEST: Final = frozenset({Source.MAX, Source.OLDEST})


def to_standard_output(line: bytes) -> None:
    """Write a line with as few calls as possible, so that no other process writes within it."""
    sys.stdout.flush()
    while line:
        line = line[os.write(1, line) :]


class EmbeddedMetrics:
    """Writes a line for all workers, once in an interval."""

    def __init__(
        self,
        exporter: Exporter,
        issuer: str,
        interval: float,
        *,
        clock: Clock = utc_now,
        output: Callable[[bytes], None] = to_standard_output,
    ) -> None:
        """`interval` is in seconds."""
        self._exporter = exporter
        self._issuer = issuer
        self._interval = interval
        self._clock = clock
        self._output = output

    async def write(self) -> None:
        """Write a line if one is due, and if this is the worker that writes."""
        worker = self._exporter.worker
        if worker.reports and self._exporter.elapsed() - worker.board.reported_at >= self._interval:
            await self._write()

    async def finish(self) -> None:
        """Write a last line, so that the last counts of this worker are not lost."""
        if self._exporter.worker.reports:
            with suppress(OSError):  # the reader may have ended first
                await self._write()

    async def _write(self) -> None:
        gauges = await self._exporter.gauges()
        grown = self._exporter.worker.board.report(_COUNTED, self._exporter.elapsed())
        moment = round(self._clock().timestamp() * 1000)
        line = msgspec.json.encode(document(moment, self._issuer, grown, gauges)) + b"\n"
        # In a thread: a reader that is behind must not stop the requests.
        await asyncio.to_thread(self._output, line)


def document(
    moment: int,
    issuer: str,
    grown: Mapping[Metric, Sequence[Sample]],
    gauges: Mapping[Metric, Sequence[Sample]],
) -> dict[str, Any]:
    """A line, as JSON. `moment` is in milliseconds since 1970.

    `grown` has the growth of counters and histograms since the last line, `gauges` the values of this moment. A
    histogram that did not grow is missing, and so is a gauge without a value, as when the database does not answer.
    """
    values: dict[str, Any] = {}
    units: dict[str, str] = {}
    for metric, samples in (*grown.items(), *gauges.items()):
        if metric.labels == (VERSION,):
            continue
        for name, value in _values(metric, samples).items():
            values[name] = value
            units[name] = _UNITS.get(metric.unit, "Count")
    definitions = [{"Name": name, "Unit": unit} for name, unit in units.items()]
    directive = {"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": definitions}
    return {"_aws": {"Timestamp": moment, "CloudWatchMetrics": [directive]}, DIMENSION: issuer, **values}


def _values(metric: Metric, samples: Sequence[Sample]) -> dict[str, Any]:
    """The values of a metric by name: all labels together, and for some labels one for each of their values."""
    if metric.kind is Kind.HISTOGRAM:
        return {metric.name: _histogram(metric, [cells for _, cells in samples])} if samples else {}
    if metric.kind is Kind.GAUGE and not samples:
        return {}
    found = {metric.name: _together(metric, (cells[0] for _, cells in samples))}
    for position, label in enumerate(metric.labels):
        if (part := _PARTS.get(label)) is not None:
            for value in dict.fromkeys(map(part, label.values)):
                some = (cells[0] for values, cells in samples if part(values[position]) == value)
                found[f"{metric.name}.{value}"] = _together(metric, some)
    return found


def _together(metric: Metric, values: Iterable[float]) -> float:
    return max(values, default=0.0) if metric.source in _HIGHEST else sum(values)


def _histogram(metric: Metric, samples: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Each bucket that grew, as its upper bound and a number. `Sum` is exact.

    The infinite bucket has the lowest value that can explain the sum, and at least the last bound.
    """
    *counts, total = (sum(cells) for cells in zip(*samples, strict=True))
    *below, above = counts
    rest = total - sum(bound * count for bound, count in zip(metric.buckets, below, strict=True))
    bounds = (*metric.buckets, max(metric.buckets[-1], rest / above if above else 0.0))
    used = [(bound, int(count)) for bound, count in zip(bounds, counts, strict=True) if count]
    lowest = next(index for index, count in enumerate(counts) if count)
    return {
        "Values": [bound for bound, _ in used],
        "Counts": [count for _, count in used],
        "Min": bounds[lowest - 1] if lowest else 0.0,
        "Max": used[-1][0],
        "Sum": total,
        "Count": sum(count for _, count in used),
    }


def _status_class(status: str) -> str:
    """`2xx` and so on; a client that disconnected stands alone."""
    return status if status in {str(HUNG_UP), OTHER} else f"{status[0]}xx"


_PARTS: Final[Mapping[Label, Callable[[str], str]]] = {STATUSES: _status_class, LIMITS: str, POOLS: str}
"""The labels that are part of the names, and the part of each value."""
