"""Mails that wait to be sent."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from ubr.application.ports.repositories import After
from ubr.domain.letter import Letter
from ubr.domain.values import Email, UserId


class Outbox(Protocol):
    """Letters that wait. Inside a unit of work: what asks for a mail and the letter become true together."""

    async def add(self, letter: Letter) -> None:
        """Store a new letter."""
        ...

    async def due(self, now: datetime) -> bool:
        """Whether there is a letter to try."""
        ...

    async def claim(self, now: datetime, until: datetime, limit: int) -> list[Letter]:
        """At most `limit` letters to try, those first that are due longest. Nobody else gets them before `until`.

        Whoever else claims at the same moment gets others, and waits for nobody.
        """
        ...

    async def get(self, letter_id: UUID) -> Letter | None:
        """The letter; None where there is none."""
        ...

    async def page(self, after: After[datetime] | None, limit: int, *, dead: bool | None = None) -> list[Letter]:
        """At most `limit` letters behind `after`, oldest first, never locked; `dead` ones, others, or both."""
        ...

    async def save(self, letter: Letter, *, was: Letter) -> bool:
        """Store the new state of a letter, where nobody has claimed, changed or deleted it since; whether it was so."""
        ...

    async def remove(self, letter: Letter) -> None:
        """Delete a letter, where nobody has claimed or changed it since."""
        ...

    async def forget_changes(self, user_id: UserId, *, changed_since: datetime | None) -> None:
        """Delete letters that would change the e-mail of a user, and those that would undo a change since then."""
        ...

    async def forget_email(self, email: Email) -> None:
        """Delete all letters to an e-mail, however it is spelled."""
        ...

    async def forget_all(self, limit: int) -> int:
        """Delete at most `limit` letters, to whomever. The number deleted."""
        ...

    async def forget(self, made_before: datetime, limit: int) -> int:
        """Delete at most `limit` letters that were made before this. The number deleted."""
        ...
