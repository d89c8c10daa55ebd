"""Runs `ubr` in a fork of the warm process, for programs that start it by its name, such as a shell.

`tests.support.commands.shell` puts it on the path as `ubr`, and gives it the socket of the warm process. Only what it
needs from the standard library is imported, because each command of a shell starts it.
"""

import json
import os
import signal
import socket
import sys

SOCKET = "WARM_SOCKET"
"""The variable with the descriptor of the socket."""


def main() -> int:
    control = socket.socket(fileno=int(os.environ.pop(SOCKET)))
    folder = os.getcwd()  # noqa: PTH109 - pathlib is slow to import
    wish = {"arguments": sys.argv[1:], "folder": folder, "environment": dict(os.environ), "room": False}
    said, tell = os.pipe()
    socket.send_fds(control, [json.dumps(wish).encode()], [0, 1, 2, tell])
    os.close(tell)
    with os.fdopen(said) as replies:
        _, status = map(int, replies)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


if __name__ == "__main__":
    sys.exit(main())
