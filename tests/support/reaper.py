"""Process trees: freeze, thaw and kill them, and clean up after a test run that was itself killed.

Standard library only, because it also runs as a script: `python reaper.py` reads from its standard input what to watch.
When the input ends, however the writer died, it kills and deletes everything still on the list.
"""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

_DEADLINE = 60.0
_POLL = 0.005


def _processes() -> dict[int, tuple[int, str]]:
    """Every process, with its parent and its state letter."""
    table: dict[int, tuple[int, str]] = {}
    if Path("/proc/self/stat").exists():
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    stat = (entry / "stat").read_text(errors="replace")
                except OSError:
                    continue  # it ended in the meantime
                # The name, in parentheses, may itself contain blanks and parentheses.
                state, parent, *_ = stat.rpartition(")")[2].split()
                table[int(entry.name)] = (int(parent), state)
        return table
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,state="], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        pid, parent, state = line.split()
        table[int(pid)] = (int(parent), state)
    return table


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # already gone
        os.kill(pid, number)


def _below(root: int, table: dict[int, tuple[int, str]]) -> list[int]:
    found = [root]
    for pid in found:  # grows during the loop
        found += [child for child, (parent, _) in table.items() if parent == pid and child not in found]
    return found[1:]


def children(root: int) -> list[int]:
    """The running children of a process."""
    return [pid for pid, (parent, state) in _processes().items() if parent == root and state[0] not in "ZX"]


def freeze(root: int) -> list[int]:
    """Stop a process and all its descendants; returns them, parents before children.

    A parent is stopped before its children are listed, so that no child is missed.
    """
    frozen = [root]
    _send(root, signal.SIGSTOP)
    deadline = time.monotonic() + _DEADLINE
    while True:
        table = _processes()
        born = [pid for pid in _below(root, table) if pid not in frozen]
        for pid in born:
            _send(pid, signal.SIGSTOP)
        frozen += born
        running = [pid for pid in frozen if pid in table and table[pid][1][0] not in "TtZX"]
        if not born and not running:
            return frozen
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {running or born} did not stop")
        time.sleep(_POLL)


def thaw(root: int) -> None:
    """Resume a frozen process and all its descendants."""
    # Children first: a parent that resumes early could take an unresponsive child for a dead one.
    for pid in [*reversed(_below(root, _processes())), root]:
        _send(pid, signal.SIGCONT)


def kill_tree(root: int) -> None:
    """Kill a process and all its descendants with SIGKILL, and wait until none is running."""
    doomed = freeze(root)
    for pid in doomed:
        _send(pid, signal.SIGKILL)
    deadline = time.monotonic() + _DEADLINE
    while True:
        table = _processes()
        # A zombie holds no port, memory or file.
        left = [pid for pid in doomed if pid in table and table[pid][1][0] not in "ZX"]
        if not left:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {left} survived SIGKILL")
        time.sleep(_POLL)


class Reaper:
    """The writing end: one helper process for everything that this process starts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0

    def watch(self, what: int | Path) -> None:
        """Kill this process, or delete this folder, if this process dies without doing so."""
        self._tell("+", what)

    def forget(self, what: int | Path) -> None:
        self._tell("-", what)

    def _tell(self, sign: str, what: int | Path) -> None:
        with self._lock:
            if self._process is None or self._owner != os.getpid():
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", __file__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    text=True,
                    start_new_session=True,  # Ctrl-C in the terminal must not reach it
                )
                self._owner = os.getpid()
                atexit.register(self._close)
            assert self._process.stdin is not None
            self._process.stdin.write(f"{sign}{what}\n")
            self._process.stdin.flush()

    def _close(self) -> None:
        if self._process is not None and self._owner == os.getpid():
            self._process.communicate()
            self._process = None


reaper = Reaper()


def main() -> None:
    watched: dict[str, None] = {}
    for line in sys.stdin:
        sign, what = line[0], line[1:].rstrip("\n")
        if sign == "+":
            watched[what] = None
        else:
            watched.pop(what, None)
    for what in watched:
        if what.isdigit():
            try:
                kill_tree(int(what))
            except (OSError, TimeoutError):
                continue  # clean up the others all the same
    for what in watched:
        if not what.isdigit():
            shutil.rmtree(what, ignore_errors=True)


if __name__ == "__main__":
    main()
