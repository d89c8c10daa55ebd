"""A process that has loaded all of `ubr` and forks for each command that a test runs.

Loading `ubr` takes most of a second; a fork of a loaded process takes almost no time. The fork runs the same code as
the console script, with its own arguments, folder, environment and standard streams, and ends as any program does. This
module imports only the standard library before it is told to load the rest: `tests.support.commands` runs it as a
script.

Protocol on standard input, a socket that keeps the bounds of messages, so that several processes can write to it: a
request is a message of JSON, with four file descriptors: the three standard streams, and one for the replies: first the
number of the new process, later its exit status.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

LOADED = (
    "ubr.entrypoints.cli.supervisor",
    "ubr.entrypoints.http.asgi",
    "ubr.adapters.redis",
    "ubr.adapters.sql.migrations",
    "aiosqlite",
    "asyncpg",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "rich.console",
    "rich.table",
    "uvloop",
)
"""Modules that import all others. A missing one costs time and has no other effect."""
LONGEST = 200_000
"""Bytes of a request: more than one has, and less than a socket holds."""


class Wish(TypedDict):
    """A command to run."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    room: bool
    """Whether it has the deadlines of tests instead of those of production."""


def send(control: socket.socket, wish: Wish, files: list[int]) -> None:
    """Send a request with its file descriptors."""
    socket.send_fds(control, [json.dumps(wish).encode()], files)


def _receive(control: socket.socket) -> tuple[Wish, list[int]] | None:
    """The next request; None when the socket is closed."""
    text, files, _, _ = socket.recv_fds(control, LONGEST, 4)
    if not text:
        return None
    wish: Wish = json.loads(text)
    return wish, files


def _tell(status: int, number: int) -> None:
    with suppress(BrokenPipeError):  # the starting process no longer waits for it
        os.write(status, f"{number}\n".encode())


def fork_for_each(control: socket.socket) -> list[str]:
    """Fork on each request. Returns in each new process, with its arguments; ends with the tests."""
    running: dict[int, int] = {}
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    # Ctrl-C reaches the commands directly.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            while running:
                pid, how = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                status = running.pop(pid)
                _tell(status, os.waitstatus_to_exitcode(how))
                os.close(status)
        if control.fileno() not in ready:
            continue
        wanted = _receive(control)
        if wanted is None:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
            sys.exit()
        wish, files = wanted
        *streams, status = files
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for own in (woken, wake, status, *running.values()):
                os.close(own)
            return _become(wish, streams)
        running[pid] = status
        _tell(status, pid)
        for stream in streams:
            os.close(stream)


def _become(wish: Wish, streams: list[int]) -> list[str]:
    """Apply the settings that a new process gets from its parent."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # type: ignore[misc]  # noqa: SIM115
        2, "w", buffering=1, errors="backslashreplace", closefd=False
    )
    os.chdir(wish["folder"])
    os.environ.clear()
    os.environ.update(wish["environment"])
    if wish["room"]:
        runpy.run_path(str(Path(__file__).with_name("room.py")))["give_room"]()
    return wish["arguments"]


if __name__ == "__main__":
    for module in LOADED:
        importlib.import_module(module)
    from ubr.entrypoints.cli.main import main

    gc.collect()
    gc.freeze()  # memory shared by all copies must not be written to by their garbage collectors
    sys.argv = [str(Path(sys.executable).with_name("ubr")), *fork_for_each(socket.socket(fileno=os.dup(0)))]
    sys.exit(main())
