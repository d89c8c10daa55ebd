"""The mail server, and a test mail if one is requested."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from ubr.adapters.security.system import Uuid7, utc_now
from ubr.application.ports.mail import Mail
from ubr.bootstrap import mailer_of
from ubr.domain.errors import MailRefused, MailUnavailable
from ubr.entrypoints.cli.doctor.addresses import host_of
from ubr.entrypoints.cli.doctor.limits import is_resolved
from ubr.entrypoints.findings import Finding, error, ok, warning
from ubr.settings import MAIL_FOLDER, Settings

_TEXT: Final = "ubr doctor sent this mail to test the delivery. No action is needed."
_CONFIRMED_WITHIN: Final = timedelta(seconds=20)


async def check_mail(settings: Settings, to: str | None) -> list[Finding]:
    """`to` is the recipient of a test mail; None for no mail."""
    url = settings.smtp_url
    if url is None and not settings.embedded:
        judged = warning if to is None else error
        return [judged("mail", "UBR_SMTP_URL is not set, so no mail is sent: users cannot reset a forgotten password.")]
    if url is not None and not await is_resolved(host_of(url)):
        return [error("mail", "The host name of the mail server is not resolved in time: check the name servers.")]
    try:
        return await (_greet(settings, url) if to is None else _send(settings, to))
    except MailUnavailable as unavailable:
        return [error("mail", f"No mail can be sent: {unavailable.detail}. Check UBR_SMTP_URL.")]
    except MailRefused as refused:
        return [error("mail", f"The test mail was rejected: {refused.detail}. Check the address and UBR_MAIL_FROM.")]


async def _greet(settings: Settings, url: str | None) -> list[Finding]:
    if url is None:
        return [ok("mail", f"UBR_SMTP_URL is not set: mails are files in {MAIL_FOLDER}/.")]
    from ubr.adapters.mail.smtp import SmtpMailer  # noqa: PLC0415 - loaded only if a mail server is configured

    mailer = mailer_of(settings, utc_now)
    assert isinstance(mailer, SmtpMailer)  # noqa: S101 - that of this URL
    await mailer.greet()
    return [ok("mail", f"{host_of(url)} is ready to accept mails.")]


async def _send(settings: Settings, to: str) -> list[Finding]:
    mail = Mail(to=to, subject="A test of ubr", text=_TEXT, html=f"<p>{_TEXT}</p>", id=Uuid7(utc_now)())
    await mailer_of(replace(settings, smtp_data_timeout=_CONFIRMED_WITHIN), utc_now).send(mail)
    return [ok("mail", f"A test mail to {to} was accepted.")]
