"""Errors about mail."""

from __future__ import annotations

from ubr.domain.error_kinds import Conflict, NotFound, Unavailable


class QueuedMailNotFound(NotFound):
    """Raised only by operator commands: queued mails are addressed only on the command line."""


class MailRefused(Conflict):
    """The mail server permanently refuses this mail. Reported only to mail delivery."""


class MailUnavailable(Unavailable):
    """A mail was not sent, or its delivery is unknown. It can be retried. Reported only to mail delivery."""
