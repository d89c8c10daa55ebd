"""Domains whose servers hang take a part of the places, however many they are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from tests.support.people import World
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.ports.mail import Mail
from ubr.domain.actor import SYSTEM


class Relay:
    """A mail server that passes each mail on at once, and so hangs with the server behind it."""

    sends = True
    max_duration = timedelta(minutes=10)

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, mail: Mail) -> None:
        if mail.to.endswith(".example.net"):
            await asyncio.sleep(600)
        self.sent.append(mail.to)


async def test_a_mail_to_another_domain_is_sent_meanwhile(world: World) -> None:
    hanging = [f"user{n}@slow{n % 5}.example.net" for n in range(20)]
    for email in [*hanging, "person@example.org"]:
        await world.register(email)
    await world.mails()
    for email in [*hanging, "person@example.org"]:
        await world.ubr.request_password_reset(RequestPasswordResetCommand(email=email))
        world.clock.move(seconds=1)
    relay = Relay()
    delivering = asyncio.create_task(replace(world.ubr.deliver_mail, mailer=relay)(actor=SYSTEM))
    await asyncio.sleep(1.5)
    try:
        assert relay.sent == ["person@example.org"]
    finally:
        delivering.cancel()
        await asyncio.wait([delivering])
