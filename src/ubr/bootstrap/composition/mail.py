"""Builds the use cases of mail."""

from __future__ import annotations

from ubr.application.app import MailUseCases
from ubr.application.mail.contents import MailContents
from ubr.application.mail.deliver_mail import DeliverMail
from ubr.application.mail.list_mail import ListMail
from ubr.application.mail.retry_mail import RetryMail
from ubr.bootstrap.ports import Ports
from ubr.bootstrap.services import Services


def mail_use_cases(ports: Ports, services: Services) -> MailUseCases:
    return MailUseCases(
        deliver_mail=DeliverMail(
            unit_of_work=services.unit_of_work,
            contents=MailContents(tokens=ports.security.link_tokens, renderer=ports.renderer),
            renderer=ports.renderer,
            mailer=ports.mailer,
            denials=services.denials,
        ),
        list_mail=ListMail(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            pager=services.pager,
            denials=services.denials,
        ),
        retry_mail=RetryMail(unit_of_work=services.unit_of_work, denials=services.denials),
    )
