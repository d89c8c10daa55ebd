"""Events of ubr for your own program: `follow` has them in order, none skipped, each at least once.

The classes of events are here too, for hooks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final

from ubr.application.app import Application
from ubr.application.audit.read_events import EventResult, ReadEventsCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import StoreUnavailable
from ubr.domain.events import *  # noqa: F403 - the catalogue says what is public
from ubr.domain.events import __all__ as catalogue

__all__ = ["EventResult", "follow", *catalogue]  # noqa: PLE0604 - as the catalogue is a list of names

PAUSE: Final = 0.5
"""Seconds between two looks for new events."""


async def follow(
    ubr: Application, *, after: str | None = None, actions: Iterable[str] = (), pause: float = PAUSE
) -> AsyncIterator[EventResult]:
    """All events after a position, and then each new one, without end.

    Store `event.position` when you are done with an event, and pass it as `after` the next time. None starts at the
    oldest event that is kept. `actions` selects events by their names. `pause` is in seconds. While the database is
    unavailable, it waits. It holds no connection while you work, so it can be left at any point.
    Errors: `EventsMissing` if events after the position are deleted, or it is a position of another log; `Invalid`;
    `LogDamaged`.
    """
    chosen = list(actions)
    while True:
        try:
            page = await ubr.read_events(ReadEventsCommand(after=after, actions=chosen), actor=SYSTEM)
        except StoreUnavailable as unavailable:
            await asyncio.sleep(unavailable.retry_after)
            continue
        for event in page.items:
            yield event
        after = page.position
        if not page.more:
            await asyncio.sleep(pause)
