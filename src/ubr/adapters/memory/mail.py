"""Mails in memory."""

from __future__ import annotations

from ubr.application.ports.mail import Mail


class MemoryMailer:
    """Keeps what was sent, oldest first."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []

    @property
    def sends(self) -> bool:
        return True

    async def send(self, mail: Mail) -> None:
        self.sent.append(mail)
