"""Which tracebacks are logged."""

from __future__ import annotations

from itertools import count

from ubr.entrypoints.http.problems.faults import EVERY, KINDS, Tracebacks


def test_each_kind_at_once_and_then_once_a_minute() -> None:
    now = 0.0
    tracebacks = Tracebacks(lambda: now)
    assert tracebacks.due(("a", "b")) == 0
    assert tracebacks.due(("a", "c")) == 0
    assert [tracebacks.due(("a", "b")) for _ in range(3)] == [None] * 3
    now = EVERY - 0.1
    assert tracebacks.due(("a", "b")) is None
    now = EVERY
    assert tracebacks.due(("a", "b")) == 4
    assert tracebacks.due(("a", "b")) is None
    now = 2 * EVERY
    assert tracebacks.due(("a", "c")) == 0


def test_kinds_that_nobody_sees_any_more_are_forgotten() -> None:
    tracebacks = Tracebacks(lambda: 0.0)
    names = map(str, count())
    for _ in range(KINDS + 1):
        assert tracebacks.due((next(names),)) == 0
    assert tracebacks.due((str(KINDS),)) is None
    assert tracebacks.due(("0",)) == 0
