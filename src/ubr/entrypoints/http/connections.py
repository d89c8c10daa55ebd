"""The connections of a process: a share for each client, and an end for those whose client does not read or write.

The server waits without a limit for a client that does not read, and its one time limit for the head of a request is
also that of an unused connection. So this module looks at the sockets of the process itself, on Linux.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from enum import Enum, auto
from typing import Final, TypeAlias

import msgspec

from ubr.application.kernel.origin import Origin
from ubr.domain.errors import RateLimited
from ubr.entrypoints.http.client_ip import is_proxy
from ubr.settings import TrustedProxies

Peer: TypeAlias = tuple[str, int]
"""The address and port of the other end."""

HEAD_SECONDS: Final = 10.0
"""The time limit for the head of a request, from its first byte or, on a new connection, from the start."""
UNREAD_SECONDS: Final = 60.0
"""The time limit for reading a response, from its start to its last byte."""
PROBES: Final = "/health/"
"""The start of the paths that are answered however many requests of the client are running."""

_INTERVAL: Final = 0.25
_SHARE: Final = 25
"""The wait before the next look is at least this many times the duration of the last one."""
_RETRY_AFTER: Final = 1
_FOLDER: Final = "/proc/self/fd"
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
# `struct tcp_info` of linux/tcp.h: tcpi_unacked, tcpi_bytes_received, tcpi_notsent_bytes.
_INFO_SIZE: Final = 148
_UNACKED: Final = struct.Struct("@24xI")
_RECEIVED: Final = struct.Struct("@128xQ")
_NOT_SENT: Final = struct.Struct("@144xI")


class _State(Enum):
    ANSWERING = auto()
    UNREAD = auto()
    """The response is written, and the client has not read all of it."""
    UNFINISHED = auto()
    """The client has not sent the whole head of a request."""
    UNUSED = auto()


class _Exchange:
    """A request on a connection. Every request enters one: a generator would take twice as long."""

    __slots__ = ("_client", "_connections", "_peer")

    def __init__(self, connections: Connections, peer: Peer | None, client: str | None) -> None:
        self._connections = connections
        self._peer = peer
        self._client = client

    def __enter__(self) -> RateLimited | None:
        running = self._connections.began(self._peer, self._client)
        if running <= self._connections.limit:
            return None
        return RateLimited(_RETRY_AFTER, "Too many requests of this client are running")

    def __exit__(self, *_: object) -> None:
        self._connections.ended(self._peer, self._client)


class _Exchanges(msgspec.Struct):
    """The requests on a connection."""

    running: int = 0
    finished: int = 0


class _Seen(msgspec.Struct):
    """A connection, since an earlier look."""

    state: _State
    since: float
    finished: int
    received: int
    """The bytes received when the last response was complete."""


class Connections(msgspec.Struct):
    """The connections and the running requests of one process.

    `limit` is the maximum for each client, of either. Connections of trusted proxies have no limit, because they carry
    the requests of many clients.
    """

    limit: int
    trusted: TrustedProxies = ()
    clock: Callable[[], float] = time.monotonic
    _exchanges: dict[Peer, _Exchanges] = msgspec.field(default_factory=dict)
    _running: Counter[str | None] = msgspec.field(default_factory=Counter)
    _seen: dict[Peer, _Seen] = msgspec.field(default_factory=dict)
    _overdue: dict[Peer, _Seen] = msgspec.field(default_factory=dict)
    """The connections that the last look found over a time limit."""
    _aborted: set[Peer] = msgspec.field(default_factory=set)

    def exchange(self, peer: Peer | None, origin: Origin) -> AbstractContextManager[RateLimited | None]:
        """Count a request while it runs. The context has an error if its client has too many."""
        return _Exchange(self, peer, origin.network)

    def began(self, peer: Peer | None, client: str | None) -> int:
        """Count a request that begins. Returns the number of running ones of its client."""
        if peer is not None:
            exchanges = self._exchanges.get(peer)
            if exchanges is None:
                exchanges = self._exchanges[peer] = _Exchanges()
            exchanges.running += 1
        running = self._running[client] = self._running.get(client, 0) + 1
        return running

    def ended(self, peer: Peer | None, client: str | None) -> None:
        """Count a request that ends."""
        running = self._running.pop(client) - 1
        if running:
            self._running[client] = running
        if peer is not None:
            exchanges = self._exchanges[peer]
            exchanges.running -= 1
            exchanges.finished += 1

    def abort(self, peer: Peer) -> None:
        """Close a connection at the next look, whatever it still has to send."""
        self._aborted.add(peer)

    def look(self, port: int) -> int:
        """Close the connections on this port that are over a limit. Returns their number. Does nothing but on Linux.

        A connection over a time limit is closed at the second look that finds it there. The first one may come after a
        pause of the whole process: then a request has arrived in time, and starts before the second one.
        """
        if sys.platform != "linux":
            return 0
        now = self.clock()
        with ExitStack() as opened:
            try:
                present = _present(port, opened)
            except OSError as error:
                if error.errno in _NO_FILES:  # there is no room for the duplicates, and others may have room next time
                    return 0
                raise
            for peer, connection in present.items():
                self._observe(peer, connection, now)
            self._forget(present)
            closing = (self._aborted & present.keys()) | self._twice_overdue(now)
            closing |= set(self._surplus((peer for peer in present if peer not in closing), now))
            for peer in closing:
                # The client gets a reset instead of the rest, and the kernel discards what it has not read.
                with suppress(OSError):
                    present[peer].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    present[peer].shutdown(socket.SHUT_RDWR)
            self._aborted.clear()
        return len(closing)

    def watch(self, loop: asyncio.AbstractEventLoop, port: int) -> None:
        """Look again and again, for as long as the loop runs."""
        began = time.monotonic()
        try:
            self.look(port)
        finally:
            loop.call_later(max(_INTERVAL, _SHARE * (time.monotonic() - began)), self.watch, loop, port)

    def _observe(self, peer: Peer, connection: socket.socket, now: float) -> None:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
        (received,) = _RECEIVED.unpack_from(info)
        exchanges = self._exchanges.get(peer, _Exchanges())
        seen = self._seen.get(peer)
        complete = seen is not None and seen.finished == exchanges.finished
        at_rest = seen.received if seen is not None and complete else received if exchanges.finished else 0
        if exchanges.running:
            state = _State.ANSWERING
        elif _UNACKED.unpack_from(info)[0] or _NOT_SENT.unpack_from(info)[0]:
            state = _State.UNREAD
        elif not exchanges.finished or received > at_rest:
            state = _State.UNFINISHED
        else:
            state = _State.UNUSED
        if seen is None or not complete or seen.state is not state:
            self._seen[peer] = _Seen(state, now, exchanges.finished, at_rest)

    def _forget(self, present: dict[Peer, socket.socket]) -> None:
        for peer in self._seen.keys() - present.keys():
            del self._seen[peer]
        for peer in [peer for peer, each in self._exchanges.items() if peer not in present and not each.running]:
            del self._exchanges[peer]

    def _twice_overdue(self, now: float) -> set[Peer]:
        """The connections over a time limit, now and at the last look."""
        before = self._overdue
        self._overdue = {peer: seen for peer, seen in self._seen.items() if self._is_overdue(seen, now)}
        return {peer for peer, seen in self._overdue.items() if before.get(peer) is seen}

    @staticmethod
    def _is_overdue(seen: _Seen, now: float) -> bool:
        passed = now - seen.since
        return (seen.state is _State.UNFINISHED and passed > HEAD_SECONDS) or (
            seen.state is _State.UNREAD and passed > UNREAD_SECONDS
        )

    def _surplus(self, peers: Iterable[Peer], now: float) -> Iterator[Peer]:
        """The connections of each client beyond its limit: those without a request, the longest unused first."""
        clients: dict[str | None, list[Peer]] = {}
        for peer in peers:
            if not is_proxy(peer[0], self.trusted):
                clients.setdefault(Origin(ip=peer[0]).network, []).append(peer)
        for own in clients.values():
            if (excess := len(own) - self.limit) > 0:
                # Between the arrival of a request and its start, a connection looks unused.
                idle = [peer for peer in own if self._seen[peer].state is not _State.ANSWERING]
                idle = [peer for peer in idle if self._seen[peer].since < now]
                yield from sorted(idle, key=lambda peer: self._seen[peer].since)[:excess]


def _present(port: int, opened: ExitStack) -> dict[Peer, socket.socket]:
    """The accepted connections on this port, each as a duplicate: its number stays the same socket until it is closed.

    The server may close its own descriptor at any time, and the kernel gives the number to another file. The caller
    closes the duplicates by `opened`. Errors: `OSError` if the process may open no more files.
    """
    present: dict[Peer, socket.socket] = {}
    for name in os.listdir(_FOLDER):  # noqa: PTH208 - 1,000 paths at each look would cost more
        connection = _duplicate(name)
        if connection is None:
            continue
        try:
            own, peer = connection.getsockname(), connection.getpeername()
        except OSError:  # not connected
            own, peer = None, None
        place = (peer[0].partition("%")[0], peer[1]) if isinstance(own, tuple) and own[1] == port else None
        if place is None or place in present:
            connection.close()
        else:
            present[place] = opened.enter_context(connection)
    return present


def _duplicate(name: str) -> socket.socket | None:
    """The socket with this number; None for any other file.

    Any other file is neither duplicated nor closed. When a process closes any descriptor of a file, it loses
    its locks on that file (fcntl(2)), and an SQLite database without its locks is soon damaged.
    """
    try:
        if not os.readlink(f"{_FOLDER}/{name}").startswith("socket:"):  # noqa: PTH115 - as above
            return None
        number = os.dup(int(name))
    except OSError as error:
        if error.errno in _NO_FILES:
            raise
        return None  # it was closed in the meantime
    try:
        return socket.socket(fileno=number)
    except OSError:
        # The number became another file after the look at it: that one duplicate stays open.
        return None
