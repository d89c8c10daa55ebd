"""The time of 1,000 tests of examples/notes, the service with FastAPI and the library.

    .venv/bin/python bench/notes.py

Runs pytest in a process of its own on one core, and prints its seconds. It is also a plugin of that pytest.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TESTS = 1000
DIFFERENT = 8


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test runs many times."""
    metafunc.fixturenames.append("time")
    metafunc.parametrize("time", range(TESTS // DIFFERENT))


def main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    off = [option for name in ("cacheprovider", "xdist", "cov") for option in ("-p", f"no:{name}")]
    command = [sys.executable, "-m", "pytest", "-q", *off, "-p", "bench.notes", "-k", "fastapi and library"]
    began, used = time.perf_counter(), os.times()
    subprocess.run([*command, "examples/notes/tests"], cwd=ROOT, check=True)  # noqa: S603 - what it runs is ours
    after = os.times()
    cpu = after.children_user + after.children_system - used.children_user - used.children_system
    print(f"{TESTS} tests: {time.perf_counter() - began:.1f} s, of which the processor took {cpu:.1f} s")


if __name__ == "__main__":
    main()
