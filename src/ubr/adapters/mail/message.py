"""A mail as it is written down (RFC 5322, RFC 2045)."""

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
"""What stands on one line beside its name."""

_LOCAL_PART: Final = re.compile(r"[^\s\x00-\x20\x7f@\"(),:;<>\[\]\\]+")
_ENCODED: Final = "=?"
"""With what an encoded word begins (RFC 2047). In an e-mail it stands for nothing, and yet there is software that reads
it there, Python's own among it: out of `=?utf-8?q?=0d=0aBcc…?=@…` comes another line of the head.
"""


def mailbox(email: str) -> str:
    """An e-mail as servers know it: its domain in IDNA form, so that only what stands before the @ can be non-ASCII.

    Errors: `MailRefused` for what is none.
    """
    local, _, domain = email.rpartition("@")
    if not _LOCAL_PART.fullmatch(local) or _ENCODED in email:
        raise MailRefused("the e-mail cannot be encoded")
    try:
        return f"{local}@{domain.encode('idna').decode('ascii')}"
    except UnicodeError:
        raise MailRefused("the e-mail has an invalid domain") from None


def written(mail: Mail, sender: str, now: datetime) -> bytes:
    """A mail, with its head, for a server or a file. Errors: `MailRefused` where its e-mail is none."""
    own = mailbox(sender)
    # Not by the library: it reads what it is given, for names and for encoded words.
    head = {
        "From": f"<{own}>",
        "To": f"<{mailbox(mail.to)}>",
        "Subject": _subject(mail.subject),
        "Date": format_datetime(now),
        "Message-ID": f"<{mail.id}@{own.rpartition('@')[2]}>",
        # What answers by itself, out of office say, keeps silent then (RFC 3834, 5).
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
    """As it is wherever possible: who looks into a mail finds the link whole."""
    plain = text.isascii() and all(len(line) <= _MAX_LINE_LENGTH for line in text.splitlines())
    return "7bit" if plain else "quoted-printable"
