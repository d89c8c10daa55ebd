"""Retries of calls that had no effect."""

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
"""Seconds, doubled with each attempt, plus up to as much again at random, so that callers do not collide again."""


def retry_on_conflict(
    call: Callable[Concatenate[Self, P], Awaitable[R]],
) -> Callable[Concatenate[Self, P], Coroutine[Any, Any, R]]:
    """Repeat a use case after a deadlock or a serialization failure in the store.

    This is safe because a use case is one unit of work with one commit, bases every decision on data read inside it,
    and is repeated only if that unit was certainly rolled back. A commit with an unknown outcome is not repeated, and
    neither is a unit within a transaction of the host: its locks and its earlier work belong to the conflict.
    """

    @wraps(call)
    async def repeated(self: Self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        for attempt in range(_ATTEMPTS - 1):
            try:
                return await call(self, *args, **kwargs)
            except TransactionConflict as conflict:
                if not conflict.repeatable:
                    raise
                pause = _PAUSE * 2**attempt
                await asyncio.sleep(pause + pause * random.random())  # noqa: S311 - not a secret
        return await call(self, *args, **kwargs)

    return repeated
