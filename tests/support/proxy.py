"""A TCP proxy with faults on demand: it delays, stalls, cuts and refuses connections, and recovers."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

from tests.support.servers import free_port

Direction = Literal["to_server", "to_client"]
DIRECTIONS: tuple[Direction, Direction] = ("to_server", "to_client")


def _none_passed() -> dict[Direction, int]:
    return {"to_server": 0, "to_client": 0}


@dataclass
class _Cut:
    direction: Direction
    times: int | None
    pattern: bytes = b""
    after: int = 0
    answered: bool = False
    having: bytes = b""


@dataclass(eq=False)
class _Link:
    """One connection through the proxy."""

    number: int
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    passed: dict[Direction, int] = field(default_factory=_none_passed)
    drop_answer: bool = False
    said: set[bytes] = field(default_factory=set)

    def _ends(self) -> list[asyncio.StreamWriter]:
        return [self.client] if self.server is None else [self.client, self.server]

    def close(self) -> None:
        """Close both ends; data that has passed still arrives."""
        for end in self._ends():
            end.close()

    def abort(self) -> None:
        """Close both ends, even if the other side no longer reads."""
        for end in self._ends():
            end.transport.abort()

    async def closed(self) -> None:
        for end in self._ends():
            await end.wait_closed()


class FaultProxy:
    """Sits between a client and `host:port`; use as `async with`.

    Every fault lasts until `heal()`, a cut until it has happened `times` times (None: every time). The delays depend on
    the seed, the number of the connection and the direction, so the same run gives the same delays.
    """

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        self._target = (host, port)
        self._seed = seed
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: set[_Link] = set()
        self._delays: dict[Direction, tuple[float, float]] = {}
        self._cuts: list[_Cut] = []
        self._gates = {direction: asyncio.Event() for direction in DIRECTIONS}
        self.host = "127.0.0.1"
        self.port = free_port()
        self.accepted = 0
        self.cuts = 0
        self.passed = _none_passed()  # bytes over all connections

    async def __aenter__(self) -> Self:
        await self.heal()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()
        for link in self._links:
            link.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)

    def url(self, url: str) -> str:
        """The same URL, but through the proxy."""
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}{at}{self.host}:{self.port}"))

    def delay(self, direction: Direction, low: float, high: float | None = None) -> None:
        """Hold back each piece of data for a random time between `low` and `high` seconds."""
        self._delays[direction] = (low, low if high is None else high)

    def stall(self, *directions: Direction) -> None:
        """Block all data, in both directions by default; connections stay open and data is kept."""
        for direction in directions or DIRECTIONS:
            self._gates[direction].clear()

    def cut_after(self, count: int, direction: Direction, *, times: int | None = 1) -> None:
        """Cut a connection after this many more bytes; no further byte gets through."""
        for link in self._links:
            link.passed[direction] = 0
        self._cuts.append(_Cut(direction, times, after=count))

    def cut_on(
        self,
        pattern: bytes,
        direction: Direction = "to_server",
        *,
        having: bytes = b"",
        answered: bool = False,
        times: int | None = 1,
    ) -> None:
        """Cut a connection when these bytes appear; they do not get through.

        With `answered`, for requests, they do: the cut comes after the server has answered, and the answer is lost.
        With `having`, only connections count on which these bytes have passed before, from now on.
        """
        self._cuts.append(_Cut(direction, times, pattern=pattern, answered=answered, having=having))

    def cut(self) -> None:
        """Cut every present connection now."""
        for link in self._links:
            self._cut(link)

    async def refuse(self) -> None:
        """Refuse new connections; present ones stay open."""
        if self._server is None:
            return
        server, self._server = self._server, None
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        # A connection accepted a moment ago must find its server open, or asyncio loses it without closing it.
        for _ in range(3):
            await asyncio.sleep(0)
        server.close()

    async def heal(self) -> None:
        """End all faults: held data is forwarded."""
        self._delays.clear()
        self._cuts.clear()
        for gate in self._gates.values():
            gate.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, self.host, self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:
            writer.transport.abort()  # accepted just before the refusal began
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        link = _Link(self.accepted, writer)
        self._links.add(link)
        try:
            server_reader, link.server = await asyncio.open_connection(*self._target)
            await asyncio.gather(
                self._pump(link, "to_server", reader, link.server), self._pump(link, "to_client", server_reader, writer)
            )
        except (OSError, asyncio.CancelledError):
            pass  # the server is down, or the proxy closes: in both cases the connection ends
        finally:
            link.close()
            with suppress(OSError, asyncio.CancelledError):
                await link.closed()
            self._links.discard(link)
            self._tasks.discard(task)

    async def _pump(
        self, link: _Link, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        dice = random.Random(f"{self._seed}/{link.number}/{direction}")  # noqa: S311
        tail = b""
        try:
            while chunk := await reader.read(65536):
                if direction in self._delays:
                    await asyncio.sleep(dice.uniform(*self._delays[direction]))
                await self._gates[direction].wait()
                if direction == "to_client" and link.drop_answer:
                    self._cut(link)
                    return
                let_through = self._until_cut(link, direction, tail, chunk)
                writer.write(chunk[:let_through])
                if let_through is not None:
                    self._count(link, direction, let_through)
                    self._cut(link)
                    return
                self._count(link, direction, len(chunk))
                await writer.drain()
                tail = (tail + chunk)[-1024:]
            writer.write_eof()
        except OSError:
            link.close()  # one side is closed, so close the other

    def _until_cut(self, link: _Link, direction: Direction, tail: bytes, chunk: bytes) -> int | None:
        """The number of bytes of the chunk before the cut, or None if all pass and the connection stays open."""
        for rule in [rule for rule in self._cuts if rule.direction == direction]:
            if rule.having and rule.having in tail + chunk:
                link.said.add(rule.having)
            if rule.having and rule.having not in link.said:
                continue
            if rule.pattern:
                # A pattern may have begun in earlier data.
                before = tail[len(tail) - min(len(tail), len(rule.pattern) - 1) :]
                place = (before + chunk).find(rule.pattern)
                if place < 0:
                    continue
                let_through = max(0, place - len(before))
            else:
                let_through = max(0, rule.after - link.passed[direction])
                if let_through > len(chunk):
                    continue
            if rule.times is not None:
                rule.times -= 1
                if rule.times == 0:
                    self._cuts.remove(rule)
            if not rule.answered:
                return let_through
            link.drop_answer = True
        return None

    def _count(self, link: _Link, direction: Direction, count: int) -> None:
        link.passed[direction] += count
        self.passed[direction] += count

    def _cut(self, link: _Link) -> None:
        self.cuts += 1
        link.close()
