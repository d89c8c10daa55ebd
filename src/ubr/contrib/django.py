"""The users of a program with Django, in synchronous and asynchronous views, under WSGI and ASGI.

    auth = DjangoAuth(Library())

    @auth.require("notes:edit")
    def write_note(request: HttpRequest, actor: Actor) -> HttpResponse:
        …

`docs/frameworks.md` describes it.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import inspect
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, Final, Generic, TypeVar, cast

from ubr.application.app import Application
from ubr.application.kernel.origin import calling_from, current_origin
from ubr.contrib.auth import Auth, Library, Source, TokenGate, Tokens, Who
from ubr.contrib.problems import answer
from ubr.domain.errors import UbrError
from ubr.entrypoints.http.fields import Fields
from ubr.entrypoints.http.origin import request_origin
from ubr.sync import TIMEOUT, BlockingApplication

try:
    from django.http import HttpRequest, HttpResponse
except ImportError as error:
    raise ImportError("ubr.contrib.django needs Django: install the package django") from error

__all__ = ["Auth", "DjangoAuth", "Library", "Source", "TokenGate", "Tokens"]

T = TypeVar("T")
View = Callable[..., Any]

_KEPT: Final = "ubr_kept"
_REQUEST_ID: Final = "X-Request-ID"


class _Loop(Generic[Who]):
    """An event loop in a thread of its own, in which the source is open: Django has no loop that lasts.

    It starts with the first call, after the server has forked its processes, and ends with the process.
    """

    def __init__(self, auth: Auth[Who]) -> None:
        self._auth = auth
        self._starting = threading.Lock()
        self._process = 0
        self._closing: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread | None = None
        atexit.register(self.close)

    @property
    def application(self) -> Application:
        """The use cases. Errors: `RuntimeError` if ubr does not run in this process; those of opening the source."""
        self._start()
        return self._auth.ubr

    def submit(self, call: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Begin this in the loop, in the context of the caller. Errors: those of opening the source."""
        self._start()
        result: Future[T] = Future()

        async def work() -> None:
            try:
                result.set_result(await call())
            except BaseException as error:  # noqa: BLE001 - it is raised where the call was made
                result.set_exception(error)

        loop, context = self._loop, contextvars.copy_context()
        loop.call_soon_threadsafe(lambda: loop.create_task(work()), context=context)
        return result

    def run(self, call: Callable[[], Coroutine[Any, Any, T]], timeout: float = TIMEOUT) -> T:
        """The result of a call. Errors: its own; `TimeoutError` after so many seconds."""
        return self.submit(call).result(timeout)

    def close(self) -> None:
        """Close the source, and end. A second call does nothing, and neither does one in a fork."""
        thread = self._thread
        if thread is None or self._process != os.getpid():
            return
        self._thread = None
        with suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._closing.set)
        thread.join()

    def _start(self) -> None:
        with self._starting:
            # A thread does not survive a fork.
            if self._thread is not None and self._process == os.getpid():
                return
            opened: Future[None] = Future()
            # A daemon, because the interpreter would wait for another thread before it runs what closes this one.
            thread = threading.Thread(target=lambda: asyncio.run(self._live(opened)), name="ubr", daemon=True)
            thread.start()
            opened.result()
            self._thread, self._process = thread, os.getpid()

    async def _live(self, opened: Future[None]) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with self._auth.running():
                opened.set_result(None)
                await self._closing.wait()
        except BaseException as error:
            if opened.done():
                raise
            opened.set_exception(error)


class DjangoAuth(Auth[Who]):
    """The users of a program with Django. A view gets the user as its second argument.

    The source opens with the first request of a process. Errors of the catalogue that a view raises are answered as
    ubr does, and calls of use cases know the client of the request.
    """

    def __init__(self, source: Source[Who]) -> None:
        super().__init__(source)
        self._loop: Final = _Loop(self)
        self._blocking: Final = BlockingApplication(self._loop)

    def actor(self, view: View) -> View:
        """A decorator: the view gets the user, who is logged in."""
        return self._decorated(view, self._identified)

    def optional_actor(self, view: View) -> View:
        """A decorator: the view gets the user, or None for a request without a token."""
        return self._decorated(view, self._identified_if_given)

    def require(self, *permissions: str) -> Callable[[View], View]:
        """A decorator: the view gets the user, who holds all of these permissions."""

        async def permitted(request: HttpRequest) -> Who:
            who = await self._identified(request)
            await self.check(who, *permissions)
            return who

        return lambda view: self._decorated(view, permitted)

    @property
    def users(self) -> BlockingApplication:
        """The use cases as blocking methods, for synchronous views: `auth.users.get_me(actor=actor)`.

        Errors: `RuntimeError` if ubr does not run in this process; those of opening the source.
        """
        _ = self._loop.application
        return self._blocking

    async def call(self, work: Callable[[Application], Coroutine[Any, Any, T]]) -> T:
        """A call of a use case in an asynchronous view: `await auth.call(lambda ubr: ubr.get_me(actor=actor))`.

        The application is in the event loop of a thread, because it outlives the loop of a request. Errors: those of
        the call; those of `users`.
        """
        return await asyncio.wrap_future(self._loop.submit(lambda: work(self._loop.application)))

    def _decorated(self, view: View, look: Callable[[HttpRequest], Awaitable[Any]]) -> View:
        if inspect.iscoroutinefunction(view):

            @wraps(view)
            async def asynchronous(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
                with self._origin(request):
                    try:
                        who = await asyncio.wrap_future(self._loop.submit(lambda: _awaited(look(request))))
                        return _marked(await view(request, who, *args, **kwargs))
                    except UbrError as error:
                        return _problem(request, error)

            return asynchronous

        @wraps(view)
        def synchronous(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            with self._origin(request):
                try:
                    who = self._loop.run(lambda: _awaited(look(request)))
                    return _marked(view(request, who, *args, **kwargs))
                except UbrError as error:
                    return _problem(request, error)

        return synchronous

    async def _identified(self, request: HttpRequest) -> Who:
        return await self.identify(_fields(request), _kept(request))

    async def _identified_if_given(self, request: HttpRequest) -> Who | None:
        return await self.identify_if_given(_fields(request), _kept(request))

    @contextmanager
    def _origin(self, request: HttpRequest) -> Iterator[None]:
        peer = request.META.get("REMOTE_ADDR") or None
        with calling_from(request_origin(peer, _fields(request), self.trusted_proxies)):
            yield


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def _fields(request: HttpRequest) -> Fields:
    """The header fields. Django joins fields with the same name."""
    return {name.lower().encode(): [value.encode("utf-8")] for name, value in request.headers.items()}


def _kept(request: HttpRequest) -> dict[str, Any]:
    kept: dict[str, Any] = request.__dict__.setdefault(_KEPT, {})
    return kept


def _marked(response: Any) -> HttpResponse:
    response.headers.setdefault(_REQUEST_ID, current_origin().request_id or "")
    return cast("HttpResponse", response)


def _problem(request: HttpRequest, error: UbrError) -> HttpResponse:
    made = answer(error, request.path)
    return _marked(HttpResponse(made.body, made.media_type, made.status, headers=made.headers))
