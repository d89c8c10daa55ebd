"""The serialized form of a mail (RFC 5322, RFC 2045)."""

from __future__ import annotations

import re
from datetime import datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from ubr.application.ports.mail import Mail
from ubr.domain.errors import MailRefused

_MAX_LINE_LENGTH: Final = 998
"""RFC 5322, 2.1.1."""
_PLAIN_SUBJECT: Final = 70
"""Length that fits on one line together with the header name."""

_LOCAL_PART: Final = re.compile(r"[^\s\x00-\x20\x7f@\"(),:;<>\[\]\\]+")
_ENCODED: Final = "=?"
"""The start of an encoded word (RFC 2047). It has no meaning in an e-mail, but some software decodes it there,
including Python's own: `=?utf-8?q?=0d=0aBcc…?=@…` becomes another header line."""


def mailbox(email: str) -> str:
    """An e-mail as servers expect it: the domain in IDNA form, so that only the part before the @ can be non-ASCII.

    Errors: `MailRefused` if it is not an e-mail.
    """
    local, _, domain = email.rpartition("@")
    if not _LOCAL_PART.fullmatch(local) or _ENCODED in email:
        raise MailRefused("the e-mail cannot be encoded")
    try:
        return f"{local}@{domain.encode('idna').decode('ascii')}"
    except UnicodeError:
        raise MailRefused("the e-mail has an invalid domain") from None


def written(mail: Mail, sender: str, now: datetime) -> bytes:
    """A mail with its header, for a server or a file. Errors: `MailRefused` if its address is not an e-mail."""
    own = mailbox(sender)
    # Not built by the library, which interprets values: it looks for names and encoded words.
    head = {
        "From": f"<{own}>",
        "To": f"<{mailbox(mail.to)}>",
        "Subject": _subject(mail.subject),
        "Date": format_datetime(now),
        "Message-ID": f"<{mail.id}@{own.rpartition('@')[2]}>",
        # Automatic responders, such as out-of-office replies, do not answer then (RFC 3834, 5).
        "Auto-Submitted": "auto-generated",
    }
    body = EmailMessage(SMTP)
    body.set_content(mail.text, cte=_encoding(mail.text))
    body.add_alternative(mail.html, subtype="html", cte=_encoding(mail.html))
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return lines.encode() + body.as_bytes()


def _subject(subject: str) -> str:
    if subject.isascii() and len(subject) <= _PLAIN_SUBJECT and _ENCODED not in subject:
        return subject
    return Header(subject, "utf-8", header_name="Subject").encode(linesep="\r\n")


def _encoding(text: str) -> str:
    """The text, unencoded if possible: a person who reads the source of the mail can then copy the link."""
    plain = text.isascii() and all(len(line) <= _MAX_LINE_LENGTH for line in text.splitlines())
    return "7bit" if plain else "quoted-printable"
