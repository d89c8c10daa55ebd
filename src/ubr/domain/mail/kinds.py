"""Which mails there are."""

from __future__ import annotations

from enum import StrEnum


class MailKind(StrEnum):
    """What a mail is about. The values are stored, and never change."""

    REGISTRATION = "registration"
    """Somebody registered: finish it, where registration is `verified`."""

    ACCOUNT_EXISTS = "account_exists"
    """Somebody registered with an e-mail that has an account, where registration is `verified`. It holds no link."""

    VERIFICATION = "verification"
    """Confirm the e-mail of an account."""

    PASSWORD_RESET = "password_reset"
    """Set a new password."""

    INVITATION = "invitation"
    """An account was made for somebody, who has yet to set a password."""

    EMAIL_CHANGE = "email_change"
    """To a new e-mail: confirm it."""

    EMAIL_CHANGE_ASKED = "email_change_asked"
    """To the old e-mail, when another is asked for. It holds no link."""

    EMAIL_CHANGED = "email_changed"
    """To the old e-mail, when another has taken its place: undo it."""

    EMAIL_IN_USE = "email_in_use"
    """To an e-mail that somebody wanted to change theirs to, and that has an account. It holds no link."""
