"""Mails: what there is to say, and letters on their way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from ubr.domain.values import Email, SessionId, UserId


class MailKind(StrEnum):
    """What a mail is about. The values are stable: they stand in the database, and name the templates."""

    REGISTRATION = "registration"
    """Finish a registration: a link that makes the account."""
    ACCOUNT_EXISTS = "account_exists"
    """Somebody wanted to register with an e-mail that has an account."""
    VERIFICATION = "verification"
    """Confirm the e-mail of an account."""
    PASSWORD_RESET = "password_reset"
    """Set a new password."""
    INVITATION = "invitation"
    """An account was made for you: set its password."""
    EMAIL_CHANGE = "email_change"
    """To a new e-mail: confirm that it is to be that of the account."""
    EMAIL_CHANGE_ASKED = "email_change_asked"
    """To the present one: somebody asked for another."""
    EMAIL_CHANGED = "email_changed"
    """To the one of before: a link that takes it back."""
    EMAIL_IN_USE = "email_in_use"
    """To an e-mail that somebody wanted as theirs, but which has an account."""


LAST_TRY: Final = 8
"""A mail that could not be sent so often is given up."""

_FIRST_PAUSE: Final = timedelta(seconds=30)
_LONGEST_PAUSE: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A mail that is to be sent. What it says is made when it is: until then there is no link in it, nor anywhere.

    `email` is the one it was asked for, which may be nobody's; `user_id` whose account it is about, where that is
    known already. The origin is that of whoever asked.
    """

    id: UUID
    kind: MailKind
    email: Email
    user_id: UserId | None = None
    full_name: str | None = field(default=None, repr=False)
    session_id: SessionId | None = None
    ip: str | None = field(default=None, repr=False)
    request_id: str | None = None
    request_id_given: bool = False
    created_at: datetime
    next_try_at: datetime
    tries: int = 0
    dead: bool = False
    """Whether nobody tries any more, until an operator says so."""
    last_error: str | None = None

    def failed(self, why: str, *, for_good: bool, now: datetime) -> Letter:
        """A try came to nothing. The next one comes after a pause that doubles, up to an hour; or none does."""
        tries = self.tries + 1
        pause = min(_FIRST_PAUSE * 2 ** min(self.tries, 16), _LONGEST_PAUSE)
        return replace(
            self, tries=tries, next_try_at=now + pause, dead=for_good or tries >= LAST_TRY, last_error=why
        )

    def again(self, now: datetime) -> Letter:
        """An operator wants it tried once more, from the beginning."""
        return replace(self, tries=0, next_try_at=now, dead=False)
