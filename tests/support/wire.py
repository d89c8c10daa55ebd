"""A minimal HTTP client: one open connection, one request at a time, and no hidden work that would distort counts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Wire:
    """A connection to a service, opened on first use and again after a failure.

    Errors: `ConnectionError` if the connection breaks; the outcome of the request is then unknown.
    """

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._place = address.hostname, address.port
        self._host = address.netloc
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def ask(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: object = None,
        headers: Mapping[str, str] = {},
    ) -> Answer:
        try:
            return await self._ask(method, path, token, body, headers)
        except (OSError, EOFError) as error:
            self.close()
            raise ConnectionError(type(error).__name__) from None
        except BaseException:
            self.close()
            raise

    async def _ask(self, method: str, path: str, token: str | None, body: object, headers: Mapping[str, str]) -> Answer:
        if self._ends is None:
            self._ends = await asyncio.open_connection(*self._place)
        reader, writer = self._ends
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}"]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        content = b""
        if body is not None:
            content = msgspec.json.encode(body)
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in head[1:] if line)
        told = {name.lower(): value.strip() for name, _, value in pairs}
        length = int(told.get("content-length", "0"))
        answer = Answer(int(head[0].split(" ")[1]), told, await reader.readexactly(length))
        if told.get("connection") == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection. The next request opens a new one."""
        if self._ends is not None:
            self._ends[1].close()
            self._ends = None
