"""Recording of denials in the audit log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from ubr.domain.actor import Actor
from ubr.domain.errors import (
    Conflict,
    Contradictory,
    Forbidden,
    NotFound,
    PreconditionFailed,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from ubr.application.ports.audit import DenialLog

_DENIALS: Final = (Forbidden, NotFound, Conflict, PreconditionFailed, Contradictory)
"""The kinds of errors that are denials. Invalid input and a missing login are not denials of an action, an unavailable
store denies nothing, and exceeded rate limits are counted for all callers together."""

P = ParamSpec("P")
R = TypeVar("R")


class Deniable(Protocol):
    """A use case that can be denied to a logged-in user."""

    @property
    def denials(self) -> DenialLog: ...


U = TypeVar("U", bound=Deniable)


def denials_recorded(
    call: Callable[Concatenate[U, P], Awaitable[R]],
) -> Callable[Concatenate[U, P], Coroutine[Any, Any, R]]:
    """Record each denial by a use case, under the name of its file. The response does not change.

    Every use case that takes an actor has this decorator, outermost: a retried denial is one denial.
    """
    act = call.__module__.rpartition(".")[2]

    @wraps(call)
    async def recorded(self: U, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await call(self, *args, **kwargs)
        except _DENIALS as denial:
            actor = kwargs.get("actor")
            if isinstance(actor, Actor):
                with suppress(StoreUnavailable):  # it is counted, and written later
                    await self.denials.note(actor, act, denial.code)
            raise

    return recorded
