"""The real `ubr`, as processes of their own in folders of their own."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.cli.kit import PATIENCE, UBR, Ended, Run, Serve, Service, environment


@pytest.fixture
def ubr(tmp_path: Path) -> Run:
    """Run a command in this test's folder, with settings by keyword."""

    def run(*arguments: str, stdin: str | bytes = "", folder: Path = tmp_path, **settings: str) -> Ended:
        done = subprocess.run(  # noqa: S603 - the arguments are the tests'
            [UBR, *arguments],
            cwd=folder,
            env=environment(**settings),
            input=stdin if isinstance(stdin, bytes) else stdin.encode(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start services, by default in this test's folder."""
    with ExitStack() as stack:

        def start(port: int | None = None, *, folder: Path = tmp_path, **settings: str) -> Service:
            service = Service.start(folder, port, **settings)
            stack.callback(service.end)
            return service

        yield start


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service, with nothing set, for all tests of a module that leave it as it is."""
    running = Service.start(tmp_path_factory.mktemp("service"))
    try:
        yield running.ready()
    finally:
        running.end()
