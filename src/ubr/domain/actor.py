"""Actors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ubr.domain.ids import SessionId, UserId


@dataclass(frozen=True, slots=True)
class Actor:
    """A user in one of their sessions: only ids, as returned by `authenticate`.

    Each use case looks up the actor's permissions, so an actor that is kept for long never becomes stale.
    """

    user_id: UserId
    session_id: SessionId


class System:
    """The service itself, or the program that embeds it. It may do everything. There is one: `SYSTEM`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SYSTEM"


SYSTEM: Final = System()
