"""Log lines are written together, and none is lost that the process could have written."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ubr.application.kernel.origin import Origin, calling_from
from ubr.entrypoints.http.log_lines import EVENTS, OUTPUT, Format, configure

LONG = 3600.0
FORMS = [
    ("auto", False, False),
    ("auto", True, True),
    ("json", True, False),
    ("text", False, True),
]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    OUTPUT.forget()
    OUTPUT.least, OUTPUT.person, OUTPUT.colours, OUTPUT.delay = logging.INFO, False, False, 0.0
    root.handlers[:], root.level = handlers, level


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


async def test_lines_wait_for_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", delay=0.01)
    EVENTS.info("one")
    EVENTS.info("two", number=2)
    assert written(capsys) == []
    lines: list[dict[str, Any]] = []
    async with asyncio.timeout(10):
        while len(lines) < 2:
            await asyncio.sleep(0.001)
            lines += written(capsys)
    assert [(line["event"], line["level"]) for line in lines] == [("one", "info"), ("two", "info")]
    assert lines[1]["number"] == 2


async def test_an_error_is_written_at_once_with_the_lines_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", delay=LONG)
    EVENTS.info("before")
    EVENTS.error("failed", error=ZeroDivisionError("why"))
    before, failed = written(capsys)
    assert before["event"] == "before"
    assert "ZeroDivisionError: why" in failed["exception"]


async def test_many_lines_do_not_wait(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", delay=LONG)
    for number in range(1000):
        EVENTS.info("request", text="x" * 100, number=number)
    early = written(capsys)
    assert early
    OUTPUT.flush()
    assert [line["number"] for line in early + written(capsys)] == list(range(1000))


def test_without_an_event_loop_a_line_is_written_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", delay=LONG)
    EVENTS.info("one")
    logging.getLogger("a library").warning("%d of them", 2)
    assert [line["event"] for line in written(capsys)] == ["one", "2 of them"]


async def test_a_child_process_does_not_write_the_lines_of_its_parent(capfd: pytest.CaptureFixture[str]) -> None:
    configure("info", delay=LONG)
    EVENTS.info("of the parent")
    child = os.fork()
    if child == 0:
        OUTPUT.flush()
        os._exit(0)
    await asyncio.to_thread(os.waitpid, child, 0)
    OUTPUT.flush()
    assert capfd.readouterr().err.count("of the parent") == 1


async def test_levels_and_request_ids(capsys: pytest.CaptureFixture[str]) -> None:
    configure("warning")
    EVENTS.info("not this one")
    with calling_from(Origin(request_id="r-1", request_id_given=True)):
        EVENTS.warning("this one")
    [line] = written(capsys)
    assert (line["event"], line["request_id"], line["request_id_given"]) == ("this one", "r-1", True)


async def test_a_trace_is_in_every_line_of_its_request(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info")
    with calling_from(Origin(request_id="r-1", trace_id="4bf92f3577b34da6a3ce929d0e0e4736")):
        logging.getLogger("a library").warning("something")
    [line] = written(capsys)
    assert (line["request_id"], line["trace_id"]) == ("r-1", "4bf92f3577b34da6a3ce929d0e0e4736")


@pytest.mark.parametrize(("form", "terminal", "text"), FORMS)
def test_a_setting_and_the_terminal_decide_about_the_form(
    form: Format, terminal: bool, text: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    configure("info", form=form)
    EVENTS.info("one")
    line = capsys.readouterr().err
    assert line.startswith("{") != text
