"""Periodic jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from ubr.domain.errors import StoreUnavailable

Act: TypeAlias = Callable[[], Awaitable[object]]

_log: Final = logging.getLogger("ubr.jobs")


@asynccontextmanager
async def running_beside(*rounds: tuple[Act, float]) -> AsyncIterator[None]:
    """Repeat all of these, each with its pause in seconds, until the context ends."""
    tasks = [asyncio.create_task(repeat(act, seconds)) for act, seconds in rounds]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def repeat(act: Act, seconds: float) -> None:
    """Repeat an act without end, with a pause in seconds. A failed round is followed by the next one.

    The first unexpected error is logged, and then the first after each success.
    """
    complained = False
    while True:
        try:
            await act()
            complained = False
        except StoreUnavailable:
            pass
        except Exception:  # noqa: BLE001 - the service continues without this round
            if not complained:
                _log.exception("A background job failed; it will be retried")
            complained = True
        await asyncio.sleep(seconds)
