"""Doing something again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from ubr.domain.errors import StoreUnavailable

_log: Final = logging.getLogger("ubr.jobs")


async def repeat(act: Callable[[], Awaitable[object]], seconds: float) -> None:
    """Do something for ever, with a pause of so many seconds. What goes wrong in one round may succeed in the next.

    Of what could not have been foreseen the first is logged, and then the first after a success.
    """
    complained = False
    while True:
        try:
            await act()
            complained = False
        except StoreUnavailable:
            pass
        except Exception:  # noqa: BLE001 - whatever it was, the service goes on without this round
            if not complained:
                _log.exception("A job failed; it is tried again and again")
            complained = True
        await asyncio.sleep(seconds)
