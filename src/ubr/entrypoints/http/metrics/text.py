"""The text format of Prometheus, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TypeAlias

from ubr.entrypoints.http.metrics.registry import Kind, Metric

Sample: TypeAlias = tuple[Sequence[str], Sequence[float]]
"""The values of the labels, and the cells: one value, or the counts of a histogram's buckets and then its sum."""


def written(metric: Metric, samples: Iterable[Sample]) -> str:
    """All lines of a metric; none if it has no samples."""
    lines = [line for values, cells in samples for line in _lines(metric, values, cells)]
    if not lines:
        return ""
    help_text = metric.meaning.replace("\\", r"\\").replace("\n", r"\n")
    head = [f"# HELP {metric.name} {help_text}", f"# TYPE {metric.name} {metric.kind.value}"]
    return "\n".join([*head, *lines, ""])


def _lines(metric: Metric, values: Sequence[str], cells: Sequence[float]) -> Iterator[str]:
    labels = [f'{label.name}="{_escaped(value)}"' for label, value in zip(metric.labels, values, strict=True)]
    if metric.kind is not Kind.HISTOGRAM:
        yield f"{metric.name}{_braced(labels)} {_number(cells[0])}"
        return
    *counts, total = cells
    reached = list(accumulate(counts))
    for bound, count in zip((*map(_number, metric.buckets), "+Inf"), reached, strict=True):
        bucket = [*labels, f'le="{bound}"']
        yield f"{metric.name}_bucket{_braced(bucket)} {_number(count)}"
    yield f"{metric.name}_sum{_braced(labels)} {_number(total)}"
    yield f"{metric.name}_count{_braced(labels)} {_number(reached[-1])}"


def _braced(labels: Sequence[str]) -> str:
    return f"{{{','.join(labels)}}}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
