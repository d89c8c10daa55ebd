"""Builds the mail adapters. Their libraries are loaded only on use."""

from __future__ import annotations

from pathlib import Path

from ubr.adapters.mail.none import NoMailer
from ubr.adapters.mail.templates import BrokenTemplate, TemplateMailRenderer
from ubr.application.ports.mail import Mailer, MailRenderer
from ubr.application.ports.system import Clock
from ubr.extras import require
from ubr.settings import LOCAL_SENDER, MAIL_FOLDER, MEMORY, Settings, WrongSetting

# ruff: noqa: PLC0415


def mailer_of(settings: Settings, clock: Clock) -> Mailer:
    """The configured mail server, or else the default of the database in use.

    Errors: `MissingExtra` if a mail server is configured, and the library for it is not installed.
    """
    sender = settings.mail_from or LOCAL_SENDER
    if settings.database_url == MEMORY:
        from ubr.adapters.memory.mail import MemoryMailer

        return MemoryMailer()
    if settings.smtp_url is not None:
        require("mail", "aiosmtplib")
        from ubr.adapters.mail.smtp import SmtpMailer

        return SmtpMailer(settings.smtp_url, sender, clock, data_timeout=settings.smtp_data_timeout)
    if settings.embedded:
        from ubr.adapters.mail.folder import FolderMailer

        return FolderMailer(MAIL_FOLDER, sender, clock)
    return NoMailer()


def renderer_of(settings: Settings) -> MailRenderer:
    """Errors: `WrongSetting` if an operator's template cannot be used."""
    folder = settings.mail_templates
    try:
        return TemplateMailRenderer(settings.public_url or settings.address, None if folder is None else Path(folder))
    except BrokenTemplate as error:
        raise WrongSetting(f"UBR_MAIL_TEMPLATES names {folder}: {error}.") from None
