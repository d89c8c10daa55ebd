"""The trace that a request names, by the rules of https://www.w3.org/TR/trace-context/."""

from __future__ import annotations

import pytest

from ubr.entrypoints.http.trace_context import TraceContext, trace_context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0b5902b7"
GIVEN = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (GIVEN, True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-fe", False),
        (f"01-{TRACE}-{SPAN}-03", True),
        (f"cc-{TRACE}-{SPAN}-01-what-a-later-version-adds", True),
    ],
)
def test_a_trace_is_read(value: str, sampled: bool) -> None:
    assert trace_context({b"traceparent": [value.encode()]}) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "value",
    [
        "",
        GIVEN.upper(),
        GIVEN[:-1],
        f"{GIVEN}0",
        f"{GIVEN}-more",
        f" {GIVEN}",
        f"{GIVEN}\n",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"00_{TRACE}_{SPAN}_01",
        f"01-{TRACE}-{SPAN}-01more",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
    ],
)
def test_an_invalid_one_is_ignored(value: str) -> None:
    assert trace_context({b"traceparent": [value.encode()]}) is None


def test_none_and_several_are_none() -> None:
    assert trace_context({}) is None
    assert trace_context({b"traceparent": [GIVEN.encode(), GIVEN.encode()]}) is None
