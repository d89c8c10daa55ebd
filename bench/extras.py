"""Each extra by itself in a fresh environment: the packages, their size, and the duration of an import.

    .venv/bin/python -m bench.extras

It builds the wheels of ubr and of ubr-verifier, and needs a package index for the dependencies, of which it takes the
locked versions. A size is that of all files, without compiled modules, ubr itself included. A duration is the processor
time of the fastest of several imports, without the start of the interpreter, because other programs lengthen the rest.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
ROUNDS: Final = 10
MEGABYTE: Final = 1_000_000
CORE: Final = "ubr.testing, ubr.bootstrap.memory"
DATABASE: Final = "ubr.bootstrap.sql, ubr.adapters.sql.migrations"

IMPORTED: Final = {
    "": CORE,
    "server": "ubr.http, ubr.bootstrap.memory",
    "postgres": f"{DATABASE}, ubr.adapters.sql.postgresql",
    "sqlite": DATABASE,
    "redis": f"{CORE}, ubr.adapters.redis",
    "mail": f"{CORE}, ubr.adapters.mail.smtp",
    "verifier": "ubr.verifier",
    "s3": "ubr.bootstrap.backups, ubr.adapters.backups.s3",
    "otel": f"{CORE}, ubr.adapters.otel",
    "service": "ubr.entrypoints.http.asgi, ubr.adapters.sql.postgresql, ubr.bootstrap.sql",
    "all": "ubr.entrypoints.http.asgi, ubr.adapters.sql.postgresql, ubr.bootstrap.sql",
}
"""What a program with this extra imports. For the core that is everything that a use case in memory takes."""

TIMED: Final = "import time; began = time.process_time(); import {}; print(time.process_time() - began)"


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


def measured(wanted: str, modules: str, folder: Path) -> tuple[int, float, float]:
    """The number of packages, their size in MB, and the milliseconds of an import."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-qq", "--disable-pip-version-check")
    run(*pip, "--no-compile", "--constraint", folder.parent / "constraints.txt", wanted)
    (libraries,) = (folder / "lib").glob("python*/site-packages")
    files = [path for path in libraries.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    size = sum(path.stat().st_size for path in files) / MEGABYTE
    run(python, "-m", "compileall", "-q", libraries)
    timed = TIMED.format(modules)
    seconds = min(float(run(python, "-c", timed)) for _ in range(ROUNDS))
    return len(list(libraries.glob("*.dist-info"))), size, 1000 * seconds


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ubr-extras-") as name:
        folder = Path(name)
        (folder / "constraints.txt").write_text(constraints())
        ubr, verifier = built(ROOT, folder / "ubr"), built(ROOT / "packages" / "verifier", folder / "verifier")
        rows = [
            (f"`ubr[{extra}]`" if extra else "`ubr`", f"ubr[{extra}] @ {ubr.as_uri()}" if extra else str(ubr), modules)
            for extra, modules in IMPORTED.items()
        ]
        rows.append(("`ubr-verifier`", str(verifier), "ubr_verifier"))
        print("| installed | packages | MB | import, ms |")
        print("| --- | --- | --- | --- |")
        for number, (shown, wanted, modules) in enumerate(rows):
            packages, size, milliseconds = measured(wanted, modules, folder / f"environment-{number}")
            print(f"| {shown} | {packages} | {size:.0f} | {milliseconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
