"""ubr for programs without an event loop, such as Django, Celery and scripts: every use case as a blocking method.

`with ubr.sync.connect(settings) as users: users.create_user(command, actor=SYSTEM)`
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any, Final, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.app import Application
from ubr.application.kernel.home_loop import WrongEventLoop
from ubr.application.kernel.idempotency import IdempotencyKey
from ubr.application.kernel.representations import UserResult
from ubr.application.ports.system import Clock
from ubr.bootstrap import NO_EXTENSIONS, Extensions
from ubr.bootstrap import connect as connect_in_loop
from ubr.domain.actor import Actor, System
from ubr.settings import Settings

__all__ = ["BlockingApplication", "CallTimeout", "Closed", "ForkedProcess", "connect"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

TIMEOUT: Final = 30.0
"""Seconds that a call may take. Each wait within it has a shorter limit of its own."""

_ENDING: Final = 10.0
"""Seconds that the end waits for calls of other threads, and a cancelled call may take to end."""
_SIGNALS: Final = 1.0
"""Seconds after which a waiting thread notices a signal at the latest."""

_IN_LOOP: Final = (
    "This thread runs an event loop, which a blocking call would stop. Await the use case there instead: with "
    "ubr.connect, or with `call` of DjangoAuth"
)
_FORKED: Final = (
    "This process was forked from the one that connected, and has no connection of its own. Call ubr.sync.connect in "
    "each process, after the fork"
)
_CLOSED: Final = "The connection is closed"
_ENDED: Final = "The connection was closed during the call, whose change may or may not have happened"


class ForkedProcess(RuntimeError):
    """The call came from a fork of the process that connected, and nothing was done. It is a bug of the caller."""


class Closed(RuntimeError):
    """The connection is closed. It is a bug of the caller."""


class CallTimeout(TimeoutError):
    """A call took too long and was cancelled. Its change may or may not have happened."""


def connect(
    settings: Settings,
    *,
    clock: Clock | None = None,
    background: bool = False,
    timeout: float = TIMEOUT,
    extensions: Extensions = NO_EXTENSIONS,
    user_fields: type[Any] | None = None,
) -> BlockingApplication:
    """Every use case as a blocking method, for any number of threads. Close it, or use it as a context.

    One background thread runs an event loop for it, until the end of this process at the latest; coroutines of
    `extensions` run there too. `timeout` is the number of seconds that a call may take. The other arguments, and the
    errors, are those of `ubr.connect`. Also `WrongEventLoop`, in a thread that runs an event loop.
    """
    _forbid_loop()

    def opening() -> AbstractAsyncContextManager[Application]:
        return connect_in_loop(
            settings, clock=clock, background=background, extensions=extensions, user_fields=user_fields
        )

    return BlockingApplication(_Connection(opening), timeout)


def _forbid_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise WrongEventLoop(_IN_LOOP)


class LoopThread(Generic[T]):
    """A thread with an event loop, in which something is open, such as an application: `opened`."""

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        """Errors: those of opening it."""
        self._process = os.getpid()
        self._opening: Future[T] = Future()
        self._closing = asyncio.Event()
        self._lock = threading.Lock()
        self._closed = False
        self._calls: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop
        # A daemon, because the interpreter would wait for another thread before it runs what closes this one.
        self._thread = threading.Thread(target=asyncio.run, args=[self._serve(opening)], name="ubr.sync", daemon=True)
        self._thread.start()
        try:
            self.opened = self._opening.result()
        except BaseException:
            self.close()
            raise

    async def _serve(self, opening: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            async with opening() as opened:
                self._opening.set_result(opened)
                if not self._closed:
                    await self._closing.wait()
                if self._calls:
                    await asyncio.wait(self._calls, timeout=_ENDING)
        except BaseException as error:
            if self._opening.done():
                raise
            self._opening.set_exception(error)

    def run(self, call: Callable[[], Coroutine[Any, Any, R]], timeout: float) -> R:
        """The result of a call, in the context of the caller."""
        _forbid_loop()
        begun = _Call(call)
        try:
            self._begin(begun)
            return _awaited(begun.result, timeout)
        except Closed:
            raise
        except BaseException as error:
            if begun.result.done():
                raise
            # It took too long, or Ctrl-C was pressed. The call ends before this thread goes on, if it can.
            self._cancel(begun)
            with suppress(BaseException):
                begun.result.exception(_ENDING)
            if isinstance(error, TimeoutError):
                raise CallTimeout(f"A call took longer than {timeout:g} seconds, and was cancelled") from None
            raise

    async def call(self, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """The same for a caller in another event loop. If the caller is cancelled, so is the call."""
        begun = _Call(call)
        self._begin(begun)
        try:
            return await asyncio.wrap_future(begun.result)
        except asyncio.CancelledError:
            self._cancel(begun)
            raise

    def _begin(self, call: _Call[Any]) -> None:
        if os.getpid() != self._process:
            raise ForkedProcess(_FORKED)
        self._schedule(lambda: call.begin(self._loop, self._calls))

    def _cancel(self, call: _Call[Any]) -> None:
        with suppress(RuntimeError):  # the loop has just ended, and the call with it
            self._loop.call_soon_threadsafe(call.cancel)

    def _schedule(self, begin: Callable[[], None]) -> None:
        with self._lock:
            if self._closed:
                raise Closed(_CLOSED)
            self._loop.call_soon_threadsafe(begin, context=contextvars.copy_context())

    def close(self) -> None:
        """Wait for the calls of other threads, and end. A second call does nothing, and neither does one in a fork."""
        if os.getpid() != self._process:
            return
        with self._lock:
            first, self._closed = not self._closed, True
        if first and self._thread.is_alive() and hasattr(self, "_loop"):
            with suppress(RuntimeError):  # the loop has just ended by itself
                self._loop.call_soon_threadsafe(self._closing.set)
        if threading.current_thread() is not self._thread:
            self._thread.join()


def _awaited(result: Future[R], timeout: float) -> R:
    """The result within `timeout` seconds. Errors: `TimeoutError`, and those of the result.

    The wait is a series of short ones: a signal that arrives just before a wait begins does not wake it, so Ctrl-C
    would have no effect until its end.
    """
    end = time.monotonic() + timeout
    while True:
        left = end - time.monotonic()
        try:
            return result.result(max(0.0, min(left, _SIGNALS)))
        except TimeoutError:
            if result.done():  # in the meantime, or with an error of this kind
                return result.result()
            if left <= _SIGNALS:
                raise


class _Call(Generic[R]):
    """A call in the loop of the thread. `result` is for the caller, in another thread."""

    def __init__(self, call: Callable[[], Coroutine[Any, Any, R]]) -> None:
        self.result: Final[Future[R]] = Future()
        self._call = call
        self._task: asyncio.Task[None] | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, calls: set[asyncio.Task[Any]]) -> None:
        self._task = loop.create_task(self._work())
        calls.add(self._task)
        self._task.add_done_callback(calls.discard)
        # A task that is cancelled before its first step never reaches `_work`.
        self._task.add_done_callback(lambda _: self._fail(Closed(_ENDED)))

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        try:
            value = await self._call()
        except asyncio.CancelledError:  # the connection was closed, or the caller has stopped waiting
            self._fail(Closed(_ENDED))
        except BaseException as error:  # noqa: BLE001 - it is raised where the call was made
            self._fail(error)
        else:
            with suppress(InvalidStateError):
                self.result.set_result(value)

    def _fail(self, error: BaseException) -> None:
        with suppress(InvalidStateError):  # the caller was cancelled, and the result with it
            self.result.set_exception(error)


class _Connection(LoopThread[Application]):
    @property
    def application(self) -> Application:
        return self.opened


class _UseCase(Generic[P, R]):
    """A use case as a blocking method, with the same arguments and the same result."""

    def __init__(self, of: Callable[[Application], Callable[P, Coroutine[Any, Any, R]]]) -> None:
        self._of = of

    @overload
    def __get__(self, instance: None, owner: type[BlockingApplication]) -> Self: ...
    @overload
    def __get__(self, instance: BlockingApplication, owner: type[BlockingApplication]) -> Callable[P, R]: ...
    def __get__(self, instance: BlockingApplication | None, owner: type[BlockingApplication]) -> Self | Callable[P, R]:
        if instance is None:
            return self
        use_case = self._of(instance.application)

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return instance.run(lambda: use_case(*args, **kwargs))

        return call


class Portal(Protocol):
    """A thread with an event loop in which an application is open."""

    @property
    def application(self) -> Application: ...

    def run(self, call: Callable[[], Coroutine[Any, Any, R]], timeout: float) -> R:
        """The result of a call, in the context of the caller."""
        ...

    def close(self) -> None:
        """Wait for the calls of other threads, and end. A second call does nothing."""
        ...


class BlockingApplication:
    """The use cases of `Application`, called as `users.create_user(command, actor=…)`, from any thread.

    Errors of each call: those of the use case; `CallTimeout`; `Closed`; `ForkedProcess`; `WrongEventLoop` in a thread
    that runs an event loop. Ctrl-C cancels the call. `calling_from` around a call works as elsewhere.
    """

    def __init__(self, loop: Portal, timeout: float = TIMEOUT) -> None:
        self._loop = loop
        self._timeout = timeout
        self._finalizer = weakref.finalize(self, loop.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the thread and its connections, after the calls of other threads. A second call does nothing."""
        self._finalizer()

    @property
    def application(self) -> Application:
        """The application in the event loop of the thread, which alone may call it."""
        return self._loop.application

    def run(self, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """The result of a coroutine that runs in the event loop of the thread."""
        return self._loop.run(call, self._timeout)

    @overload
    def register_user(
        self, command: RegisterUserCommand, /, *, actor: System, idempotency_key: IdempotencyKey | None = None
    ) -> UserResult: ...
    @overload
    def register_user(
        self,
        command: RegisterUserCommand,
        /,
        *,
        actor: Actor | System | None = None,
        idempotency_key: IdempotencyKey | None = None,
    ) -> UserResult | None: ...
    def register_user(
        self,
        command: RegisterUserCommand,
        /,
        *,
        actor: Actor | System | None = None,
        idempotency_key: IdempotencyKey | None = None,
    ) -> UserResult | None:
        """The user; None if registration is decided by mail."""
        return self.run(lambda: self.application.register_user(command, actor=actor, idempotency_key=idempotency_key))

    change_password = _UseCase(lambda ubr: ubr.change_password)
    request_password_reset = _UseCase(lambda ubr: ubr.request_password_reset)
    reset_password = _UseCase(lambda ubr: ubr.reset_password)
    request_email_change = _UseCase(lambda ubr: ubr.request_email_change)
    verify_email = _UseCase(lambda ubr: ubr.verify_email)
    resend_verification = _UseCase(lambda ubr: ubr.resend_verification)
    undo_email_change = _UseCase(lambda ubr: ubr.undo_email_change)
    get_me = _UseCase(lambda ubr: ubr.get_me)
    get_user = _UseCase(lambda ubr: ubr.get_user)
    get_user_by_email = _UseCase(lambda ubr: ubr.get_user_by_email)
    list_users = _UseCase(lambda ubr: ubr.list_users)
    create_user = _UseCase(lambda ubr: ubr.create_user)
    update_user = _UseCase(lambda ubr: ubr.update_user)
    delete_user = _UseCase(lambda ubr: ubr.delete_user)
    erase_user = _UseCase(lambda ubr: ubr.erase_user)
    unlock_user = _UseCase(lambda ubr: ubr.unlock_user)
    explain_login = _UseCase(lambda ubr: ubr.explain_login)
    export_user = _UseCase(lambda ubr: ubr.export_user)
    create_admin = _UseCase(lambda ubr: ubr.create_admin)
    index_user_fields = _UseCase(lambda ubr: ubr.index_user_fields)
    log_in = _UseCase(lambda ubr: ubr.log_in)
    refresh_session = _UseCase(lambda ubr: ubr.refresh_session)
    log_in_browser = _UseCase(lambda ubr: ubr.log_in_browser)
    issue_access_token = _UseCase(lambda ubr: ubr.issue_access_token)
    log_out = _UseCase(lambda ubr: ubr.log_out)
    authenticate = _UseCase(lambda ubr: ubr.authenticate)
    authenticate_cookie = _UseCase(lambda ubr: ubr.authenticate_cookie)
    list_sessions = _UseCase(lambda ubr: ubr.list_sessions)
    revoke_session = _UseCase(lambda ubr: ubr.revoke_session)
    revoke_other_sessions = _UseCase(lambda ubr: ubr.revoke_other_sessions)
    revoke_user_sessions = _UseCase(lambda ubr: ubr.revoke_user_sessions)
    get_role = _UseCase(lambda ubr: ubr.get_role)
    list_roles = _UseCase(lambda ubr: ubr.list_roles)
    create_role = _UseCase(lambda ubr: ubr.create_role)
    update_role = _UseCase(lambda ubr: ubr.update_role)
    delete_role = _UseCase(lambda ubr: ubr.delete_role)
    assign_role = _UseCase(lambda ubr: ubr.assign_role)
    unassign_role = _UseCase(lambda ubr: ubr.unassign_role)
    list_user_roles = _UseCase(lambda ubr: ubr.list_user_roles)
    permits = _UseCase(lambda ubr: ubr.permits)
    deliver_mail = _UseCase(lambda ubr: ubr.deliver_mail)
    list_mail = _UseCase(lambda ubr: ubr.list_mail)
    retry_mail = _UseCase(lambda ubr: ubr.retry_mail)
    list_logs = _UseCase(lambda ubr: ubr.list_logs)
    read_events = _UseCase(lambda ubr: ubr.read_events)
    get_activity = _UseCase(lambda ubr: ubr.get_activity)
    get_checkpoint = _UseCase(lambda ubr: ubr.get_checkpoint)
    prove_log_entry = _UseCase(lambda ubr: ubr.prove_log_entry)
    compare_checkpoint = _UseCase(lambda ubr: ubr.compare_checkpoint)
    verify_log = _UseCase(lambda ubr: ubr.verify_log)
    export_log = _UseCase(lambda ubr: ubr.export_log)
    prune_log = _UseCase(lambda ubr: ubr.prune_log)
    list_log_keys = _UseCase(lambda ubr: ubr.list_log_keys)
    rotate_log_key = _UseCase(lambda ubr: ubr.rotate_log_key)
    list_signing_keys = _UseCase(lambda ubr: ubr.list_signing_keys)
    rotate_signing_key = _UseCase(lambda ubr: ubr.rotate_signing_key)
    revoke_signing_key = _UseCase(lambda ubr: ubr.revoke_signing_key)
    rewrap_signing_keys = _UseCase(lambda ubr: ubr.rewrap_signing_keys)
    get_public_keys = _UseCase(lambda ubr: ubr.get_public_keys)
    follow_revocations = _UseCase(lambda ubr: ubr.follow_revocations)
    stop_following_revocations = _UseCase(lambda ubr: ubr.stop_following_revocations)
    acknowledge_restore = _UseCase(lambda ubr: ubr.acknowledge_restore)
    check_health = _UseCase(lambda ubr: ubr.check_health)
    initialize = _UseCase(lambda ubr: ubr.initialize)
    inspect_installation = _UseCase(lambda ubr: ubr.inspect_installation)
    create_machine = _UseCase(lambda ubr: ubr.create_machine)
    get_machine = _UseCase(lambda ubr: ubr.get_machine)
    list_machines = _UseCase(lambda ubr: ubr.list_machines)
    update_machine = _UseCase(lambda ubr: ubr.update_machine)
    delete_machine = _UseCase(lambda ubr: ubr.delete_machine)
    create_machine_key = _UseCase(lambda ubr: ubr.create_machine_key)
    list_machine_keys = _UseCase(lambda ubr: ubr.list_machine_keys)
    rotate_machine_key = _UseCase(lambda ubr: ubr.rotate_machine_key)
    revoke_machine_key = _UseCase(lambda ubr: ubr.revoke_machine_key)
    log_in_machine = _UseCase(lambda ubr: ubr.log_in_machine)
