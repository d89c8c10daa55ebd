"""The job of the static checks, executed as on GitHub: in a fresh checkout, with an environment of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.long


def test_the_static_checks_pass_in_a_fresh_checkout(copy: Path) -> None:
    job = yaml.safe_load((copy / ".github" / "workflows" / "checks.yml").read_text())["jobs"]["static"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UBR_", "PYT", "MAKE"))}
    for step in job["steps"]:
        if "run" in step:
            done = subprocess.run(
                ["/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=copy,
                env=kept,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (step["name"], done.stdout[-8000:])
