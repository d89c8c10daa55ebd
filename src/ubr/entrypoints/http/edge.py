"""The outermost layer: the rules for every request and every response."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext, suppress
from http import HTTPStatus
from typing import Any, Final, TypeAlias, cast

import msgspec
from litestar import Litestar
from litestar.types import HTTPReceiveMessage, HTTPScope, Message, Receive, Send

from ubr.application.audit.denials import CountRejection
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.protection.rate_limits import RateLimitStatus, collecting_rate_limits
from ubr.domain.errors import Invalid, InvalidCredentials, NotFound, UbrError
from ubr.entrypoints.http.client_ip import is_ignored
from ubr.entrypoints.http.connections import PROBES, UNREAD_SECONDS, Connections, Peer
from ubr.entrypoints.http.cors import Cors
from ubr.entrypoints.http.fields import Fields, fields_of
from ubr.entrypoints.http.log_lines import EVENTS, head
from ubr.entrypoints.http.logged_path import LoggedPaths
from ubr.entrypoints.http.metrics.exporter import Exporter
from ubr.entrypoints.http.metrics.registry import HUNG_UP
from ubr.entrypoints.http.origin import request_origin
from ubr.entrypoints.http.page_options import PageOptions, page_options
from ubr.entrypoints.http.problems.errors import (
    ClientGone,
    CrossOriginRequest,
    InternalError,
    MalformedBody,
    UriTooLong,
)
from ubr.entrypoints.http.problems.faults import log_fault
from ubr.entrypoints.http.problems.rendering import problem_response
from ubr.entrypoints.http.rate_limit_fields import rate_limit_fields
from ubr.entrypoints.http.request_facts import Facts, with_facts
from ubr.entrypoints.http.response import Response
from ubr.entrypoints.http.routing import is_for_people
from ubr.entrypoints.http.stopping import STOPPING
from ubr.settings import Settings, TrustedProxies

_HOST: Final = re.compile(rb"(?:\[[0-9A-Za-z:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]*)?")
_CANONICAL: Final = re.compile(rb"/|(?:/(?!\.\.?(?:/|\Z))[^/]+)+")
_NEEDLESS: Final = re.compile(rb"%(?:2[DEF]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])", re.IGNORECASE)
"""Escapes of characters that a path contains unescaped (RFC 3986, 2.3), and of the slash."""
_MAX_URI_LENGTH: Final = 8192
_WITHOUT_HOST: Final = ("1", "1.0")
"""The version strings that servers use for HTTP/1.0."""
_DRAIN_BYTES: Final = 8 * 1024 * 1024
_DRAIN_SECONDS: Final = 2
_PART_BYTES: Final = 16 * 1024
"""The server keeps up to four parts of a response, and its own buffer, for a client that does not read."""

_REJECTED: Final = (400, 401, 408, 413, 414, 415, 429)
_FORGED: Final = CrossOriginRequest.code
_RECORDED: Final = InvalidCredentials.code
"""A failed login has its own entry in the audit log."""


ErrorPage: TypeAlias = Callable[[HTTPScope, UbrError], Awaitable[Response]]
"""The answer to a request that gets to no route, at an address that people open."""


class _Unread(Exception):
    """The client did not read the response in time."""


def _uncounted(_problem: str) -> None:
    pass


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's settings for HTTP, and the time limits for the body of a request and for a response."""

    trusted_proxies: TrustedProxies = ()
    public_url: str | None = None
    return_url: str | None = None
    cors_origins: tuple[str, ...] = ()
    trusted_origins: tuple[str, ...] = ()
    pages: PageOptions = PageOptions()
    body_seconds: float = 10
    unread_seconds: float = UNREAD_SECONDS
    connections: Connections | None = None
    """The connections of the process. None leaves their limits to the server."""
    rejected: CountRejection = _uncounted
    """Called for each request that was rejected before its caller was known."""
    metrics: Exporter | None = None
    """Counts the requests, and answers `/metrics`. None counts nothing."""

    @classmethod
    def of(cls, settings: Settings) -> HttpOptions:
        """Those of the settings. Errors: `WrongSetting` if a file for pages cannot be used."""
        return cls(
            trusted_proxies=settings.trusted_proxies,
            public_url=settings.public_url,
            return_url=settings.return_url,
            cors_origins=settings.cors_origins,
            trusted_origins=settings.trusted_origins,
            pages=page_options(settings),
        )


