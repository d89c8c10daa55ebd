"""Completes work that must not stop halfway, even if the task is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def uninterrupted(doing: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end. A cancellation in the meantime is raised afterwards, after an error too."""
    task = asyncio.ensure_future(doing)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            # The code below raises the failure of `task` itself.
            with suppress(Exception):
                await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # Retrieved, so that asyncio does not report it.
        raise cancelled
    return task.result()
