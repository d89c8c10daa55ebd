"""Environments for tools with many dependencies that ubr does not have: each has a lock file, and a folder beside
`.venv`.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FUZZ_REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "20000"))
"""Total number of requests made from the OpenAPI document."""

RIGHTS_ACTS = int(os.environ.get("RIGHTS_ACTS", "0"))
"""Number of random acts with random rights on each store; 0 for a few."""

RIGHTS_SEED = int(os.environ.get("RIGHTS_SEED", "0"))
"""Added to the seed of each of these runs, for other acts."""

FACES_CALLS = int(os.environ.get("FACES_CALLS", "0"))
"""Number of random calls that every face answers; 0 for a few."""

FACES_SEED = int(os.environ.get("FACES_SEED", "0"))
"""Added to the seed of these calls, for other ones."""

HOST_ACTS = int(os.environ.get("HOST_ACTS", "0"))
"""Number of acts of a host that dies in its transactions, on each database; 0 for a few."""

PREVIOUS = os.environ.get("UBR_PREVIOUS")
"""The commit that counts as the previous version. The default is the newest tag of a version before this commit, or
the parent of this commit if there is none.
"""


def programs_of(name: str) -> Path:
    """The folder of the programs of `requirements/{name}.txt`, which are installed if they are missing."""
    lock, environment = ROOT / "requirements" / f"{name}.txt", ROOT / f".venv-{name}"
    stamp, programs = environment / ".installed", environment / "bin"
    with (ROOT / f".venv-{name}.lock").open("w") as guard:
        # Tests run concurrently.
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != lock.read_text():
            run(ROOT / "tools" / "make-venv", environment, PYTHON=sys.executable)
            pip = ("-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input")
            run(programs / "python", *pip, "--require-hashes", "--no-deps", "-r", lock)
            stamp.write_text(lock.read_text())
    return programs


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """The output of a command. Errors: `AssertionError` with the output if the command fails."""
    done = ran(*command, cwd=cwd, **environment)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def ran(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """A finished command, successful or not."""
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
