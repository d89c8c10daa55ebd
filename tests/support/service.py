"""The real service: `ubr serve` in a separate process, with its workers."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support import commands
from tests.support.commands import PATIENCE, Kept, clean_environment
from tests.support.reaper import children
from tests.support.servers import free_port

ADMIN_EMAIL = "admin@example.org"
ADMIN_PASSWORD = "the first administrator"
ADMIN = {"UBR_ADMIN_EMAIL": ADMIN_EMAIL, "UBR_ADMIN_PASSWORD": ADMIN_PASSWORD}
SECRET_KEY = "a secret that is long enough for tests"
_LINES = 200
_ENDING = "/api/docs"
"""A part of the last line that the service prints when it is ready, as text or as JSON."""


class UbrProcess:
    """One `ubr serve`, from its start to its stop."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str] = {},
        *,
        port: int | None = None,
        script: bool = False,
        room: bool = False,
        program: str | None = None,
    ) -> None:
        """Start it in this folder, with these settings and a port of its own. The others: see `commands.start`."""
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # Unnamed files, so that the folder contains only the files of the service itself.
        self._out, self._err = Kept(), Kept()
        self.process = commands.start(
            "serve",
            folder=folder,
            environment=clean_environment(**{"UBR_PORT": str(self.port), **environment}),
            out=self._out,
            err=self._err,
            script=script,
            room=room,
            program=program,
        )

    @property
    def said(self) -> list[str]:
        """The lines of its standard output."""
        return self._out.text.splitlines()

    @property
    def log(self) -> str:
        """Its log, from standard error."""
        return self._err.text

    def status(self, path: str = "/health/ready") -> int | None:
        """The status of a GET; None without an answer."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:  # noqa: S310 - our own address
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return None

    def wait_until_ready(self) -> UbrProcess:
        """Wait until it has printed its last line and answers. Errors: `AssertionError` with its output."""
        deadline = time.monotonic() + PATIENCE
        while not (self.said and _ENDING in self.said[-1] and self.status() == 200):
            ended = self.process.poll()
            told = "\n".join([*self.said, self.log])
            assert ended is None, f"ubr serve ended with {ended}:\n{told}"
            assert time.monotonic() < deadline, f"ubr serve is not ready:\n{told}"
            time.sleep(0.02)
        return self

    def wait_for_log(self, text: str) -> str:
        """Wait until its log contains a text, and return the log. Errors: `AssertionError` with the log."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.log:
            assert time.monotonic() < deadline, f"{text!r} is not in the log:\n{self.log}"
            time.sleep(0.02)
        return self.log

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and wait. Returns its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for it to end by itself. Kills it if it does not. Errors: `TimeoutExpired`."""
        try:
            return self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Clean up, in any state."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def workers(self) -> list[int]:
        """The ids of its worker processes."""
        return children(self.process.pid)

    @property
    def credentials(self) -> tuple[str, str]:
        """The credentials of the first administrator, as printed."""
        told = [json.loads(line) for line in self.said]
        [found] = [line for line in told if line["event"] == "first administrator"]
        return found["email"], found["password"]

    def logged_in(self, email: str, password: str) -> httpx.Response:
        return httpx.post(f"{self.url}/api/auth/login", json={"email": email, "password": password})


@contextmanager
def serving(folder: Path, environment: Mapping[str, str] = {}) -> Iterator[UbrProcess]:
    """A ready service, stopped at the end. If the test fails, its report contains the last lines of the log."""
    service = UbrProcess(folder, environment)
    try:
        yield service.wait_until_ready()
    except BaseException:
        print(*service.log.splitlines()[-_LINES:], sep="\n")  # noqa: T201 - the report of the test has the output
        raise
    finally:
        service.stop()


def on_postgres(database_url: str, redis_url: str | None = None, *, workers: int = 2) -> dict[str, str]:
    """The environment of a production service, with an administrator and low costs for tests."""
    environment = {
        "UBR_SECRET_KEY": SECRET_KEY,
        "UBR_DATABASE_URL": database_url,
        "UBR_MIGRATE": "auto",
        "UBR_WORKERS": str(workers),
        **ADMIN,
        "UBR_LOGIN_RATE_LIMIT": "off",
        "UBR_LOG_LEVEL": "warning",
    }
    if redis_url is not None:
        environment["UBR_REDIS_URL"] = redis_url
    return environment
