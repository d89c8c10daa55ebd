"""Mails: what they say, and how they leave."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from ubr.domain.mail import MailKind


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
class MailFacts:
    """What a mail has to say."""

    kind: MailKind
    to: str
    full_name: str | None = None
    link: str | None = field(default=None, repr=False)
    minutes: int | None = None
    """How long the link is good."""
    new_email: str | None = None


class Composer(Protocol):
    """Words for facts."""

    def compose(self, facts: MailFacts, id: UUID) -> Mail:
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
