"""The way to Redis: how long anything may take, and what its failures mean."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeAlias, TypeVar

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import MasterDownError, NoScriptError, ReadOnlyError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from ubr.adapters.redis.breaker import Breaker
from ubr.adapters.redis.pool import Make, Pool
from ubr.domain.errors import StoreUnavailable

T = TypeVar("T")
Word: TypeAlias = bytes | str | int

NAME_SPACE: Final = "ubr:"
"""What every key and channel begins with."""

_COMPLAIN_EVERY: Final = 60.0

_NOT_THE_PRIMARY: Final = (ReadOnlyError, MasterDownError)
"""What a server says that was the primary and is a replica now. Whatever stands for the address leads to another."""

_log = logging.getLogger("ubr.redis")


class Script:
    """A script that Redis runs in one step."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisClient:
    """Commands to one Redis, each over within `deadline` seconds whatever the server does.

    Errors of every method: `StoreUnavailable`, and nothing else: for a server that is gone, frozen, full, loading,
    read-only or no Redis at all, and at once while the breaker is open. The command may or may not have been run then;
    it is never sent twice. Nothing of the URL gets into an error or a log.
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
    ) -> None:
        """Connects to nothing yet. Errors: `ValueError`, without a word of the URL."""
        try:
            library = ConnectionPool.from_url(
                url,
                protocol=3,
                # The deadlines here hold for all of a command; one more for each part would only cost time.
                socket_timeout=None,
                socket_connect_timeout=connect_deadline,
                # On, as it is by default, it lets connections into use that have unread data.
                maint_notifications_config=MaintNotificationsConfig(enabled=False),
                # Telling the server the library's name takes two more commands and the right to send them.
                driver_info=None,
            )
            library.make_connection()  # type: ignore[no-untyped-call]  # which is where options are looked at
        except Exception:  # noqa: BLE001 - the library's errors quote what they could not read
            raise ValueError("The Redis URL cannot be read; it looks like redis://host:6379/0") from None
        self.name_space = name_space
        self._database = int(library.connection_kwargs.get("db") or 0)
        self._make: Make = library.make_connection
        self._deadline = deadline
        self._connect_deadline = connect_deadline
        self._breaker = breaker or Breaker()
        self._pool = Pool(library.make_connection, size=connections, connect_deadline=connect_deadline)
        self._kept: set[AbstractConnection] = set()
        self._last_answer = float("-inf")
        self._last_complaint = float("-inf")

    def key(self, *parts: str) -> str:
        """A key of ours."""
        return self.name_space + ":".join(parts)

    def channel(self, *parts: str) -> str:
        """A channel of ours. The number is in it because Redis keeps keys of its databases apart, but not channels."""
        return self.key(f"{self._database}", *parts)

    async def call(self, *words: Word) -> Any:
        """Run one command and return its reply."""

        async def talk(connection: AbstractConnection) -> Any:
            return await _exchange(connection, words)

        return await self._guarded(talk)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Word]) -> Any:
        """Run a script and return its reply. A server that does not know it, or not any more, is told."""
        rest = (len(keys), *keys, *arguments)

        async def talk(connection: AbstractConnection) -> Any:
            try:
                return await _exchange(connection, ("EVALSHA", script.sha, *rest))
            except NoScriptError:
                return await _exchange(connection, ("EVAL", script.text, *rest))

        return await self._guarded(talk)

    @asynccontextmanager
    async def kept_connection(self) -> AsyncIterator[AbstractConnection]:
        """A connection beside the others, for one caller to keep, as who listens does.

        Errors: any of the library's; of these the caller makes what it likes. It bounds the time of what it asks.
        """
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
        """Whether the server answers."""
        await self.call("PING")

    async def close(self) -> None:
        """Give back every connection. A second time does nothing; a command after that is refused."""
        await self._pool.close()

    async def _guarded(self, talk: Callable[[AbstractConnection], Awaitable[T]]) -> T:
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
                _log.warning("Redis does not answer (%s); doing without it until it does", type(error).__name__)
            self._complain("Redis has become a replica, so everything connects anew: %s", error)
            raise _unavailable() from None
        except ResponseError as error:
            # It refuses, but it answers: asking costs little, and the next command may be to its liking.
            self._answered(self._breaker.answered(permit))
            self._complain("Redis refused a command: %s", error)
            raise _unavailable() from None
        except Exception as error:  # noqa: BLE001 - what a broken server, or one that is none, sends can raise anything
            if self._last_answer >= begun:
                # Others got answers meanwhile: more was asked at once than the connections can carry.
                self._breaker.abandoned(permit)
            elif self._breaker.failed(permit):
                _log.warning("Redis does not answer (%s); doing without it until it does", type(error).__name__)
            raise _unavailable() from None
        except BaseException:
            self._breaker.abandoned(permit)
            raise
        self._answered(self._breaker.answered(permit))
        return reply

    async def _leave(self) -> None:
        """Give up every connection, those that others keep too: all of them are to a server that is not the one."""
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
    return StoreUnavailable("Redis is out of reach")
