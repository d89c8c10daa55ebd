"""Mails in memory."""

from __future__ import annotations

from ubr.application.ports.mail import Mail
from ubr.domain.errors import MailRefused


class MemoryMailer:
    """Keeps what was sent, oldest first."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []

    @property
    def sends(self) -> bool:
        return True

    async def send(self, mail: Mail) -> None:
        if "=?" in mail.to:  # it cannot be written down either, see ubr.adapters.mail.message
            raise MailRefused
        self.sent.append(mail)
