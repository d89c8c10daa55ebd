"""No mail."""

from __future__ import annotations

from datetime import timedelta

from ubr.application.ports.mail import Mail
from ubr.domain.errors import MailUnavailable


class NoMailer:
    """The mailer without a configured mail server. Callers check `sends` first."""

    @property
    def max_duration(self) -> timedelta:
        return timedelta(0)

    @property
    def sends(self) -> bool:
        return False

    async def send(self, mail: Mail) -> None:  # noqa: ARG002 - the port's signature
        raise MailUnavailable("no mail server is configured")
