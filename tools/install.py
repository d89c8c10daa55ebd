"""Installs locked packages with pip, and shows how many are done: `install.py -r requirements/run.txt`.

Only the standard library: nothing else is installed yet.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
LOCKED = ["--require-hashes", "--no-deps"]


def main(arguments: list[str]) -> int:
    """The exit code of pip. Its output is shown only if it fails."""
    locks = [Path(name) for name in arguments if name.endswith(".txt")]
    expected = sum(len(re.findall(r"^[\w.-]+(?:\[.*\])?==", lock.read_text("utf-8"), re.MULTILINE)) for lock in locks)
    person = sys.stdout.isatty()
    said, done = list[str](), 0
    with subprocess.Popen(  # noqa: S603 - the arguments are those of the Makefile
        [*PIP, *LOCKED, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None  # noqa: S101 - for the type checker
        for line in pip.stdout:
            said.append(line)
            if line.startswith(("Collecting ", "Requirement already satisfied: ")):
                done += 1
                if person:
                    sys.stdout.write(f"\r    {done} of at most {expected} packages")
                    sys.stdout.flush()
            elif line.startswith("Installing collected packages") and person:
                sys.stdout.write("; installing them")
                sys.stdout.flush()
    if person and done:
        sys.stdout.write("\n")
    if pip.returncode:
        sys.stderr.writelines(said)
    return pip.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
