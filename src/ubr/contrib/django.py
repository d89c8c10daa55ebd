"""The users of a program with Django, in synchronous and asynchronous views, under WSGI and ASGI.

    auth = DjangoAuth(Library())

    @auth.require("notes:edit")
    def write_note(request: HttpRequest, actor: Actor) -> HttpResponse:
        …

`docs/frameworks.md` describes it.
"""

from __future__ import annotations

import atexit
import inspect
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final, Generic, TypeVar, cast

from ubr.application.app import Application
from ubr.application.kernel.origin import calling_from, current_origin
from ubr.contrib.auth import Auth, Library, Source, TokenGate, Tokens, Who
from ubr.contrib.problems import answer
from ubr.domain.errors import UbrError
from ubr.entrypoints.http.fields import Fields
from ubr.entrypoints.http.origin import request_origin
from ubr.sync import TIMEOUT, BlockingApplication, LoopThread

try:
    from django.http import HttpRequest, HttpResponse
except ImportError as error:
    raise ImportError("ubr.contrib.django needs Django: install the package django") from error

__all__ = ["Auth", "DjangoAuth", "Library", "Source", "TokenGate", "Tokens"]

T = TypeVar("T")
View = Callable[..., Any]

_REQUEST_ID: Final = "X-Request-ID"


class _Loop(Generic[Who]):
    """An event loop in a thread of its own, in which the source is open: Django has no loop that lasts.

    It starts with the first call of a process, and ends with the process.
    """

    def __init__(self, auth: Auth[Who]) -> None:
        self._auth = auth
        self._starting = threading.Lock()
        self._thread: LoopThread[None] | None = None
        _loops.add(self)
        atexit.register(self.close)

    @property
    def application(self) -> Application:
        """The use cases. Errors: `RuntimeError` if ubr does not run in this process; those of opening the source."""
        self._started()
        return self._auth.ubr

    def run(self, call: Callable[[], Coroutine[Any, Any, T]], timeout: float = TIMEOUT) -> T:
        """The result of a call. Errors: its own; those of `BlockingApplication`, and of opening the source."""
        return self._started().run(call, timeout)

    async def call(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The same for a caller in another event loop."""
        return await self._started().call(call)

    def close(self) -> None:
        """Close the source, and end. A second call does nothing. A later call opens it again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()

    def leave(self) -> None:
        """Forget the thread in a fork, which it does not survive. Another thread may have held the lock."""
        self._starting = threading.Lock()
        _left.append((self._thread, self._auth.leave()))
        self._thread = None

    def _started(self) -> LoopThread[None]:
        with self._starting:
            if self._thread is None:
                self._thread = LoopThread(self._auth.running)
            return self._thread


_loops: Final[weakref.WeakSet[_Loop[Any]]] = weakref.WeakSet()
_left: Final[list[object]] = []
"""The open sources of the process that forked this one. Closing one here would disturb its event loop."""


def _forked() -> None:
    for loop in list(_loops):
        loop.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


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
        self._requires(permissions)

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
        return await self._loop.call(lambda: work(self.ubr))

    def _decorated(self, view: View, look: Callable[[HttpRequest], Awaitable[Any]]) -> View:
        if inspect.iscoroutinefunction(view):

            @wraps(view)
            async def asynchronous(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
                with self._origin(request):
                    try:
                        who = await self._loop.call(lambda: _awaited(look(request)))
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
        return await self.identify(_fields(request))

    async def _identified_if_given(self, request: HttpRequest) -> Who | None:
        return await self.identify_if_given(_fields(request))

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


def _marked(response: Any) -> HttpResponse:
    response.headers.setdefault(_REQUEST_ID, current_origin().request_id or "")
    return cast("HttpResponse", response)


def _problem(request: HttpRequest, error: UbrError) -> HttpResponse:
    made = answer(error, request.path)
    return _marked(HttpResponse(made.body, made.media_type, made.status, headers=made.headers))
