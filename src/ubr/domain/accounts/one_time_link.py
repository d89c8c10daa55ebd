"""One-time links: opening one proves control of the mailbox it was sent to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from ubr.domain.accounts.email import Email
from ubr.domain.ids import SessionId, TokenDigest, UserId


class LinkKind(StrEnum):
    """The purpose of a link. The values are stable: the database and the log store them."""

    REGISTRATION = "registration"
    VERIFICATION = "verification"
    PASSWORD_RESET = "password_reset"
    EMAIL_CHANGE = "email_change"
    EMAIL_UNDO = "email_undo"


LINK_LIFETIME: Final = timedelta(minutes=30)
"""How long a link is valid."""

UNDO_LIFETIME: Final = timedelta(days=1)
"""How long a change of e-mail can be undone, and how long the old e-mail stays reserved."""

EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""A moment before every change of e-mail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimeLink:
    """A link that can be redeemed once, identified by the digest of its token.

    `email` is the mailbox that it was sent to: the e-mail of a future account, or the new or
    the restored e-mail of an account. `session_id` is the session that requested the link. It continues when the link
    ends the other sessions.
    """

    digest: TokenDigest
    kind: LinkKind
    email: Email
    user_id: UserId | None = None
    full_name: str | None = field(default=None, repr=False)
    session_id: SessionId | None = None
    created_at: datetime
    expires_at: datetime

    def live_at(self, now: datetime) -> bool:
        return now < self.expires_at
