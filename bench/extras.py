"""Each extra by itself in a fresh environment: the packages, their size, and the duration of an import.

    .venv/bin/python -m bench.extras

It builds the wheels of ubr and of ubr-verifier, and needs a package index for the dependencies, of which it takes the
locked versions. A size is that of all files, without compiled modules, ubr itself included. `import` is that of the
names that a program with this extra imports; `first call` is that of all modules that are loaded until the first use
case is done, these included. Both are the processor time of the fastest of several imports, without the start of the
interpreter, because other programs lengthen the rest.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
ROUNDS: Final = 10
MEGABYTE: Final = 1_000_000

FACE: Final = (
    "from ubr import SYSTEM, AssignRoleCommand, ListUsersCommand, LogInCommand, RegisterUserCommand, Settings, connect"
)
"""The imports of the example in README.md."""

MEMORY: Final = "import ubr.bootstrap.memory, jwt.algorithms"
DATABASE: Final = "import ubr.bootstrap.sql, ubr.adapters.sql.migrations, jwt.algorithms"
POSTGRES: Final = f"{DATABASE}, ubr.adapters.sql.postgresql"
SERVICE: Final = f"{POSTGRES}, ubr.entrypoints.http.asgi"

IMPORTED: Final = {
    "": (FACE, MEMORY),
    "server": ("import ubr.http", MEMORY),
    "postgres": (FACE, POSTGRES),
    "sqlite": (FACE, DATABASE),
    "redis": (FACE, f"{MEMORY}, ubr.adapters.redis"),
    "mail": (FACE, f"{MEMORY}, ubr.adapters.mail.smtp"),
    "verifier": ("import ubr.verifier", ""),
    "s3": (FACE, "import ubr.bootstrap.backups, ubr.adapters.backups.s3"),
    "otel": (FACE, f"{MEMORY}, ubr.adapters.otel"),
    "service": (FACE, SERVICE),
    "all": (FACE, SERVICE),
}
"""What a program with this extra imports, and what is loaded until its first call is done."""

TIMED: Final = "import time; began = time.process_time(); {}; print(time.process_time() - began)"


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603 - our own commands
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def built(folder: Path, into: Path) -> Path:
    """The wheel of the project in a folder."""
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", into, cwd=folder)
    (wheel,) = into.glob("*.whl")
    return wheel


def constraints() -> str:
    """The locked versions, without their hashes, which pip does not accept for a wheel of this machine."""
    return "\n".join(
        re.findall(r"^[\w.-]+==[^\s\\]+(?: ; [^\\\n]+)?", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    )


def measured(wanted: str, imports: Sequence[str], folder: Path) -> tuple[int, float, list[float]]:
    """The number of packages, their size in MB, and the milliseconds of these imports, each in new processes."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-qq", "--disable-pip-version-check")
    run(*pip, "--no-compile", "--constraint", folder.parent / "constraints.txt", wanted)
    (libraries,) = (folder / "lib").glob("python*/site-packages")
    files = [path for path in libraries.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    size = sum(path.stat().st_size for path in files) / MEGABYTE
    run(python, "-m", "compileall", "-q", libraries)
    fastest = [min(float(run(python, "-c", TIMED.format(each))) for _ in range(ROUNDS)) for each in imports]
    return len(list(libraries.glob("*.dist-info"))), size, [1000 * seconds for seconds in fastest]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ubr-extras-") as name:
        folder = Path(name)
        (folder / "constraints.txt").write_text(constraints())
        ubr, verifier = built(ROOT, folder / "ubr"), built(ROOT / "packages" / "verifier", folder / "verifier")
        rows = [
            (f"`ubr[{extra}]`" if extra else "`ubr`", f"ubr[{extra}] @ {ubr.as_uri()}" if extra else str(ubr), imports)
            for extra, imports in IMPORTED.items()
        ]
        rows.append(("`ubr-verifier`", str(verifier), ("import ubr_verifier", "")))
        print("| installed | packages | MB | import, ms | first call, ms |")
        print("| --- | --- | --- | --- | --- |")
        for number, (shown, wanted, (first, rest)) in enumerate(rows):
            imports = (first, f"{first}; {rest}") if rest else (first,)
            packages, size, milliseconds = measured(wanted, imports, folder / f"environment-{number}")
            durations = f"{milliseconds[0]:.0f} | {milliseconds[-1]:.0f}"
            print(f"| {shown} | {packages} | {size:.0f} | {durations} |", flush=True)


if __name__ == "__main__":
    main()
