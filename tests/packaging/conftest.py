"""The files of a release, made from a copy of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.environments import ROOT, programs_of
from tools.check_files import project_files

RELEASED = "99.1.0"
"""The version of the release in the tests."""


def git(copy: Path, *words: str) -> str:
    identity = ("-c", "user.name=Tests", "-c", "user.email=tests@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *identity, *words],  # noqa: S607 - git is looked for on PATH
        cwd=copy,
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    ).stdout


def commit_all(copy: Path, message: str) -> None:
    git(copy, "add", "--all")
    git(copy, "commit", "--quiet", "--allow-empty", "--no-verify", "--message", message)


def make_release(copy: Path, into: Path) -> subprocess.CompletedProcess[str]:
    """`make release-check` in a copy of the checkout, with the environments of this checkout."""
    tools = programs_of("release")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UBR_", "PYTHON", "PYTEST"))}
    return subprocess.run(
        [sys.executable, "-m", "tools.release", "--tools", tools, "--into", into],
        cwd=copy,
        env=kept,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the files of the checkout as they are now, committed, and without the tags of versions."""
    copy = tmp_path_factory.mktemp("copy") / "ubr"
    git(ROOT, "clone", "--quiet", "--shared", str(ROOT), str(copy))
    for tag in git(copy, "tag", "--list", "v[0-9]*").split():
        git(copy, "tag", "--delete", tag)
    kept = {path.relative_to(ROOT) for path in project_files()} | {Path("tools/check_files.py")}
    for name in git(copy, "ls-files", "-z").split("\0")[:-1]:
        if Path(name) not in kept:
            (copy / name).unlink()
    for path in kept:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, copy / path)
    commit_all(copy, "The files of the checkout")
    return copy


@pytest.fixture(scope="module")
def released(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the files of a tagged release, made as DEVELOPMENT.md describes."""
    towncrier = Path(sys.executable).with_name("towncrier")
    subprocess.run([towncrier, "build", "--yes", "--version", RELEASED], cwd=copy, check=True, capture_output=True)
    commit_all(copy, RELEASED)
    git(copy, "tag", f"v{RELEASED}")
    dist = tmp_path_factory.mktemp("release") / "dist"
    done = make_release(copy, dist)
    assert done.returncode == 0, done.stdout + done.stderr
    return dist
