"""Queued mails."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec.structs import replace

from ubr.domain.accounts.email import Email
from ubr.domain.concealed import Concealed
from ubr.domain.ids import SessionId, UserId
from ubr.domain.mail.kinds import MailKind

LAST_TRY: Final = 8
"""Number of failed attempts after which a mail is given up."""

_FIRST_PAUSE: Final = timedelta(seconds=30)
_MAX_PAUSE: Final = timedelta(hours=1)


class QueuedMail(Concealed, frozen=True, kw_only=True):
    """A mail to send. Its text, and any link in it, is made only at delivery.

    `email` is the requested address, which may belong to no account; `user_id` is the account that the mail is about,
    if known already. The origin is that of the request.
    """

    id: UUID
    kind: MailKind
    email: Email
    user_id: UserId | None = None
    full_name: str | None = None
    new_email: str | None = None
    session_id: SessionId | None = None
    ip: str | None = None
    request_id: str | None = None
    request_id_given: bool = False
    created_at: datetime
    next_try_at: datetime
    tries: int = 0
    dead: bool = False
    """True if it is not retried until an operator asks for it."""
    last_error: str | None = None

    def failed(self, why: str, *, for_good: bool, now: datetime) -> QueuedMail:
        """An attempt failed.

        The next one follows after a pause that doubles, up to an hour; with `for_good` there is none.
        """
        tries = self.tries + 1
        pause = min(_FIRST_PAUSE * 2 ** min(self.tries, 16), _MAX_PAUSE)
        return replace(self, tries=tries, next_try_at=now + pause, dead=for_good or tries >= LAST_TRY, last_error=why)

    def again(self, now: datetime) -> QueuedMail:
        """An operator asked for a retry, starting from the first attempt."""
        return replace(self, tries=0, next_try_at=now, dead=False)
