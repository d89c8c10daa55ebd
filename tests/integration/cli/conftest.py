"""The real `ubr`, as processes of their own in folders of their own."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.integration.cli.kit import Ended, Run, Serve
from tests.support import commands
from tests.support.commands import clean_environment
from tests.support.servers import free_port
from tests.support.service import UbrProcess, serving
from ubr.entrypoints.cli.main import main


@pytest.fixture
def ubr(tmp_path: Path) -> Run:
    """Run a command in this test's folder, with settings by keyword."""

    def run(*arguments: str, stdin: str | bytes = "", folder: Path = tmp_path, **settings: str) -> Ended:
        if arguments[:1] == ("serve",):
            # Somebody may have a service running on the usual one.
            settings = {"UBR_PORT": str(free_port()), **settings}
        typed = stdin if isinstance(stdin, bytes) else stdin.encode()
        environment = clean_environment(**settings)
        return Ended(*commands.run(*arguments, folder=folder, environment=environment, typed=typed))

    return run


@pytest.fixture
def in_process(ubr: Run, tmp_path: Path) -> Run:
    """The same in this process, but for `serve`: to start one takes longer than what most commands do."""

    def run(*arguments: str, stdin: str | bytes = "", folder: Path = tmp_path, **settings: str) -> Ended:
        if arguments[:1] == ("serve",):
            return ubr(*arguments, stdin=stdin, folder=folder, **settings)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            for name in [name for name in os.environ if name.startswith("UBR_")]:  # noqa: TID251 - to have none of them
                patch.delenv(name)
            for name, value in settings.items():
                patch.setenv(name, value)
            done = CliRunner().invoke(main, arguments, input=stdin, prog_name="ubr")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Ended(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start services in this test's folder."""
    with ExitStack() as stack:

        def start(*, script: bool = False, **settings: str) -> UbrProcess:
            service = UbrProcess(tmp_path, settings, script=script)
            stack.callback(service.kill)
            return service

        yield start


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UbrProcess]:
    """One service, with nothing set, for all tests of a module that leave it as it is."""
    with serving(tmp_path_factory.mktemp("service")) as running:
        yield running
