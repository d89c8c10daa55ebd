"""Environments for tools that ask for much that ubr does not: each has a lock file, and a folder beside `.venv`."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FUZZ_REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "20000"))
"""How many requests are made from the OpenAPI document, in all."""


def programs_of(name: str) -> Path:
    """The folder of the programs that `requirements/{name}.txt` installs, installed now if need be."""
    lock, environment = ROOT / "requirements" / f"{name}.txt", ROOT / f".venv-{name}"
    stamp, programs = environment / ".installed", environment / "bin"
    with (ROOT / f".venv-{name}.lock").open("w") as guard:
        # Tests run beside each other.
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != lock.read_text():
            run(ROOT / "tools" / "make-venv", environment, PYTHON=sys.executable)
            pip = ("-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input")
            run(programs / "python", *pip, "--require-hashes", "--no-deps", "-r", lock)
            stamp.write_text(lock.read_text())
    return programs


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """What a command prints. Errors: `AssertionError` with it, where the command fails."""
    done = ran(*command, cwd=cwd, **environment)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def ran(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that has ended, however it did."""
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
