"""The real service: `ubr serve` in a process of its own, with its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.servers import free_port

ADMIN_EMAIL = "admin@example.org"
ADMIN_PASSWORD = "the first administrator"
SECRET_KEY = "a secret that is long enough for tests"
_PATIENCE = 30.0


def clean_environment() -> dict[str, str]:
    """That of the tests, without any setting of ubr, for a process of it as an installation has it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UBR_")}
    return {**kept, "PYTHONPATH": str(Path(__file__).parent / "absent")}


class Service:
    """One `ubr serve`. What it prints is kept in a file."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = folder / f"ubr-{self.port}.log"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("ubr")), "serve"],
                cwd=folder,
                env={**clean_environment(), "UBR_SECRET_KEY": SECRET_KEY, "UBR_PORT": str(self.port), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def status(self, path: str = "/health/ready") -> int | None:
        """The status of a GET; None where nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:  # noqa: S310 - our own address
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return None

    def wait_until_ready(self, patience: float = _PATIENCE) -> None:
        """Wait for the first 200. Errors: `AssertionError` with what the service printed."""
        deadline = time.monotonic() + patience
        while self.status() != 200:
            ended = self.process.poll()
            assert ended is None, f"ubr serve ended with {ended}:\n{self.output.read_text()}"
            assert time.monotonic() < deadline, f"ubr serve is not ready:\n{self.output.read_text()}"
            time.sleep(0.02)

    def stop(self) -> int:
        """Ask it to stop and wait; its exit code."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextmanager
def serving(folder: Path, environment: Mapping[str, str]) -> Iterator[Service]:
    """A service that is ready, stopped at the end."""
    service = Service(folder, environment)
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.stop()


def on_postgres(database_url: str, redis_url: str | None = None, *, workers: int = 2) -> dict[str, str]:
    """The environment of a service in production, with an administrator and cheap enough to test."""
    environment = {
        "UBR_DATABASE_URL": database_url,
        "UBR_MIGRATE": "auto",
        "UBR_WORKERS": str(workers),
        "UBR_ADMIN_EMAIL": ADMIN_EMAIL,
        "UBR_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "UBR_LOGIN_RATE_LIMIT": "off",
        "UBR_LOG_LEVEL": "warning",
    }
    if redis_url is not None:
        environment["UBR_REDIS_URL"] = redis_url
    return environment
