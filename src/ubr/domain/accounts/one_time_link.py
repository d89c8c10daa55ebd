"""One-time links: whoever opens one has the mailbox it was sent to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from ubr.domain.accounts.email import Email
from ubr.domain.ids import SessionId, TokenDigest, UserId


class LinkKind(StrEnum):
    """What a link is good for. The values are stable: they stand in the database and in the log."""

    REGISTRATION = "registration"
    VERIFICATION = "verification"
    PASSWORD_RESET = "password_reset"
    EMAIL_CHANGE = "email_change"
    EMAIL_UNDO = "email_undo"


LINK_LIFETIME: Final = timedelta(minutes=30)
"""How long a link is good."""

UNDO_LIFETIME: Final = timedelta(days=1)
"""How long a change of e-mail can be taken back, and the old e-mail is nobody else's."""

EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Before every change of e-mail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimeLink:
    """A link that can be redeemed once, known by the digest of its token.

    `email` is the mailbox it was sent to; that of an account yet to be made, or to be changed to or back to. The
    session is the one that asked, and is spared when others end.
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
