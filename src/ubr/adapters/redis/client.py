"""The Redis client: deadlines, and the meaning of failures."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeAlias, TypeVar

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import MasterDownError, NoScriptError, ReadOnlyError, RedisError, ResponseError

from ubr.adapters.redis.address import library_pool
from ubr.adapters.redis.breaker import Breaker
from ubr.adapters.redis.pool import Make, Pool
from ubr.application.kernel.home_loop import HomeLoop
from ubr.domain.errors import StoreUnavailable

T = TypeVar("T")
Word: TypeAlias = bytes | str | int

NAME_SPACE: Final = "ubr:"
"""The prefix of every key and channel."""

_COMPLAIN_EVERY: Final = 60.0

_NOT_THE_PRIMARY: Final = (ReadOnlyError, MasterDownError)
"""The errors of a server that became a replica. A new connection to the address then leads to the new primary."""

_log = logging.getLogger("ubr.redis")


class Script:
    """A script that Redis runs atomically."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisClient:
    """Commands to one Redis. Each command takes at most `deadline` seconds.

    Errors of every method: `StoreUnavailable` if the server is gone, frozen, full, loading, read-only or not a Redis,
    and immediately while the breaker is open. The command may or may not have run then; it is never sent twice. Errors
    and logs contain no part of the URL. `WrongEventLoop` is raised before anything is sent.
    """

    def __init__(
        self,
        url: str,
        *,
        name_space: str = NAME_SPACE,
        deadline: float = 0.1,
        connect_deadline: float = 1.0,
        connections: int = 16,
        breaker: Breaker | None = None,
        home: HomeLoop | None = None,
    ) -> None:
        """Does not connect yet. Errors: `ValueError`, without any part of the URL."""
        try:
            library = library_pool(
                url,
                # The deadlines here cover a whole command; another one for each part would only cost time.
                socket_timeout=None,
                socket_connect_timeout=connect_deadline,
            )
            library.make_connection()  # type: ignore[no-untyped-call]  # checks the options
        except Exception:  # noqa: BLE001 - the library's errors quote the URL they cannot parse
            raise ValueError("The Redis URL cannot be read; it looks like redis://host:6379/0") from None
        self.name_space = name_space
        self._database = int(library.connection_kwargs.get("db") or 0)
        self._make: Make = library.make_connection
        self._deadline = deadline
        self._connect_deadline = connect_deadline
        self._breaker = breaker or Breaker()
        self._pool = Pool(library.make_connection, size=connections, connect_deadline=connect_deadline)
        self._home = home or HomeLoop()
        self._kept: set[AbstractConnection] = set()
        self._last_answer = float("-inf")
        self._last_complaint = float("-inf")

    def key(self, *parts: str) -> str:
        """A key with our prefix."""
        return self.name_space + ":".join(parts)

    def channel(self, *parts: str) -> str:
        """A channel with our prefix.

        It includes the database number, because Redis separates keys by database, but not channels.
        """
        return self.key(f"{self._database}", *parts)

    async def call(self, *words: Word) -> Any:
        """Run one command and return its reply."""

        async def talk(connection: AbstractConnection) -> Any:
            return await _exchange(connection, words)

        return await self._guarded(talk)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Word]) -> Any:
        """Run a script and return its reply. Loads the script if the server does not have it, or no longer has it."""
        rest = (len(keys), *keys, *arguments)

        async def talk(connection: AbstractConnection) -> Any:
            try:
                return await _exchange(connection, ("EVALSHA", script.sha, *rest))
            except NoScriptError:
                return await _exchange(connection, ("EVAL", script.text, *rest))

        return await self._guarded(talk)

    @asynccontextmanager
    async def kept_connection(self) -> AsyncIterator[AbstractConnection]:
        """A separate connection that one caller keeps, for listening.

        Errors: any error of the library, which the caller handles. The caller also limits the time of each request.
        """
        self._home.check()
        connection: AbstractConnection = self._make()
        try:
            async with asyncio.timeout(self._connect_deadline):
                await connection.connect()  # type: ignore[no-untyped-call]
            self._kept.add(connection)
            yield connection
        finally:
            self._kept.discard(connection)
            with suppress(OSError, RedisError):
                await connection.disconnect(nowait=True)

    async def ping(self) -> None:
        """Errors: `StoreUnavailable` if the server does not answer."""
        await self.call("PING")

    async def close(self) -> None:
        """Return every connection. A second call does nothing; later commands are rejected."""
        await self._pool.close()

    async def _guarded(self, talk: Callable[[AbstractConnection], Awaitable[T]]) -> T:
        self._home.check()
        permit = self._breaker.admit()
        if permit is None:
            raise _unavailable()
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._deadline), self._pool.connection() as connection:
                reply = await talk(connection)
        except _NOT_THE_PRIMARY as error:
            await self._leave()
            if self._breaker.failed(permit):
                _log.warning("Redis does not answer (%s); continuing without it until it does", type(error).__name__)
            self._complain("Redis is a replica, which accepts no writes; all connections are reopened: %s", error)
            raise _unavailable() from None
        except ResponseError as error:
            # An error reply is an answer: asking was cheap, and the next command may succeed.
            self._answered(self._breaker.answered(permit))
            self._complain("Redis refused a command: %s", error)
            raise _unavailable() from None
        except Exception as error:  # noqa: BLE001 - data of a broken or foreign server can raise any error
            if self._last_answer >= begun:
                # Others got answers in the meantime: there were more requests than the connections can carry.
                self._breaker.abandoned(permit)
            elif self._breaker.failed(permit):
                _log.warning("Redis does not answer (%s); continuing without it until it does", type(error).__name__)
            raise _unavailable() from None
        except BaseException:
            self._breaker.abandoned(permit)
            raise
        self._answered(self._breaker.answered(permit))
        return reply

    async def _leave(self) -> None:
        """Close every connection, including the kept ones: all of them lead to a server that is not the primary."""
        kept, self._kept = self._kept, set()
        for connection in kept:
            with suppress(OSError, RedisError):
                await connection.disconnect(nowait=True)
        await self._pool.renew()

    def _answered(self, again: bool) -> None:
        self._last_answer = time.monotonic()
        if again:
            _log.info("Redis answers again")

    def _complain(self, message: str, error: Exception) -> None:
        now = time.monotonic()
        if now - self._last_complaint >= _COMPLAIN_EVERY:
            self._last_complaint = now
            _log.warning(message, type(error).__name__)


async def _exchange(connection: AbstractConnection, words: Sequence[Word]) -> Any:
    await connection.send_command(*words)
    return await connection.read_response()


def _unavailable() -> StoreUnavailable:
    return StoreUnavailable("Redis is unreachable")
