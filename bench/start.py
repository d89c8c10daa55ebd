"""What a start of `ubr serve` costs: run it as `python -m bench.start [DATABASE_URL]`, on Linux.

Prints the processor time and the time until the service is ready, and the memory (`Pss`) of all of its processes then,
with one worker: the median and the lowest of several starts on an existing schema. Without a URL it starts on SQLite.
Compare two commits in turn, each from a working tree of its own.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import http.client
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Final

from tests.support.commands import clean_environment
from tests.support.servers import free_port

ROUNDS: Final = 7
TICK: Final = 1000 / os.sysconf("SC_CLK_TCK")
"""Milliseconds of the unit in which the system counts processor time."""


def family(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text("ascii").split():
            yield from family(int(child))


def processor_time(pid: int) -> float:
    """Milliseconds of a process and of its ended children."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * TICK


def memory(pid: int) -> float:
    """MiB, with a share of what several processes use."""
    found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text("ascii"), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def started(url: str, secret: str) -> tuple[float, float, float]:
    """Milliseconds of processor time, milliseconds until the service was ready, MiB."""
    port = free_port()
    environment = clean_environment(
        UBR_DATABASE_URL=url, UBR_SECRET_KEY=secret, UBR_PORT=str(port), UBR_WORKERS="1", UBR_MIGRATE="auto"
    )
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "ubr", "serve"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not ready(port):
            if process.poll() is not None:
                raise SystemExit("ubr serve has ended")
            time.sleep(0.005)
        took = (time.monotonic() - began) * 1000
        pids = list(family(process.pid))
        return sum(map(processor_time, pids)), took, sum(map(memory, pids))
    finally:
        process.terminate()
        process.wait()


def ready(port: int) -> bool:
    with suppress(OSError):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200  # noqa: PLR2004
    return False


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/ubr.db"
        secret = secrets.token_hex(32)
        started(url, secret)  # makes the schema
        found = [started(url, secret) for _ in range(ROUNDS)]
    for name, values in zip(("ms of CPU", "ms to ready", "MiB"), zip(*found, strict=True), strict=True):
        print(f"{name:12} {median(values):7.0f} {min(values):7.0f}")


if __name__ == "__main__":
    main()
