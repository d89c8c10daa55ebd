"""Finishing what must not be left half done, although the task is being cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def uninterrupted(doing: Coroutine[Any, Any, T]) -> T:
    """Do something to its end. Where the task is cancelled meanwhile, it is so afterwards, whatever came of it."""
    task = asyncio.ensure_future(doing)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            # Its own failure is raised below.
            with suppress(Exception):
                await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # Looked at, so that nobody complains of it.
        raise cancelled
    return task.result()
