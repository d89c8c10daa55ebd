"""A real browser that a test looks over the shoulder of: Chromium, spoken to through a pipe."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any

_PATIENCE = 60.0
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Chromium expects the pipe at 3 and 4.
_START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
)


@dataclass
class Tab:
    """One page. What its console said and what it asked for is kept."""

    _write: int
    _read: int
    _session: str = ""
    _number: int = 0
    _buffer: bytes = b""
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Errors: `AssertionError` where Chromium refuses, or says nothing for a minute."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _PATIENCE
        while True:
            answer = self._next(deadline)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page. One that throws is an `AssertionError`."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Until the expression is true."""
        deadline = time.monotonic() + _PATIENCE
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < deadline, (expression, self.complaints)
            time.sleep(0.05)

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0, deadline - time.monotonic()))
            assert ready, "Chromium says nothing"
            part = os.read(self._read, 65536)
            assert part, "Chromium ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told

    def _note(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        kinds: dict[str, Callable[[], None]] = {
            "Network.requestWillBeSent": lambda: self.requests.append(told["request"]["url"]),
            "Log.entryAdded": lambda: self.complaints.append(told["entry"]["text"]),
            "Runtime.consoleAPICalled": lambda: self.complaints.append(str(told["args"])),
            "Runtime.exceptionThrown": lambda: self.complaints.append(str(told["exceptionDetails"])),
        }
        kinds.get(event.get("method", ""), lambda: None)()


@contextmanager
def browsing(folder: Path) -> Iterator[Tab]:
    """A browser with one empty tab. Without a Chromium the test fails: it is what the test is about."""
    chromium = next(filter(None, map(which, _NAMES)), None)
    assert chromium, "no Chromium on PATH (on Debian: apt-get install chromium)"
    to_read, write = os.pipe()
    read, to_write = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _START, str(to_read), str(to_write)),
            *(chromium, *_ARGUMENTS, f"--user-data-dir={folder / 'browser'}"),
        ],
        pass_fds=(to_read, to_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(to_write)
    try:
        tab = Tab(write, read)
        tab.attach()
        yield tab
        tab.call("Runtime.evaluate", expression="0")  # what it has said is read up to here
    finally:
        process.terminate()
        process.wait()
        os.close(write)
        os.close(read)
