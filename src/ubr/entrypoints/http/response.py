"""A response on its way out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    # Services that only answer problems do not load it.
    from litestar.types import Send

_WITHOUT_BODY: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Response:
    """A status, header fields and a body. `status` 0 is the one of the operation.

    `cookies` are values of `Set-Cookie`, which may occur more than once.
    """

    __slots__ = ("body", "cookies", "headers", "media_type", "status")

    def __init__(
        self,
        body: bytes = b"",
        *,
        status: int = 0,
        media_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.body = body
        self.status = status
        self.media_type = media_type
        self.headers = {} if headers is None else headers
        self.cookies: tuple[str, ...] = ()

    async def send(self, send: Send, *, status: int = HTTPStatus.OK) -> None:
        """Send it, with `status` if it has none of its own."""
        status = self.status or status
        headers = [(name.encode(), value.encode("latin-1")) for name, value in self.headers.items()]
        if self.cookies:
            headers += [(b"set-cookie", value.encode("latin-1")) for value in self.cookies]
        if status not in _WITHOUT_BODY:
            text = "; charset=utf-8" if self.media_type.startswith("text/") else ""
            headers.append((b"content-type", f"{self.media_type}{text}".encode()))
            headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class StreamedResponse(Response):
    """A response whose body of JSON is made while it is sent.

    An error after its begin cannot be answered any more: the connection is then closed before the end of the body.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        super().__init__()
        self.parts = parts

    async def send(self, send: Send, *, status: int = HTTPStatus.OK) -> None:
        headers = [(name.encode(), value.encode("latin-1")) for name, value in self.headers.items()]
        headers.append((b"content-type", self.media_type.encode()))
        await send({"type": "http.response.start", "status": self.status or status, "headers": headers})
        async for part in self.parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
