"""The previous version of ubr, for tests that run it beside this one."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from io import BytesIO

import pytest

from tests.support.environments import PREVIOUS, ROOT, run


def previous_commit() -> str:
    """The commit of the previous version. Errors: `AssertionError` if it is not in this clone."""
    listed = run("git", "tag", "--list", "v[0-9]*", "--merged", "HEAD", "--no-contains", "HEAD", "--sort=-v:refname")
    named = PREVIOUS or next(iter(listed.split()), "HEAD^")
    return run("git", "rev-parse", "--verify", f"{named}^{{commit}}").strip()


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program `ubr` of the previous version, in an environment of its own."""
    folder = tmp_path_factory.mktemp("previous")
    source, environment = folder / "source", folder / "environment"
    packed = subprocess.run(  # noqa: S603 - git on this repository
        ["git", "archive", previous_commit()],  # noqa: S607 - looked for on PATH
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(source, filter="data")
    run(ROOT / "tools" / "make-venv", environment, PYTHON=sys.executable)
    python = environment / "bin" / "python"
    pip = (python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input", "--no-deps")
    locks = ("-r", source / "requirements" / "build.txt", "-r", source / "requirements" / "run.txt")
    run(*pip, "--require-hashes", *locks)
    run(*pip, "--no-build-isolation", source, SETUPTOOLS_SCM_PRETEND_VERSION="0.0.0.dev0")
    return str(environment / "bin" / "ubr")