class Edge:
    """Gives each request its id and its origin, each response its headers, and each exchange a line in the log."""

    def __init__(self, app: Litestar, options: HttpOptions, error_page: ErrorPage | None = None) -> None:
        self.app = app
        self.error_page = error_page
        """None if there are no pages."""
        self._trusted = options.trusted_proxies
        self._warned = False
        self.paths = LoggedPaths(route.path for route in app.routes)
        self._cors = Cors(options.cors_origins, options.trusted_origins)
        self.rejected = options.rejected
        self.connections = options.connections
        self.metrics = None if options.metrics is None else options.metrics.worker
        self.unread_seconds = options.unread_seconds
        self._defaults = {
            b"cache-control": b"no-store",
            b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
            b"referrer-policy": b"no-referrer",
            # Without this field, servers add their own name.
            b"server": b"",
            b"x-content-type-options": b"nosniff",
        }
        if (options.public_url or "").startswith("https://"):
            self._defaults[b"strict-transport-security"] = b"max-age=31536000"

    @property
    def stopping(self) -> bool:
        """True from the moment at which load balancers should send no more requests."""
        return bool(self.app.state[STOPPING])

    def stop_soon(self) -> None:
        """Report that the service is not ready, and close connections after their next answer."""
        self.app.state[STOPPING] = True

    # Every ASGI framework has its own types for these, and this application can be mounted in any of them.
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = str(scope["type"])
        if kind == "http":
            await _Exchange(self, cast("HTTPScope", scope), receive, send).run()
        elif kind == "lifespan":
            await self.app(scope, receive, send)
        else:  # the service has no WebSockets
            await send({"type": "websocket.close", "code": 1000, "reason": ""})

    def origin(self, scope: HTTPScope, fields: Fields) -> Origin:
        """The origin of a request."""
        client = scope.get("client")
        peer = client[0] if client else None
        if not self._warned and is_ignored(peer, fields, self._trusted):
            self._warned = True  # once in a process, because any client can send the field
            EVENTS.warning(
                "X-Forwarded-For is ignored, because UBR_TRUSTED_PROXIES does not name its sender: if that is your "
                "proxy, all clients behind it share one limit"
            )
        return request_origin(peer, fields, self._trusted)

    def finalize_headers(
        self, headers: Iterable[tuple[bytes, bytes]], facts: Facts, request_id: bytes
    ) -> list[tuple[bytes, bytes]]:
        """A response's own headers, and those common to all responses."""
        complete = []
        missing = self._defaults
        for name, value in headers:
            lower = name.lower()
            complete.append((name, _methods(value) if lower == b"allow" else value))
            if lower in missing:
                missing = {name: value for name, value in missing.items() if name != lower}
        complete += missing.items()
        complete.append((b"x-request-id", request_id))
        complete += self._cors.headers(facts.method, facts.fields, complete)
        return complete


