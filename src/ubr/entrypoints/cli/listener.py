"""The listening socket of a worker on Linux, with limits for clients that neither write nor read."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any, Final

from granian._granian import SocketHolder
from granian.server import MPServer

from ubr.entrypoints.http.connections import HEAD_SECONDS, UNREAD_SECONDS

BACKLOG: Final = 1024
_SEND_BUFFER_BYTES: Final = 64 * 1024
"""Linux reserves twice as much. By default it grows to 4 MiB for each connection."""
_RESERVED: Final = 128
"""The file descriptors of a process for other purposes than connections."""
_LEAST: Final = 16


def open_listener(address: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet. Several workers can have one each. Accepted sockets inherit its options.

    Errors: `OSError`.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        # A client that sends nothing stays in the kernel for about this long, and takes no descriptor.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, int(HEAD_SECONDS))
        # The kernel ends a connection that takes no byte at all for this long.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_SECONDS * 1000))
        listener.bind((address, port))
    except OSError:
        listener.close()
        raise
    return listener


def run_worker(address: str, port: int, number: int, name: str | None, loader: Any, _socket: Any, *rest: Any) -> None:
    """The work of a process of the server, on a listening socket of its own. `number` counts the workers from 1."""
    holder = SocketHolder(open_listener(address, port).detach(), False, BACKLOG)  # type: ignore[call-arg]
    load = partial(loader, number=number - 1)
    MPServer._spawn_asgi_lifespan_worker(number, name, load, ((None, holder), None), *rest)  # noqa: SLF001


def allowed_connections(wanted: int) -> int:
    """The number of connections for which each process has file descriptors, at most as many as wanted.

    Raises the limit of descriptors for this process and its forks if it is too low and may be raised. Beyond the limit,
    the server would try to accept again and again, and the databases could not be reached.
    """
    import resource  # noqa: PLC0415 - Windows does not have it

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _RESERVED
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return _within(soft, wanted)


def possible_connections(wanted: int) -> int:
    """The result of `allowed_connections` in a process with the limits of this one. Changes no limit."""
    import resource  # noqa: PLC0415 - Windows does not have it

    return _within(resource.getrlimit(resource.RLIMIT_NOFILE)[1], wanted)


def _within(descriptors: int, wanted: int) -> int:
    """The number of connections for which a limit of descriptors, possibly -1 for none, is high enough."""
    import resource  # noqa: PLC0415 - Windows does not have it

    if descriptors == resource.RLIM_INFINITY or descriptors >= wanted + _RESERVED:
        return wanted
    return max(_LEAST, descriptors - _RESERVED)
