"""A release on a bare Debian: the page about the installation as it stands, with only the files of the release.

debootstrap makes the system. The test needs root and Debian's packages; with UBR_TEST_INSTALL=1 it installs a missing
debootstrap.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.packaging.conftest import RELEASED
from tests.packaging.debian import debian, ran, shell
from tests.support.commands import PATIENCE
from tests.support.papers import blocks_of
from tests.support.servers import free_port

pytestmark = pytest.mark.long


@pytest.fixture
def system(tmp_path: Path, released: Path) -> Path:
    """The folder of a bare Debian, with the files of the release in its folder `srv/release`."""
    return debian(tmp_path / "debian", released)


@contextmanager
def running(command: list[str | Path]) -> Iterator[list[str]]:
    """A service, with the lines that it printed up to its address. It has to end well."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as service:
        assert service.stdout is not None
        lines = []
        try:
            for line in service.stdout:
                lines.append(line)
                if "/api/docs" in line:
                    break
            yield lines
        finally:
            os.killpg(service.pid, signal.SIGTERM)
            service.wait(PATIENCE)
    assert service.returncode == 0


def test_the_page_about_the_installation(system: Path) -> None:
    check, install, download, start = (block.text for block in blocks_of("docs/operations/install.md", "sh"))
    said = ran(*shell(system, "/srv/release", check + install))
    assert said.count(": OK\n") == 8
    assert said.endswith(f"ubr {RELEASED}\n")

    port = free_port()
    # As on a terminal.
    with running(shell(system, "/", start, UBR_PORT=str(port), UBR_LOG_FORMAT="text")) as lines:
        words = [line.split() for line in lines]
        printed = {line[0]: line[1] for line in words if len(line) == 2}
        login = {"email": printed["e-mail"], "password": printed["password"]}
        answer = httpx.post(f"http://127.0.0.1:{port}/api/auth/login", json=login, timeout=PATIENCE)
        assert "admin" in answer.json()["user"]["roles"]
    assert (system / "var" / "lib" / "ubr" / "var" / "ubr.db").exists()

    # Without a network: pip has no index, and no environment yet.
    shutil.rmtree(system / "opt")
    ran(*shell(system, "/srv/release", download))
    offline = install.replace("--find-links .", "--no-index --find-links wheels")
    assert offline != install
    cut = ["unshare", "--net", *shell(system, "/srv/release", offline)]
    assert ran(*cut).endswith(f"ubr {RELEASED}\n")

    # A stranger's package with the same name and version.
    (wheel,) = (system / "srv" / "release").glob("ubr-*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    shutil.rmtree(system / "opt")
    done = subprocess.run(shell(system, "/srv/release", install), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (system / "opt" / "ubr" / "bin" / "ubr").exists()
