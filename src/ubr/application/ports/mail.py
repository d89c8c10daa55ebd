"""Mails: what they say, how they wait, and how they leave."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from ubr.application.ports.paging import After
from ubr.domain.accounts.email import Email
from ubr.domain.ids import UserId
from ubr.domain.mail.kinds import MailKind
from ubr.domain.mail.queued_mail import QueuedMail


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail as it is sent. Its texts hold links, so its `repr` does not show them."""

    to: str
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    id: UUID
    """Makes the `Message-ID`: the same for every try, so that one that arrives twice can be told."""

    def __post_init__(self) -> None:
        """Errors: `ValueError` for what would break out of its line of the head."""
        if not self.subject.isprintable() or not self.to.isprintable() or any(mark in self.to for mark in " <>"):
            raise ValueError("A mail has an e-mail and a subject of one line each")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailContext:
    """What a mail has to say."""

    kind: MailKind
    to: str
    full_name: str | None = None
    link: str | None = field(default=None, repr=False)
    minutes: int | None = None
    """How long the link is good."""
    new_email: str | None = None


class MailRenderer(Protocol):
    """Words for facts."""

    def render(self, context: MailContext, id: UUID) -> Mail:
        """The mail that says this.

        What a stranger can have typed stands in no mail to somebody else. Errors: `ValueError` where a fact is missing
        that a mail of this kind rests on.
        """
        ...

    def link(self, page: str, token: str) -> str:
        """Where a page is that takes this token: `reset-password`, `verify-email` or `undo-email`.

        It begins with the configured public URL, whatever a request says. The token stands behind the `#`, which no
        browser sends to a server.
        """
        ...


class Mailer(Protocol):
    """The way out."""

    async def send(self, mail: Mail) -> None:
        """Hand a mail on. When this returns, somebody else answers for it.

        Errors: `MailRefused` where this mail will never be taken; `MailUnavailable` where it may be later, or may have
        been. Neither says an e-mail, a link or a password.
        """
        ...

    @property
    def sends(self) -> bool:
        """Whether there is a way out at all."""
        ...


class Outbox(Protocol):
    """Letters that wait. Inside a unit of work: what asks for a mail and the letter become true together."""

    async def add(self, queued: QueuedMail) -> None:
        """Store a new letter."""
        ...

    async def due(self, now: datetime) -> bool:
        """Whether there is a letter to try."""
        ...

    async def claim(self, now: datetime, until: datetime, limit: int) -> list[QueuedMail]:
        """At most `limit` letters to try, those first that are due longest. Nobody else gets them before `until`.

        Whoever else claims at the same moment gets others, and waits for nobody.
        """
        ...

    async def get(self, mail_id: UUID) -> QueuedMail | None:
        """The letter; None where there is none."""
        ...

    async def page(self, after: After[datetime] | None, limit: int, *, dead: bool | None = None) -> list[QueuedMail]:
        """At most `limit` letters behind `after`, oldest first, never locked; `dead` ones, others, or both."""
        ...

    async def save(self, queued: QueuedMail, *, was: QueuedMail) -> bool:
        """Store the new state of a letter, where nobody has claimed, changed or deleted it since; whether it was so."""
        ...

    async def remove(self, queued: QueuedMail) -> None:
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
