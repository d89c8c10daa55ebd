"""The form of log lines for a person at a terminal."""

from __future__ import annotations

import io
import os
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from ubr.entrypoints.http.readable_lines import columns, readable, wants_colours

ACTOR = "01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10"
NOON = datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC)


def request(**changed: Any) -> dict[str, Any]:
    return {
        "timestamp": NOON,
        "level": "info",
        "event": "request",
        "method": "GET",
        "route": "/api/users/{user_id}",
        "path": f"/api/users/{ACTOR}",
        "status": 200,
        "reason": None,
        "ms": 3.25,
        "actor_id": ACTOR,
        "session_id": ACTOR,
        "ip": "192.0.2.7",
        "request_id": "0b8d5f0f3c1e4a520b8d5f0f3c1e4a52",
        **changed,
    }


def event(text: str, **fields: Any) -> dict[str, Any]:
    return {"timestamp": NOON, "level": "warning", "event": text, **fields}


def test_requests_are_in_columns() -> None:
    first, second = readable(request()).splitlines()
    assert first == f"12:00:01 info    200 GET          3.2 ms  /api/users/{ACTOR}"
    assert second == f"{' ' * 17}actor_id={ACTOR} ip=192.0.2.7 request_id=0b8d5f0f3c1e4a520b8d5f0f3c1e4a52"
    other = readable(request(method="OPTIONS", status=503, ms=12345.67, level="error", reason="busy", cause="too many"))
    assert other.splitlines()[0] == f"12:00:01 error   503 OPTIONS  12345.7 ms  /api/users/{ACTOR}  reason=busy"
    assert "cause=too many" in other


def test_an_event_is_a_line() -> None:
    assert readable(event("Redis answers again")) == "12:00:01 warning Redis answers again"
    assert readable(event("a", b=1, c=None, d="e")) == "12:00:01 warning a  b=1 d=e"


@pytest.mark.parametrize("width", [20, 40, 79, 80, 100, 120])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    long = "a cause in many words " * 20
    traceback = f'Traceback:\n  File "{"x/" * 100}.py", line 1\n{" " * 90}deep\nValueError: {"y" * 300}'
    for each in (request(cause=long, exception=traceback), event("z" * 500, cause=long), event(long)):
        lines = readable(each, width=width).splitlines()
        assert max(map(len, lines)) <= width
        text = re.sub(r"\s+", "", "".join(lines))
        for word in re.split(r"\s+", f"{each.get('exception', '')} {each.get('cause', '')}"):
            assert word in text, "all of it is there"


def test_a_traceback_is_below() -> None:
    lines = readable(event("failed", exception="Traceback:\n  File x\n    code\nValueError: why", n=1)).splitlines()
    assert lines == ["12:00:01 warning failed  n=1", "  Traceback:", "    File x", "      code", "  ValueError: why"]


def test_no_text_controls_the_terminal() -> None:
    lines = readable(event("\x1b]0;title\x07 \r", exception="ValueError: \x1b[2J", x="\x9b1m\u202e"))
    assert lines.replace("\n", "").isprintable()


def test_colours_change_nothing_else() -> None:
    for each in (request(), request(status=404), request(status=500, level="error"), event("a", exception="b\nc")):
        coloured = readable(each, colours=True)
        assert "\x1b[" in coloured
        assert re.sub(r"\x1b\[\d+m", "", coloured) == readable(each)
    assert "\x1b[31m500\x1b[0m" in readable(request(status=500, level="error"), colours=True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("COLUMNS", "NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_colours_are_for_terminals_that_want_them(environment: pytest.MonkeyPatch) -> None:
    assert wants_colours(Terminal())
    assert not wants_colours(io.StringIO())
    environment.setenv("NO_COLOR", "")
    assert wants_colours(Terminal()), "by the convention, an empty value is none"
    environment.setenv("NO_COLOR", "1")
    assert not wants_colours(Terminal())
    environment.delenv("NO_COLOR")
    environment.setenv("TERM", "dumb")
    assert not wants_colours(Terminal())


@pytest.mark.parametrize(("given", "width"), [("80", 80), ("200", 120), ("3", 20), ("0", 120), ("x", 120), (None, 120)])
def test_the_width_is_that_of_the_terminal(given: str | None, width: int, environment: pytest.MonkeyPatch) -> None:
    if given is not None:
        environment.setenv("COLUMNS", given)
    assert columns(Terminal()) == width


def test_a_terminal_knows_its_width(environment: pytest.MonkeyPatch) -> None:
    environment.setattr(os, "get_terminal_size", lambda _: os.terminal_size((90, 24)))
    with open(os.devnull) as file:  # noqa: PTH123 - a stream with a descriptor
        assert columns(file) == 90
