"""Programs from Debian's packages, fetched and unpacked into the virtual environment.

That needs no root, installs nothing on the machine, and starts no service.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.support.servers import ServerError

UNPACKED: Final = Path(sys.prefix) / "debian"


def unpack(package: str, *others: str, dependencies: bool = False, finish: Callable[[], object] = lambda: None) -> None:
    """Unpack a package and others once, with the dependencies that this machine lacks if wanted, and `finish` it.

    A file of the package may be there before this returns, and not be finished. Errors: `ServerError`.
    """
    if (UNPACKED / package).exists():
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ServerError(f"No {package} here: install it. Only on Debian the tests fetch it themselves.")
    UNPACKED.mkdir(exist_ok=True)
    with (UNPACKED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other workers fetch too
        if (UNPACKED / package).exists():
            return
        folder = UNPACKED / f"{package}.part"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "partial").mkdir(parents=True)
        wanted = [package, *others]
        if dependencies:
            locks = ["-o", "Debug::NoLocking=1", "-o", f"Dir::Cache::archives={folder}"]
            command = [*locks, "install", "--download-only", "--yes", "--no-install-recommends", *wanted]
        else:
            command = ["download", *wanted]
        trouble = _download(command, folder)
        archives = list(folder.glob("*.deb"))
        if trouble is not None or not archives:
            raise ServerError(f"No {package} here: install it. apt-get {command[-1]}: {trouble}")
        for archive in archives:
            subprocess.run(["dpkg-deb", "--extract", archive, UNPACKED], check=True, timeout=120)
        shutil.rmtree(folder)
        finish()
        (UNPACKED / package).touch()


def _download(command: Sequence[str], folder: Path) -> str | None:
    """Download packages, with the machine's lists or with lists of its own. Returns the reason for a failure."""
    state, cache = UNPACKED / "apt" / "state", UNPACKED / "apt" / "cache"
    for each in (state / "lists" / "partial", cache / "archives" / "partial"):
        each.mkdir(parents=True, exist_ok=True)
    own = ["-o", f"Dir::State={state}", "-o", f"Dir::Cache={cache}", "-o", "Dir::State::status=/var/lib/dpkg/status"]
    user = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    trouble = ""
    for attempt in (command, [*own, "update"], [*own, *command]):
        done = subprocess.run(
            ["apt-get", "-q", *user, *attempt],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            timeout=300,
        )
        if attempt[-1] != "update" and done.returncode == 0:
            return None
        trouble = done.stderr.strip() or trouble
    return trouble.splitlines()[-1] if trouble else "failed"
