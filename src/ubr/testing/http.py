"""Clients of the HTTP interface in the same process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import cache
from typing import Any, Final, TypeAlias, cast

from ubr.application.app import Application
from ubr.application.kernel.home_loop import HomeLoop
from ubr.entrypoints.http.app import create_app
from ubr.entrypoints.http.edge import Edge

try:
    import httpx
except ImportError as error:
    raise ImportError("The clients of a double need httpx: install the package httpx") from error

_URL: Final = "http://ubr.test"

_current: ContextVar[Application] = ContextVar("ubr_double")

Complete: TypeAlias = Callable[[Callable[[], Awaitable[httpx.Response]]], httpx.Response]
"""Completes an asynchronous call while its caller waits."""


class _Current:
    """The application of the double that answers a request."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_current.get(), name)


@cache
def _edge() -> Edge:
    """The HTTP interface of all doubles: to make one takes longer than most tests."""
    return create_app(cast("Application", _Current()))


class _Answering(httpx.ASGITransport):
    """The HTTP interface of one double."""

    def __init__(self, ubr: Application) -> None:
        super().__init__(_edge(), raise_app_exceptions=False)
        self._ubr = ubr

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        token = _current.set(self._ubr)
        try:
            return await super().handle_async_request(request)
        finally:
            _current.reset(token)


class _InLoop(_Answering):
    """Refuses a loop that the application cannot run in, instead of an answer with 500."""

    def __init__(self, ubr: Application, home: HomeLoop) -> None:
        super().__init__(ubr)
        self._home = home

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._home.check()
        return await super().handle_async_request(request)


class _Aside(httpx.BaseTransport):
    """Completes each request in another loop."""

    def __init__(self, ubr: Application, run: Complete) -> None:
        self._transport = _Answering(ubr)
        self._run = run

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def answered() -> httpx.Response:
            response = await self._transport.handle_async_request(request)
            return httpx.Response(response.status_code, headers=response.headers, content=await response.aread())

        request.read()
        return self._run(answered)


def async_client(ubr: Application, home: HomeLoop) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=_InLoop(ubr, home), base_url=_URL, trust_env=False)


def sync_client(ubr: Application, run: Complete) -> httpx.Client:
    return httpx.Client(transport=_Aside(ubr, run), base_url=_URL, trust_env=False)
