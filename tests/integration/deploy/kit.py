"""Programs that look at the files of deploy/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.papers import ROOT

DEPLOY = ROOT / "deploy"


def says(*command: str | Path, folder: Path = ROOT, **environment: str) -> str:
    """The output of a command. Errors: `AssertionError` with the output if the command fails."""
    # Without a home, Caddy writes certificates and keys into the working directory.
    with TemporaryDirectory() as home:
        done = subprocess.run(  # noqa: S603 - commands of the tests
            command,
            cwd=folder,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def tool(name: str) -> Path:
    """A program of the environment of the tests."""
    return Path(sys.executable).with_name(name)
