"""Errors about mail."""

from __future__ import annotations

from ubr.domain.error_kinds import Conflict, NotFound, Unavailable


class QueuedMailNotFound(NotFound):
    """Only operators name queued mails, at the command line."""


class MailRefused(Conflict):
    """This mail will certainly never be accepted. Only the sending code sees this error."""


class MailUnavailable(Unavailable):
    """A mail was not sent, or perhaps it was. It can be retried. Only the sending code sees this error."""
