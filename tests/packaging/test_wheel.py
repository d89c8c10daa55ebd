"""What a release hands out: the wheel, made from the sdist, installed in an environment of its own and tried there.

The checkout is not on the path of anything that runs here, so what was not packed is missing.
"""

from __future__ import annotations

import email
import json
import os
import re
import sqlite3
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from contextlib import closing
from email.message import Message
from pathlib import Path

import pytest

from tools.check_files import project_files

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
README = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
LOCKED = ("--require-hashes", "--no-deps")
PIP = ("-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input")

pytestmark = pytest.mark.long

IN_MEMORY = """
import asyncio
import ubr
from ubr import SYSTEM, CreateUserCommand
from ubr.testing import delivered, in_memory

async def main():
    async with in_memory(public_url="https://users.example.org") as (app, clock):
        await app.create_user(CreateUserCommand(email="reader@example.org"), actor=SYSTEM)
        for mail in await delivered(app):
            print(mail.to, "https://users.example.org" in mail.text, "https://users.example.org" in mail.html)
    print(ubr.__file__)

asyncio.run(main())
"""


def run(*command: str | Path, cwd: Path, **settings: str) -> str:
    """What a command prints. Errors: `AssertionError` where it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UBR_", "PYTHON", "PYTEST"))}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**kept, **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{Path(command[0]).name} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel made from it: what an index has, and what pip makes of it where it has no wheel."""
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder, cwd=ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    run(sys.executable, "-m", "pip", "wheel", "-qq", "--disable-pip-version-check", "--no-deps", "--no-build-isolation",
        "--no-index", "--wheel-dir", folder, sdist, cwd=folder)  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def committed() -> set[str]:
    """The files of the package, as git has them or would take them."""
    source = ROOT / "src"
    return {path.relative_to(source).as_posix() for path in project_files() if path.is_relative_to(source)}


def locked(*names: str) -> str:
    """These packages as requirements/dev.txt has them, with their hashes."""
    packages = re.split(r"(?m)^(?=\w)", (ROOT / "requirements" / "dev.txt").read_text())
    found = [package for package in packages if package.partition("==")[0] in names]
    assert len(found) == len(names)
    return "".join(found)


def look_into(sdist: Path, wheel: Path, subtests: pytest.Subtests) -> str:
    """What is packed. The version it says it is."""
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata: Message = email.message_from_bytes(packed.read(about))
        entry_points = packed.read(about.replace("METADATA", "entry_points.txt")).decode()

    with subtests.test("the wheel holds the package, all of it and nothing else"):
        assert {name for name in names if ".dist-info/" not in name} == committed()
        assert {name.rpartition("/")[2] for name in names if ".dist-info/licenses/" in name} == {"LICENSE"}

    with subtests.test("the sdist holds what makes the wheel"):
        with tarfile.open(sdist) as packed_source:
            (top,) = {name.partition("/")[0] for name in packed_source.getnames()}
            inside = {name.removeprefix(f"{top}/") for name in packed_source.getnames()}
        assert top == f"ubr-{metadata['Version']}"
        assert {f"src/{name}" for name in committed()} | {"pyproject.toml", "README.md", "LICENSE"} <= inside

    with subtests.test("the sdist holds what an installation is made by"):
        folders = ("deploy/", "docs/", "requirements/", "Dockerfile", ".dockerignore")
        expected = {str(path.relative_to(ROOT)) for path in project_files()}
        assert {name for name in expected if name.startswith(folders)} <= inside
        with tarfile.open(sdist) as packed_source:
            modes = {member.name.removeprefix(f"{top}/"): member.mode for member in packed_source.getmembers()}
        for script in ("deploy/compose/init", "deploy/systemd/ubr"):
            assert modes[script] & 0o111 == 0o111, script

    with subtests.test("its metadata says what pyproject.toml says"):
        required = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
        assert len(required) == len(PYPROJECT["project"]["dependencies"])
        assert metadata.get_all("Provides-Extra") == sorted(PYPROJECT["project"]["optional-dependencies"])
        assert "ubr = ubr.entrypoints.cli.main:main" in entry_points
        assert "ubr = ubr.testing.plugin" in entry_points
    return str(metadata["Version"])


def try_the_command(ubr: Path, version: str, folder: Path, subtests: pytest.Subtests) -> None:
    with subtests.test("ubr --help and --version"):
        assert "Run the service." in run(ubr, "--help", cwd=folder)
        assert run(ubr, "--version", cwd=folder) == f"ubr {version}\n"

    with subtests.test("ubr openapi prints the document of the checkout"):
        assert run(ubr, "openapi", cwd=folder) == run(Path(sys.executable).with_name("ubr"), "openapi", cwd=folder)

    with subtests.test("ubr config"):
        rows = json.loads(run(ubr, "config", "--json", cwd=folder, UBR_PORT="8123"))
        assert {row["name"]: row["value"] for row in rows}["UBR_PORT"] == "8123"

    with subtests.test("the migrations make a database"):
        run(ubr, "migrate", cwd=folder)
        run(ubr, "migrate", "--check", cwd=folder)
        with closing(sqlite3.connect(folder / "var" / "ubr.db")) as database:
            assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
            assert database.execute("SELECT name FROM roles").fetchall() == []


def try_the_library(python: Path, folder: Path, subtests: pytest.Subtests) -> None:
    with subtests.test("ubr in memory, and the templates of its mails"):
        told = run(python, "-W", "error", "-c", IN_MEMORY, cwd=folder).splitlines()
        assert told[0] == "reader@example.org True True"
        assert Path(told[-1]).is_relative_to(python.parents[1])

    with subtests.test("the program of the README, on SQLite"):
        program = next(block for block in README if "asyncio.run" in block)
        assert "reader@example.org" in run(python, "-W", "error", "-c", program, cwd=folder)

    with subtests.test("the verifier of a log"):
        assert "usage" in run(python, "-m", "ubr.audit_verifier", "--help", cwd=folder).lower()

    with subtests.test("the fixtures for pytest"):
        # Behind everything else, which has to work without pytest.
        (folder / "pytest.txt").write_text(locked("iniconfig", "packaging", "pluggy", "pygments", "pytest"))
        run(python, *PIP, *LOCKED, "-r", "pytest.txt", cwd=folder)
        (folder / "pytest.ini").write_text("[pytest]\nanyio_mode = auto\nfilterwarnings = error\n")
        (folder / "test_theirs.py").write_text(next(block for block in README if "ubr_clock" in block))
        assert "1 passed" in run(python, "-m", "pytest", "-q", cwd=folder)


def test_the_wheel(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for name in ("dist", "command", "library"):
        (tmp_path / name).mkdir()
    sdist, wheel = build(tmp_path / "dist")
    version = look_into(sdist, wheel, subtests)

    environment = tmp_path / "venv"
    python = environment / "bin" / "python"
    run(ROOT / "tools" / "make-venv", environment, cwd=ROOT, PYTHON=sys.executable)
    run(python, *PIP, *LOCKED, "-r", ROOT / "requirements" / "run.txt", cwd=tmp_path)
    run(python, *PIP, "--no-deps", "--no-index", wheel, cwd=tmp_path)
    with subtests.test("what it requires is locked"):
        run(python, "-m", "pip", "check", "--disable-pip-version-check", cwd=tmp_path)

    try_the_command(environment / "bin" / "ubr", version, tmp_path / "command", subtests)
    try_the_library(python, tmp_path / "library", subtests)
