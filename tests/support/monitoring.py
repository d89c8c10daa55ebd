"""Prometheus and Alertmanager with their tools, as Debian ships them.

The first available ones are used: programs on PATH; those that an earlier run unpacked into the virtual environment;
Debian's packages, which are fetched and unpacked there. That needs no root, installs nothing on the machine, and starts
no service. Without any, a test fails.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

from tests.support.debian import UNPACKED, unpack
from tests.support.reaper import kill_tree, reaper
from tests.support.servers import free_port

PACKAGES: Final = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
}
"""The programs, and the packages that contain them."""

_TEMPLATES: Final = b"/usr/share/prometheus/alertmanager"
_READY_WITHIN: Final = 60.0
_POLL: Final = 0.02


def find(program: str) -> str:
    """The path of a program. Errors: `ServerError` if there is none, and no package."""
    found = shutil.which(program)
    if found is None:
        _fetch(PACKAGES[program])
        found = str(UNPACKED / "usr" / "bin" / program)
    return found


def _fetch(package: str) -> None:
    """Unpack a package of Debian. Errors: `ServerError`."""

    def finish() -> None:
        for program in (UNPACKED / "usr" / "bin").iterdir():
            _read_from_here(program)

    unpack(package, finish=finish)


def _read_from_here(program: Path) -> None:
    """Let Debian's Alertmanager read its templates below the working directory, and not below the root."""
    code = program.read_bytes()
    if _TEMPLATES in code:
        program.write_bytes(code.replace(_TEMPLATES, _TEMPLATES.replace(b"/usr/", b"usr//")))


def tool(program: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end, in a folder."""
    return subprocess.run(
        [find(program), *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


class Daemon:
    """A running Prometheus or Alertmanager, with its JSON API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: str) -> Any:
        """The JSON answer of a GET. Errors: `AssertionError` with the answer to an invalid call."""
        return self._ask(urllib.request.Request(f"{self.url}{path}?{urlencode(query)}"))  # noqa: S310 - our own address

    def post(self, path: str, body: object) -> Any:
        return self._ask(
            urllib.request.Request(  # noqa: S310 - our own address
                self.url + path, data=json.dumps(body).encode(), headers={"content-type": "application/json"}
            )
        )

    def _ask(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own address
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(error.read().decode()) from None
        return json.loads(text) if text else None


class Receiver:
    """Takes the notifications of an Alertmanager. The last part of the path is the name of the receiver."""

    def __init__(self) -> None:
        self.notices: set[tuple[str, str, str]] = set()
        """The receiver, `firing` or `resolved`, and the name of the alert."""
        notices = self.notices

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["content-length"])))
                name = self.path.rpartition("/")[2]
                notices.update((name, alert["status"], alert["labels"]["alertname"]) for alert in told["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the standard library
                """The notices are the log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def running(program: str, options: Sequence[str], folder: Path) -> Iterator[Daemon]:
    """A daemon on a port of its own, ready, and killed at the end. `folder` gets its log.

    The paths in `options` have to be absolute.
    """
    port = free_port()
    with (folder / f"{program}.log").open("wb") as log:
        process = subprocess.Popen(
            [find(program), f"--web.listen-address=127.0.0.1:{port}", *options],
            cwd=UNPACKED if UNPACKED.exists() else folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    reaper.watch(process.pid)
    try:
        daemon = Daemon(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + _READY_WITHIN
        while not _ready(daemon):
            said = (folder / f"{program}.log").read_text(errors="replace")
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(_POLL)
        yield daemon
    finally:
        kill_tree(process.pid)
        process.wait()
        reaper.forget(process.pid)


def _ready(daemon: Daemon) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{daemon.url}/-/ready", timeout=5) as answer:  # noqa: S310
        return bool(answer.status == 200)
    return False
