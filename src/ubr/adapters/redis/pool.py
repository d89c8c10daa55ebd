"""Connection pool: as many connections as needed, up to a maximum."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

Make: TypeAlias = Callable[[], AbstractConnection]


class Pool:
    """Connections to one server; each caller limits its own time.

    The client library's own pool connects in the task of the caller, which waits at most a tenth of a second: a longer
    handshake would be cancelled every time, and never finish. Here the handshake continues without the caller, and the
    connection is there for the next one.
    """

    def __init__(self, make: Make, *, size: int, connect_deadline: float) -> None:
        self._make = make
        self._size = size
        self._connect_deadline = connect_deadline
        self._count = 0  # of connections, in any state
        self._idle: list[AbstractConnection] = []
        self._waiting: deque[asyncio.Future[AbstractConnection]] = deque()
        self._attempts = 0  # to open one, still in progress
        self._opening: set[asyncio.Task[None]] = set()
        self._closed = False
        self._stale: set[AbstractConnection] = set()
        """Connections in use that must not be used again."""
        self._used: set[AbstractConnection] = set()

    @property
    def count(self) -> int:
        """Number of connections, including those being opened."""
        return self._count

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AbstractConnection]:
        """A connection for one caller.

        It is returned to the pool only after whole replies. In every other case, above all if the caller is cancelled,
        a reply may still be on its way, and the next caller would take it for its own. The connection is then closed.
        """
        connection = await self._take()
        self._used.add(connection)
        try:
            yield connection
        except ResponseError:  # an error, but a whole reply
            await self._put(connection)
            raise
        except BaseException:
            await self._drop(connection)
            raise
        await self._put(connection)

    async def renew(self) -> None:
        """Close every connection and open new ones from now on. A connection in use closes when its caller is done."""
        self._stale |= self._used
        for opening in self._opening:
            opening.cancel()
        idle, self._idle = self._idle, []
        for connection in idle:
            await self._drop(connection)

    async def close(self) -> None:
        """Close every connection; those in use when their callers are done. A second call does nothing."""
        self._closed = True
        for opening in self._opening:
            opening.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(ConnectionError("closed"))
        idle, self._idle = self._idle, []
        self._count -= len(idle)
        await asyncio.gather(*(connection.disconnect() for connection in idle), return_exceptions=True)

    # From here on, only the marked lines wait, so that a caller that is being cancelled can still clean up.

    async def _take(self) -> AbstractConnection:
        while self._idle:
            connection = self._idle.pop()
            if await _is_clean(connection):
                return connection
            await self._drop(connection)
        if self._closed:
            raise ConnectionError("closed")
        waiting: asyncio.Future[AbstractConnection] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._open_more()
        try:
            return await waiting  # here
        except BaseException:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                await self._put(waiting.result())  # it arrived at the moment of cancellation
            raise
        finally:
            with suppress(ValueError):
                self._waiting.remove(waiting)

    async def _put(self, connection: AbstractConnection) -> None:
        self._used.discard(connection)
        if self._closed or connection in self._stale:
            await self._drop(connection)
            return
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(connection)
                return
        self._idle.append(connection)

    async def _drop(self, connection: AbstractConnection) -> None:
        self._count -= 1
        self._used.discard(connection)
        self._stale.discard(connection)
        with suppress(OSError, RedisError):
            await connection.disconnect(nowait=True)
        self._open_more()

    def _open_more(self) -> None:
        """Start opening a connection for each waiter, up to the size of the pool."""
        while self._attempts < len(self._waiting) and self._count < self._size and not self._closed:
            self._count += 1
            self._attempts += 1
            opening = asyncio.create_task(self._open())
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        connection = self._make()
        try:
            async with asyncio.timeout(self._connect_deadline):
                await connection.connect()  # type: ignore[no-untyped-call]  # here
        except Exception as error:  # noqa: BLE001 - a waiter raises it
            self._attempts -= 1
            self._tell(error)
            await self._drop(connection)
        except BaseException:
            self._attempts -= 1
            await self._drop(connection)
            raise
        else:
            self._attempts -= 1
            await self._put(connection)

    def _tell(self, error: Exception) -> None:
        """Let one waiter fail: each waiter has its own attempt."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(error)
                return


async def _is_clean(connection: AbstractConnection) -> bool:
    """True if the server has neither closed the connection nor sent data: no data is due on an idle connection."""
    try:
        return not await connection.can_read()
    except (OSError, RedisError):
        return False
