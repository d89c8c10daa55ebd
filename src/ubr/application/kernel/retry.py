"""Repeating what had no effect."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from ubr.domain.errors import TransactionConflict

P = ParamSpec("P")
R = TypeVar("R")
Self = TypeVar("Self")

_ATTEMPTS: Final = 4
_PAUSE: Final = 0.02
"""Seconds, doubled with each try, and up to as much again by chance: those who collided should not meet anew."""


def retry_on_conflict(
    call: Callable[Concatenate[Self, P], Awaitable[R]],
) -> Callable[Concatenate[Self, P], Coroutine[Any, Any, R]]:
    """Mark a use case that the store may ask to be done again, after a deadlock or a serialization failure.

    It is safe because a use case is one unit of work with one commit, decides everything on what it reads inside, and
    is repeated only where that unit was rolled back for certain. A commit whose outcome is unknown is not repeated.
    """

    @wraps(call)
    async def repeated(self: Self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        for attempt in range(_ATTEMPTS - 1):
            try:
                return await call(self, *args, **kwargs)
            except TransactionConflict:
                pause = _PAUSE * 2**attempt
                await asyncio.sleep(pause + pause * random.random())  # noqa: S311 - no secret
        return await call(self, *args, **kwargs)

    return repeated
