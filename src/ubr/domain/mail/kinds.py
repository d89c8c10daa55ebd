"""The kinds of mail."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class MailKind(StrEnum):
    """The subject of a mail. The values are stored, and never change."""

    REGISTRATION = "registration"
    """Finish a registration, if registration is `verified`."""

    ACCOUNT_EXISTS = "account_exists"
    """A registration used the e-mail of an existing account, if registration is `verified`. Contains no link."""

    VERIFICATION = "verification"
    """Confirm the e-mail of an account."""

    PASSWORD_RESET = "password_reset"
    """Set a new password."""

    INVITATION = "invitation"
    """An account was made for the recipient, who has yet to set a password."""

    EMAIL_CHANGE = "email_change"
    """To a new e-mail: confirm it."""

    EMAIL_CHANGE_ASKED = "email_change_asked"
    """To the old e-mail, when a change is requested. Contains no link."""

    EMAIL_CHANGED = "email_changed"
    """To the old e-mail, after the change: undo it."""

    EMAIL_IN_USE = "email_in_use"
    """To an e-mail that a user wanted to change theirs to, and that already has an account. Contains no link."""

    EMAIL_REPLACED = "email_replaced"
    """To the old e-mail, after another user changed it. Contains no link."""


LINK_MAILS: Final = frozenset(
    {MailKind.VERIFICATION, MailKind.PASSWORD_RESET, MailKind.INVITATION, MailKind.EMAIL_CHANGE}
)
"""Mails that bring a link for an account, apart from the one that undoes a change of e-mail."""
