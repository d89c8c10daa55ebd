"""Mails that are sent at once: what one of them that hangs costs the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from tests.support.people import OTHER_PASSWORD, PASSWORD, World
from tests.support.values import replace
from ubr.application.accounts.change_password import ChangePasswordCommand
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.mail import deliver_mail
from ubr.application.mail.deliver_mail import DeliverMail
from ubr.application.mail.list_mail import ListMailCommand
from ubr.application.ports.mail import Mail, MailContext
from ubr.domain.actor import SYSTEM, System
from ubr.domain.errors import StoreUnavailable
from ubr.domain.mail.queued_mail import QueuedMail


@dataclass
class Hanging:
    """A mailer whose servers of some domains do not answer until they are released."""

    domains: tuple[str, ...]
    begun: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def max_duration(self) -> timedelta:
        return timedelta(0)

    @property
    def sends(self) -> bool:
        return True

    async def send(self, mail: Mail) -> None:
        self.begun.append(mail.to)
        if mail.to.endswith(self.domains):
            await self.released.wait()
        self.sent.append(mail.to)


def through(world: World, mailer: Hanging) -> DeliverMail:
    return replace(world.ubr.deliver_mail, mailer=mailer)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a mailer tells no event
            await asyncio.sleep(0.001)


async def test_a_domain_whose_server_hangs_delays_its_own_mails_alone(world: World) -> None:
    slow = [f"n{n}@slow.example" for n in range(25)]
    for email in slow:
        await world.register(email)
    await world.register("last@good.example")
    mailer = Hanging(("@slow.example",))
    delivering = asyncio.create_task(through(world, mailer)(actor=SYSTEM))
    await until(lambda: mailer.sent == ["last@good.example"])
    assert len(mailer.begun) == 4 + 1
    mailer.released.set()
    assert await delivering == 26
    assert sorted(mailer.sent) == sorted([*slow, "last@good.example"])


async def test_a_mail_that_comes_while_others_hang_is_sent(world: World) -> None:
    await world.register("first@slow.example")
    mailer = Hanging(("@slow.example",))
    delivering = asyncio.create_task(through(world, mailer)(actor=SYSTEM))
    await until(lambda: len(mailer.begun) == 1)
    await world.register("next@good.example")
    await until(lambda: mailer.sent == ["next@good.example"])
    mailer.released.set()
    assert await delivering == 2


async def test_mails_to_many_domains_are_sent_at_once_up_to_a_number(world: World) -> None:
    for number in range(25):
        await world.register(f"ada@n{number}.example")
    mailer = Hanging((".example",))
    delivering = asyncio.create_task(through(world, mailer)(actor=SYSTEM))
    await until(lambda: len(mailer.begun) == 20)
    await asyncio.sleep(0)
    assert len(mailer.begun) == 20
    mailer.released.set()
    assert await delivering == 25


async def test_mails_that_hang_leave_their_places_up_to_a_number(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliver_mail, "HANGS_AFTER", 0.0)
    monkeypatch.setattr(deliver_mail, "MAX_OPEN", 22)
    for number in range(25):
        await world.register(f"ada@n{number}.example")
    mailer = Hanging((".example",))
    delivering = asyncio.create_task(through(world, mailer)(actor=SYSTEM))
    await until(lambda: len(mailer.begun) == 22)
    await asyncio.sleep(0)
    assert len(mailer.begun) == 22
    mailer.released.set()
    assert await delivering == 25


async def test_mails_under_way_are_finished_after_an_error_of_the_store(world: World) -> None:
    await world.register("first@slow.example")
    mailer = Hanging(("@slow.example",))
    deliver = through(world, mailer)
    failing = False

    @dataclass
    class Failing:
        inner: object

        def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
            if failing and name == "read":
                raise StoreUnavailable
            return getattr(self.inner, name)  # type: ignore[no-any-return]

    deliver = replace(deliver, unit_of_work=Failing(deliver.unit_of_work))
    delivering = asyncio.create_task(deliver(actor=SYSTEM))
    await until(lambda: len(mailer.begun) == 1)
    failing = True
    await asyncio.sleep(0)
    mailer.released.set()
    with pytest.raises(StoreUnavailable):
        await delivering
    assert mailer.sent == ["first@slow.example"]
    assert (await world.ubr.list_mail(ListMailCommand(), actor=SYSTEM)).items == []


async def test_a_mail_whose_reason_ends_after_its_claim_is_not_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = await world.user()
    await world.mails()
    await world.ubr.request_password_reset(RequestPasswordResetCommand(email=member.email))
    change = ChangePasswordCommand(current_password=PASSWORD, new_password=OTHER_PASSWORD)
    written = DeliverMail._written  # noqa: SLF001 - what follows the claim

    async def later(self: DeliverMail, queued: QueuedMail, actor: System) -> MailContext | None:
        await world.ubr.change_password(change, actor=member.actor)
        return await written(self, queued, actor)

    monkeypatch.setattr(DeliverMail, "_written", later)
    mailer = Hanging(())
    await through(world, mailer)(actor=SYSTEM)
    assert mailer.sent == []
    monkeypatch.undo()
    assert await world.mails() == []


async def test_an_error_of_the_store_does_not_make_mails_wait_for_one_that_hangs(world: World) -> None:
    await world.register("first@slow.example")
    mailer = Hanging(("@slow.example",))
    deliver = through(world, mailer)
    failures = 0

    @dataclass
    class Failing:
        inner: object

        def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
            nonlocal failures
            if name == "read" and mailer.begun and not failures:
                failures += 1
                raise StoreUnavailable
            return getattr(self.inner, name)  # type: ignore[no-any-return]

    deliver = replace(deliver, unit_of_work=Failing(deliver.unit_of_work))
    delivering = asyncio.create_task(deliver(actor=SYSTEM))
    await until(lambda: failures == 1)
    await world.register("next@good.example")
    await until(lambda: mailer.sent == ["next@good.example"])
    mailer.released.set()
    await delivering
