"""An application in memory that is opened and closed outside of the event loop of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Self, TypeVar

from ubr.application.app import Application
from ubr.testing.memory import MovableClock, in_memory

T = TypeVar("T")


class Aside:
    """Opens an application in an event loop of its own, in a thread of its own, and gives it to the first caller.

    Plugins for asynchronous tests each have their own way to run an asynchronous fixture. This one needs none.
    """

    ubr: Application
    clock: MovableClock

    def __init__(self) -> None:
        self._opened = in_memory()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        # A thread, because the loop of a test may be running in this one.
        self._thread = self._stack.enter_context(ThreadPoolExecutor(1))
        self._loop = asyncio.new_event_loop()
        self._stack.callback(self._loop.close)
        self.ubr, self.clock = self._complete(self._opened.__aenter__)
        # The opening was its first call.
        self._home = self.ubr.authenticate.authorize.session_cache.home
        self._home.forget()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._stack:
            self.run(lambda: self._opened.__aexit__(None, None, None))

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Complete this while the test waits."""
        with self._home.lent():
            return self._complete(work)

    def _complete(self, work: Callable[[], Awaitable[T]]) -> T:
        async def done() -> T:
            return await work()

        return self._thread.submit(lambda: self._loop.run_until_complete(done())).result()
