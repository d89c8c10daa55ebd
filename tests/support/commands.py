"""Runs `ubr` as a separate process; all tests use this module."""

from __future__ import annotations

import atexit
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, mkstemp
from typing import Protocol
from weakref import finalize

from tests.support import warm, warm_script

UBR = str(Path(sys.executable).with_name("ubr"))
"""The installed console script."""
PATIENCE = 60.0
"""Seconds after which a process counts as hanging: many times its duration on a fully loaded machine."""


def clean_environment(**settings: str) -> dict[str, str]:
    """The environment of the tests, with only these settings of ubr, for a process as in an installation."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UBR_")}
    return {**kept, "PYTHONPATH": str(Path(__file__).parent / "absent"), **settings}


class Kept:
    """An unnamed file for the input or output of a process; it is deleted with this object."""

    def __init__(self, content: bytes = b"") -> None:
        self._file, path = mkstemp()
        finalize(self, os.close, self._file)
        Path(path).unlink()
        os.pwrite(self._file, content, 0)

    def fileno(self) -> int:
        return self._file

    @property
    def text(self) -> str:
        """Its complete content so far, independently of any read position."""
        return os.pread(self._file, os.fstat(self._file).st_size, 0).decode(errors="replace")


class Process(Protocol):
    """A started process, with the names of `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class _Copy:
    """A copy of the warm process."""

    def __init__(self, said: int) -> None:
        self._said = os.fdopen(said, "rb", buffering=0)
        self.returncode: int | None = None
        self.pid = self._read()

    def _read(self) -> int:
        line = self._said.readline()
        assert line, "the process that forks for each command is gone: see its standard error"
        return int(line)

    def poll(self) -> int | None:
        return self._within(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired([UBR], timeout or 0)
        return code

    def _within(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._said], [], [], seconds)[0]:
            self.returncode = self._read()
            self._said.close()
        return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Warm:
    """The warm process of this test process, started by the first command."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None

    def start(self, wish: warm.Wish, files: list[int]) -> _Copy:
        said, tell = os.pipe()
        try:
            warm.send(self.control, wish, [*files, tell])
        finally:
            os.close(tell)
        return _Copy(said)

    @property
    def control(self) -> socket.socket:
        """The socket for requests."""
        with self._lock:
            if self._control is None:
                self._control = self._begin()
            return self._control

    @staticmethod
    def _begin() -> socket.socket:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            process = subprocess.Popen(
                # No module beside this script may shadow an import.
                [sys.executable, "-P", warm.__file__],
                cwd="/",
                env=clean_environment(),
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
            )

        def end() -> None:
            ours.close()
            process.wait(PATIENCE)

        atexit.register(end)
        return ours


_warm = _Warm()


def start(
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str],
    out: Kept,
    err: Kept,
    typed: bytes = b"",
    script: bool = False,
    room: bool = False,
    program: str | None = None,
) -> Process:
    """Start `ubr` with these arguments, as a fork of a process that has loaded it, or through the console script.

    `program` is the console script of another installation. Only Linux can fork what has loaded this much; elsewhere it
    is always the script. A copy with `room` has the deadlines of tests, see `tests.support.room`: for what is said,
    where it does not matter how soon.
    """
    given = Kept(typed)
    files = [given.fileno(), out.fileno(), err.fileno()]
    if script or program or sys.platform != "linux":
        stdin, stdout, stderr = files
        return subprocess.Popen(
            [program or UBR, *arguments], cwd=folder, env=environment, stdin=stdin, stdout=stdout, stderr=stderr
        )
    wish = warm.Wish(arguments=[*arguments], folder=str(folder), environment={**environment}, room=room)
    return _warm.start(wish, files)


def run(
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str],
    typed: bytes = b"",
    script: bool = False,
    program: str | None = None,
) -> tuple[int, str, str]:
    """Run a command until it ends. Returns its exit code, its output, and its error output."""
    out, err = Kept(), Kept()
    process = start(
        *arguments,
        folder=folder,
        environment=environment,
        out=out,
        err=err,
        typed=typed,
        script=script,
        program=program,
    )
    try:
        code = process.wait(PATIENCE)
    finally:
        process.kill()
    return code, out.text, err.text


def shell(*programs: str, folder: Path, typed: str = "", script: bool = False) -> subprocess.CompletedProcess[str]:
    """Run these lines in a shell that stops at the first error and finds `ubr` and `python` of this environment.

    `ubr` is a fork of the warm process, as in `start`, or with `script` the console script.
    """
    with TemporaryDirectory() as place:
        environment = {**clean_environment(), "PATH": f"{Path(UBR).parent}:/usr/bin:/bin"}
        passed: tuple[int, ...] = ()
        if not script and sys.platform == "linux":
            passed = (_warm.control.fileno(),)
            warm_ubr = Path(place, "ubr")
            run_it = shlex.join([sys.executable, "-I", "-S", warm_script.__file__])
            warm_ubr.write_text(f'#!/bin/sh\nexec {run_it} "$@"\n')
            warm_ubr.chmod(0o755)
            environment |= {"PATH": f"{place}:{environment['PATH']}", warm_script.SOCKET: str(*passed)}
        return subprocess.run(
            ["/bin/sh", "-eu", "-c", "\n".join(programs)],
            cwd=folder,
            input=typed,
            env=environment,
            pass_fds=passed,
            capture_output=True,
            text=True,
            timeout=10 * PATIENCE,
            check=False,
        )
