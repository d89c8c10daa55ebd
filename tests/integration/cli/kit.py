"""Running the real `ubr`, in processes of its own."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import httpx
import pytest

from tests.support.servers import free_port
from tests.support.service import clean_environment

UBR = str(Path(sys.executable).with_name("ubr"))
PATIENCE = 30
"""Seconds after which something hangs that should not."""
ENDING = "/api/docs"
"""With what the last line ends that is said when the service is ready."""


def environment(**settings: str) -> dict[str, str]:
    """That of the tests, with these settings and no others."""
    return clean_environment() | settings


@dataclass
class Ended:
    """A command that has run."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@dataclass
class Service:
    """`ubr serve`, from when it is ready until it is told to stop."""

    process: "subprocess.Popen[str]"
    url: str
    folder: Path
    settings: dict[str, str]
    log: Path
    said: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, folder: Path, port: int | None = None, /, **settings: str) -> "Service":
        port = port or free_port()
        settings = {"UBR_PORT": str(port)} | settings
        log = folder / f"log-{port}.txt"
        with log.open("a") as err:
            process = subprocess.Popen(  # noqa: S603
                [UBR, "serve"], cwd=folder, env=environment(**settings), stdout=subprocess.PIPE, stderr=err, text=True
            )
        return cls(process, f"http://127.0.0.1:{port}", folder, settings, log)

    def ready(self) -> "Service":
        """Wait until it says so."""
        alarm = threading.Timer(PATIENCE, self.process.kill)
        alarm.start()
        for line in cast("IO[str]", self.process.stdout):
            self.said.append(line.rstrip("\n"))
            if line.rstrip().endswith(ENDING):
                alarm.cancel()
                return self
        alarm.cancel()
        pytest.fail(f"It never was ready: {self.log.read_text()}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop and wait; its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        rest, _ = self.process.communicate(timeout=PATIENCE)
        self.said += rest.splitlines()
        return self.process.returncode

    def end(self) -> None:
        """However it stands: leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
        cast("IO[str]", self.process.stdout).close()
        self.process.wait()

    @property
    def credentials(self) -> tuple[str, str]:
        """Of the first administrator, as they were printed."""
        words = [line.split() for line in self.said]
        found = {line[0]: line[1] for line in words if len(line) == 2}
        return found["e-mail"], found["password"]

    def logged_in(self, email: str, password: str) -> httpx.Response:
        return httpx.post(f"{self.url}/api/auth/login", json={"email": email, "password": password})

    def workers(self) -> list[int]:
        """The ids of its worker processes."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        if listed.exists():
            return [int(process) for process in listed.read_text().split()]
        command = ["ps", "-A", "-o", "pid=,ppid="]
        table = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
        pairs = [line.split() for line in table.splitlines()]
        return [int(process) for process, parent in pairs if int(parent) == self.process.pid]


Serve = Callable[..., Service]
