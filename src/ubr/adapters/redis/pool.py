"""Connections, as many as are needed and never more than so many."""

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
    """Connections to one server; whoever asks bounds the time.

    The client library's own pool connects in the task of the caller, who waits a tenth of a second at most: a handshake
    that takes longer would be broken off each time, and never come to its end. Here it goes on without the caller, and
    the connection is there for the next one.
    """

    def __init__(self, make: Make, *, size: int, connect_deadline: float) -> None:
        self._make = make
        self._size = size
        self._connect_deadline = connect_deadline
        self._count = 0  # of connections, in whatever state
        self._idle: list[AbstractConnection] = []
        self._waiting: deque[asyncio.Future[AbstractConnection]] = deque()
        self._attempts = 0  # to open one, that have not ended yet
        self._opening: set[asyncio.Task[None]] = set()
        self._closed = False
        self._stale: set[AbstractConnection] = set()
        """Those in use that are not to be used again."""
        self._used: set[AbstractConnection] = set()

    @property
    def count(self) -> int:
        """How many connections there are, those included that are being opened."""
        return self._count

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AbstractConnection]:
        """A connection for one caller alone.

        It goes back only after whole replies. In every other case, and above all where the caller is cancelled, a
        reply may still be on its way, and the next caller would take it for their own: so the connection is closed.
        """
        connection = await self._take()
        self._used.add(connection)
        try:
            yield connection
        except ResponseError:  # An error, but a whole reply.
            await self._put(connection)
            raise
        except BaseException:
            await self._drop(connection)
            raise
        await self._put(connection)

    async def renew(self) -> None:
        """Close every connection, those in use when their callers are done: the next ones are opened anew."""
        self._stale |= self._used
        for opening in self._opening:
            opening.cancel()
        idle, self._idle = self._idle, []
        for connection in idle:
            await self._drop(connection)

    async def close(self) -> None:
        """Close every connection; those in use when their callers are done. A second time does nothing."""
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

    # From here on nothing waits but where it says so: a caller who is being cancelled can still tidy up.

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
                await self._put(waiting.result())  # It came in the very moment of giving up.
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
        """Start opening a connection for each who waits, as far as the size allows."""
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
        except Exception as error:  # noqa: BLE001 - one who waits raises it
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
        """Let one of those who wait fail: the others have attempts of their own."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(error)
                return


async def _is_clean(connection: AbstractConnection) -> bool:
    """Whether the server has neither closed it nor said anything since: nothing is due on a connection at rest."""
    try:
        return not await connection.can_read()
    except (OSError, RedisError):
        return False