class _Exchange:
    """One request and its response."""

    __slots__ = (
        "_broken",
        "_deadline",
        "_edge",
        "_excess",
        "_facts",
        "_fields",
        "_gave_up",
        "_head",
        "_origin",
        "_path",
        "_peer",
        "_rate_limits",
        "_receive",
        "_request_id",
        "_scope",
        "_send",
        "_status",
        "_unread",
        "_withheld",
    )

    def __init__(self, edge: Edge, scope: HTTPScope, receive: Receive, send: Send) -> None:
        self._edge = edge
        self._head = scope["method"] == "HEAD"
        # HEAD is GET without the body (RFC 9110, 9.3.2).
        self._fields = fields = fields_of(scope["headers"])
        self._facts = Facts("GET" if self._head else scope["method"], fields, head=self._head)
        self._scope = scope
        self._path = scope["path"]
        self._receive = receive
        self._send = send
        self._origin = edge.origin(scope, fields)
        self._request_id = (self._origin.request_id or "").encode()
        self._status = 0
        self._rate_limits: dict[str, RateLimitStatus] = {}
        self._broken = False
        self._deadline = 0.0
        self._gave_up = False  # the client did not read its response in time
        self._excess: UbrError | None = None
        client = scope.get("client")
        # Granian passes the port as text.
        self._peer: Peer | None = None if client is None else (client[0], int(client[1]))
        # The client sends the body after a 100 response (RFC 9110, 10.1.1), which the server sends at the first read.
        self._withheld = any(value.lower() == b"100-continue" for value in fields.get(b"expect", ()))
        self._unread = b"content-length" in fields or b"transfer-encoding" in fields

    async def run(self) -> None:
        began = time.perf_counter()
        counted = (
            nullcontext() if (known := self._edge.connections) is None else known.exchange(self._peer, self._origin)
        )
        with counted as excess, calling_from(self._origin), collecting_rate_limits() as self._rate_limits:
            # A probe that found the service too busy would take it away from all clients behind one proxy.
            self._excess = None if self._path.startswith(PROBES) else excess
            if (metrics := self._edge.metrics) is not None:
                metrics.request_began()
                if self._excess is not None:
                    metrics.rate_limited("running-requests")
            try:
                await self._answer()
            finally:
                self._conclude(time.perf_counter() - began)

    async def _answer(self) -> None:
        try:
            if (error := self._excess or self._malformed()) is not None:
                await self._refuse(error)
            else:
                await self._edge.app(with_facts(self._scope, self._facts), self.receive, self.send)
        except ClientGone:
            # Servers report a truncated or badly chunked body the same way, and then the client can read a response.
            await self._refuse(MalformedBody("The body is truncated or has invalid chunks"))
            self._status = HUNG_UP
        except UbrError as error:  # there is no route
            await self._refuse(error)
        except Exception as error:
            if self._gave_up:  # the connection ends, and an error in the log for each would help an attacker
                self._status = HUNG_UP
                return
            if self._status:  # the response has begun: only the server can still abort it
                raise
            self._facts.cause = log_fault(error, self._facts)
            await self._refuse(InternalError())

    def _malformed(self) -> UbrError | None:
        """The error in the head of a request, for every route; None if it is valid."""
        hosts = self._fields.get(b"host", [])
        # A server may add an empty field if there is none.
        absent = hosts in ([], [b""]) and self._scope["http_version"] in _WITHOUT_HOST
        if not absent and not (len(hosts) == 1 and _HOST.fullmatch(hosts[0])):
            return Invalid("The request does not name one host (RFC 9112, 3.2)")
        if len(self._path) + len(self._scope["query_string"]) > _MAX_URI_LENGTH:
            return UriTooLong()
        raw = self._scope.get("raw_path") or self._path.encode()
        # A resource has one path: another spelling could bypass a proxy's rule for it.
        if not _CANONICAL.fullmatch(raw) or (b"%" in raw and _NEEDLESS.search(raw)):
            return NotFound("This path does not exist")
        return None

    async def _refuse(self, error: UbrError) -> None:
        self._facts.problem = error.code
        # Many requests are refused for their number, and a page costs more than a problem.
        if (page := self._edge.error_page) is None or error is self._excess or not is_for_people(self._path):
            await problem_response(error, self._path).send(self.send)
        else:
            scope = {**with_facts(self._scope, self._facts), "litestar_app": self._edge.app}
            await (await page(cast("HTTPScope", scope), error)).send(self.send)

    async def receive(self) -> HTTPReceiveMessage:
        """The `receive` that `body.read` calls. Notes whether the client still sends a body."""
        message = cast("HTTPReceiveMessage", await self._receive())
        self._withheld = False
        self._unread = message["type"] == "http.request" and message.get("more_body", False)
        self._broken = message["type"] == "http.disconnect"
        return message

    async def _drain(self) -> None:
        """Read and discard some of the body that the client is still sending.

        Closing a connection with unread bytes resets it, and the response is lost.
        """
        taken = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while self._unread and taken < _DRAIN_BYTES:
                    message = await self.receive()
                    if message["type"] == "http.request":
                        taken += len(message.get("body", b""))

    async def send(self, message: Message) -> None:
        """The `send` that `Response.send` calls. Completes the headers, and bounds the time of a long body."""
        if message["type"] == "http.response.start":
            self._status = int(message["status"])
            # After a 408, the client gets no second wait. Reading a withheld body would ask the client for it.
            spared = self._withheld or self._status == HTTPStatus.REQUEST_TIMEOUT
            if self._unread and self._status >= HTTPStatus.BAD_REQUEST and not spared:
                await self._drain()
            headers = self._edge.finalize_headers(message["headers"], self._facts, self._request_id)
            headers += rate_limit_fields(self._rate_limits.values())
            if self._unread or self._broken or self._edge.stopping or self._excess is not None:
                # The client has too many, the service will stop, or the server cannot tell a next request from the rest
                # of this body.
                headers.append((b"connection", b"close"))
            message["headers"] = headers
        elif message["type"] == "http.response.body" and self._head:
            message["body"] = b""
        if message["type"] == "http.response.body" and (message.get("more_body") or len(message["body"]) > _PART_BYTES):
            await self._send_in_parts(message["body"], more_body=message.get("more_body", False))
        else:
            await self._send(message)

    async def _send_in_parts(self, body: bytes, *, more_body: bool) -> None:
        """Send a long body. Sending a part waits while the client does not read those before it."""
        if self._gave_up:
            raise _Unread
        self._deadline = self._deadline or asyncio.get_running_loop().time() + self._edge.unread_seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                for start in range(0, len(body) or 1, _PART_BYTES):
                    end = start + _PART_BYTES
                    more = more_body or end < len(body)
                    await self._send({"type": "http.response.body", "body": body[start:end], "more_body": more})
        except TimeoutError:
            self._gave_up = True
            # The server drops the rest, and waits without a limit for the client to read what it has in its buffer.
            if self._edge.connections is not None and self._peer is not None:
                self._edge.connections.abort(self._peer)
            raise _Unread from None

    def _conclude(self, seconds: float) -> None:
        """Count the request, and log it. Never the query, the body, or a part of the path that may be anything."""
        facts = self._facts
        status = self._status or HUNG_UP
        method = "HEAD" if self._head else facts.method
        if self._edge.metrics is not None:
            self._edge.metrics.request_ended(method, facts.route, status, seconds)
        problem = facts.problem if status >= HTTPStatus.BAD_REQUEST else None
        if problem is not None and (status in _REJECTED or problem == _FORGED) and problem != _RECORDED:
            self._edge.rejected(problem)
        level = logging.ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO
        if not EVENTS.wants(level):
            return
        actor = facts.actor
        line: dict[str, Any] = {
            **head(level, "request"),
            "method": method,
            "route": facts.route,
            "path": self._edge.paths.shown(self._path, facts.route),
            "status": status,
            "reason": problem,
            "ms": round(seconds * 1000, 2),
            "actor_id": None if actor is None else actor.user_id,
            "session_id": None if actor is None else actor.session_id,
            "ip": self._origin.ip,
        }
        if level == logging.ERROR:
            line["cause"] = facts.cause
        EVENTS.put(level, line)


def _methods(allowed: bytes) -> bytes:
    """The methods, sorted to be independent of the server. A route with GET also has HEAD."""
    methods = {method.strip() for method in allowed.split(b",")}
    return b", ".join(sorted(methods | {b"HEAD"} if b"GET" in methods else methods))
