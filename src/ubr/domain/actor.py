"""Who acts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ubr.domain.ids import SessionId, UserId


@dataclass(frozen=True, slots=True)
class Actor:
    """A user in one of their sessions: ids alone, as `authenticate` returns it.

    What the actor may do is looked up by each use case, so one that is held for long never goes stale.
    """

    user_id: UserId
    session_id: SessionId


class System:
    """The service itself, or the program it is part of. It may do everything. There is one: `SYSTEM`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SYSTEM"


SYSTEM: Final = System()
