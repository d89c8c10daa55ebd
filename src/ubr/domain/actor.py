"""Actors."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from ubr.domain.error_kinds import Invalid
from ubr.domain.ids import SessionId, UserId


class Actor(msgspec.Struct, frozen=True):
    """A user in one of their sessions: only ids, as returned by `authenticate`.

    Each use case looks up the actor's permissions, so an actor that is kept for long never becomes stale. Errors:
    `Invalid` for an id that is not a UUID.
    """

    user_id: UserId
    session_id: SessionId

    def __post_init__(self) -> None:
        for name, value in (("user_id", self.user_id), ("session_id", self.session_id)):
            if not isinstance(value, UUID):
                raise Invalid.at(f"/{name}", f"must be UUID, not {type(value).__name__}")


class System:
    """The service itself, or the program that embeds it. It may do everything. There is one: `SYSTEM`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SYSTEM"


SYSTEM: Final = System()
