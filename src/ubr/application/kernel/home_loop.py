"""The one event loop that an application may be called in."""

from __future__ import annotations

import asyncio
from typing import Final

_SENTENCE: Final = (
    "This application belongs to another event loop, and nothing was done. Call it in the loop that opened it "
    "(from another thread with asyncio.run_coroutine_threadsafe), or open another application with connect() there"
)


class WrongEventLoop(RuntimeError):
    """A call came from another event loop or thread. It is a bug of the caller, so it is not a `UbrError`."""

    def __init__(self) -> None:
        super().__init__(_SENTENCE)


class HomeLoop:
    """Remembers the event loop of the first call, and rejects every other.

    Connections, locks and tasks belong to one loop. They do not fail cleanly in another one: a statement is sent,
    its answer goes to the wrong loop, and the connection is left inside a transaction for the next caller.
    """

    __slots__ = ("_loop",)

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def check(self) -> None:
        """Called before anything is touched. Errors: `WrongEventLoop`."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:  # another kind of loop, or none
            raise WrongEventLoop from None
        if running is self._loop:
            return
        if self._loop is not None:
            raise WrongEventLoop
        self._loop = running
