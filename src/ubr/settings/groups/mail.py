"""Mail: the server, the sender and the templates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ubr.domain.accounts.email import Email
from ubr.settings.declaration import setting
from ubr.settings.embedded import LOCAL_SENDER
from ubr.settings.urls import split_url
from ubr.settings.values import duration, parse_folder


def parse_smtp_url(raw: str) -> str:
    url = split_url(raw, "smtp://user:password@host:587")
    if url.scheme not in {"smtp", "smtps"} or not url.hostname:
        raise ValueError("must be smtp:// or smtps:// and a host")
    if url.path not in {"", "/"} or url.query or url.fragment:
        raise ValueError("must have nothing after its host and port")
    return raw


def parse_sender(raw: str) -> str:
    return raw if raw == LOCAL_SENDER else Email.parse(raw).address


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class MailSettings:
    """The settings of the mail server, the sender and the templates."""

    smtp_url: str | None = setting(
        parse_smtp_url,
        None,
        "The mail server: `smtp://user:password@host:587`, which requires STARTTLS, or `smtps://`.",
        otherwise="none; on the embedded default database mails are files in `var/mail/`",
        shown="masked",
    )
    smtp_data_timeout: timedelta = setting(
        duration("10s", "1h"),
        "10m",
        "How long the mail server may take to confirm a mail that it has received. A shorter time risks duplicates.",
    )
    mail_from: str | None = setting(
        parse_sender,
        None,
        "The sender of mails. Required with `UBR_SMTP_URL`.",
        otherwise=f"none; `{LOCAL_SENDER}` on the embedded default database",
    )
    mail_templates: str | None = setting(
        parse_folder,
        None,
        "A folder with your own mail templates, which replace the built-in ones of the same names.",
    )
