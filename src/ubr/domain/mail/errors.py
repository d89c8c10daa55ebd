"""Errors about mail."""

from __future__ import annotations

from ubr.domain.error_kinds import Conflict, NotFound, Unavailable


class QueuedMailNotFound(NotFound):
    """Only operators name letters, and only at the command line."""


class MailRefused(Conflict):
    """This mail will never be taken, for certain. Only what sends mails is told."""


class MailUnavailable(Unavailable):
    """A mail did not leave, or perhaps it did. It can be tried again. Only what sends mails is told."""
