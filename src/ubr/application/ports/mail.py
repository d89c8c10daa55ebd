"""Mails: what waits to be sent, what it says, and how it is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from ubr.application.ports.repositories import After
from ubr.domain.mail import Letter, MailKind
from ubr.domain.values import Email


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

    async def save(self, letter: Letter) -> None:
        """Store the new state of a letter; one that is gone stays gone."""
        ...

    async def remove(self, letter_id: UUID) -> None:
        """Delete a letter. A second time does nothing."""
        ...

    async def forget_email(self, email: Email) -> None:
        """Delete all letters to an e-mail, however it is spelled."""
        ...

    async def forget_all(self, limit: int) -> int:
        """Delete at most `limit` letters, to whomever. The number deleted."""
        ...

    async def forget(self, dead_before: datetime, limit: int) -> int:
        """Delete at most `limit` dead letters that were made before this. The number deleted."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MailFacts:
    """What a mail says. Its `repr` shows neither whom it is for nor its link."""

    kind: MailKind
    to: str = field(repr=False)
    full_name: str | None = field(default=None, repr=False)
    link: str | None = field(default=None, repr=False)
    minutes: int | None = None
    """How long the link is good."""
    new_email: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail as it is sent. `id` makes its Message-ID, the same for every try. Its `repr` shows nothing of it."""

    to: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    id: UUID


class Composer(Protocol):
    """Writes mails."""

    def compose(self, facts: MailFacts, id: UUID) -> Mail:
        """The mail that says this."""
        ...

    def link(self, page: str, token: str) -> str:
        """The address of one of our pages with a token that no server sees. It begins with the public URL alone."""
        ...


class Mailer(Protocol):
    """Hands mails over to be delivered."""

    @property
    def sends(self) -> bool:
        """Whether there is any way to send a mail."""
        ...

    async def send(self, mail: Mail) -> None:
        """Return once somebody else is responsible for it.

        Errors: `MailRefused` where it is no use to try again; `MailUnavailable` for everything else. What they say
        holds nothing of the mail.
        """
        ...

