"""Mails: their text, the queue, and delivery."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import msgspec

if TYPE_CHECKING:
    from ubr.application.ports.paging import After
    from ubr.domain.accounts.email import Email
    from ubr.domain.ids import UserId
    from ubr.domain.mail.kinds import MailKind
    from ubr.domain.mail.queued_mail import QueuedMail


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail ready to send. Its texts hold links, so its `repr` hides them."""

    to: str
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    id: UUID
    """The source of the `Message-ID`: the same for every attempt with the same text, so that a duplicate can be
    recognised."""

    def __post_init__(self) -> None:
        """Errors: `ValueError` for a value that would break out of its header line."""
        if not self.subject.isprintable() or not self.to.isprintable() or any(mark in self.to for mark in " <>"):
            raise ValueError("A mail has an e-mail and a subject of one line each")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailContext:
    """The data of a mail."""

    kind: MailKind
    to: str
    full_name: str | None = None
    link: str | None = field(default=None, repr=False)
    minutes: int | None = None
    """Lifetime of the link, in minutes."""
    new_email: str | None = None


class MailRenderer(Protocol):
    """Renders mails."""

    def render(self, context: MailContext, id: UUID) -> Mail:
        """The mail for this context.

        A mail never holds text that may have been typed by a stranger to its recipient. Errors: `ValueError` if data is
        missing that a mail of this kind needs.
        """
        ...

    def link(self, page: str, token: str) -> str:
        """The URL of the page that takes this token: `reset-password`, `verify-email` or `undo-email`.

        It begins with the configured public URL, never with a host from a request. The token is in the fragment, after
        the `#`, which no browser sends to a server.
        """
        ...


class Mailer(Protocol):
    """Sends mails."""

    async def send(self, mail: Mail) -> None:
        """Hand a mail over. On return, the receiving side is responsible for it.

        Errors: `MailRefused` if this mail will never be accepted; `MailUnavailable` if it may be accepted later, or may
        have been already. Neither error contains an e-mail, a link or a password.
        """
        ...

    @property
    def max_duration(self) -> timedelta:
        """The longest time that `send` takes."""
        ...

    @property
    def sends(self) -> bool:
        """True if mails can be sent at all."""
        ...


class MailBacklog(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of queued mails. `oldest` is the time since which the first due mail has been due; None without one."""

    due: int
    dead: int
    oldest: datetime | None

    def age(self, now: datetime) -> timedelta:
        """How long the first due mail has been due."""
        return timedelta(0) if self.oldest is None else max(timedelta(0), now - self.oldest)


class Outbox(Protocol):
    """Queued mails. These run inside a unit of work: a request for a mail and the queued mail commit together."""

    async def add(self, queued: QueuedMail) -> None:
        """Store a new queued mail."""
        ...

    async def due(self, now: datetime, *, without: Collection[str] = ()) -> bool:
        """True if a queued mail is due, to another domain than these."""
        ...

    async def backlog(self, now: datetime) -> MailBacklog:
        """The mails that are due, to any domain, and the dead ones. A claimed mail is not due."""
        ...

    async def claim(
        self, now: datetime, until: datetime, limit: int, *, without: Collection[str] = ()
    ) -> list[QueuedMail]:
        """At most `limit` due mails, the longest due first, `without` those to these domains. No other caller gets them
        before `until`.

        Concurrent callers get different mails and do not wait for each other.
        """
        ...

    async def get(self, mail_id: UUID) -> QueuedMail | None:
        """The queued mail; None if missing."""
        ...

    async def page(self, after: After[datetime] | None, limit: int, *, dead: bool | None = None) -> list[QueuedMail]:
        """At most `limit` queued mails after `after`, oldest first, never locked.

        `dead` selects dead ones or the others; None selects both.
        """
        ...

    async def save(self, queued: QueuedMail, *, was: QueuedMail) -> bool:
        """Store the new state of a queued mail.

        Returns False, and stores nothing, if it was claimed, changed or deleted since `was` was read.
        """
        ...

    async def remove(self, queued: QueuedMail) -> None:
        """Delete a queued mail, unless it was claimed or changed since it was read."""
        ...

    async def forget_links(self, user_id: UserId, email: Email, *, changed_since: datetime | None) -> None:
        """Delete the queued mails that would bring links about a user, or links to this e-mail for its account.

        Of the mails that undo a change of e-mail, delete those for changes since `changed_since`; None keeps them all.
        """
        ...

    async def forget_email(self, email: Email, user_id: UserId) -> None:
        """Delete the queued mails to an e-mail, in any spelling, except those about another user."""
        ...

    async def forget_all(self, limit: int) -> int:
        """Delete at most `limit` queued mails to any address. Returns the number deleted."""
        ...

    async def forget(self, made_before: datetime, limit: int) -> int:
        """Delete at most `limit` queued mails made before this. Returns the number deleted."""
        ...
