"""Letters on their way to a real mail server: what it refuses, what comes again, and what is given up."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.http.kit import PASSWORD, Service, database_settings, in_process, sqlite_settings
from tests.support.mail import AFAR, Certificate, MailServer, certificate, mail_server, strange_server
from tests.support.people import OTHER_PASSWORD, World, new_world
from tests.support.people import PASSWORD as THEIRS
from tests.support.values import replace
from ubr.adapters.mail.smtp import SmtpMailer
from ubr.adapters.security.system import utc_now
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.accounts.reset_password import ResetPasswordCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.accounts.verify_email import VerifyEmailCommand
from ubr.application.mail import deliver_mail
from ubr.application.mail.deliver_mail import DeliverMail
from ubr.application.mail.list_mail import ListMailCommand, QueuedMailResult
from ubr.application.mail.retry_mail import RetryMailCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import InvalidLink
from ubr.domain.mail.kinds import MailKind
from ubr.domain.mail.queued_mail import LAST_TRY

pytestmark = pytest.mark.system

EMAIL = "owner@example.org"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("tls"), AFAR)


@dataclass
class PostOffice:
    """A world whose mails go to a real server, under TLS."""

    world: World
    server: MailServer
    deliver: DeliverMail

    async def __call__(self) -> int:
        return await self.deliver(actor=SYSTEM)

    async def forgot(self, email: str = EMAIL) -> None:
        await self.world.ubr.request_password_reset(RequestPasswordResetCommand(email=email))

    async def waiting(self) -> list[QueuedMailResult]:
        return (await self.world.ubr.list_mail(ListMailCommand(), actor=SYSTEM)).items

    def tokens(self) -> list[str]:
        """Of the links that have arrived."""
        return [token_of(received.content) for received in self.server.received]


def token_of(content: bytes) -> str:
    message = message_from_bytes(content, policy=default)
    assert isinstance(message, EmailMessage)
    text = message.get_body(("plain",))
    assert text is not None
    [token] = re.findall(r"#token=([A-Za-z0-9_-]+)", text.get_content())
    return str(token)


def sent_through(port: int, tls: Certificate, deliver: DeliverMail, *, timeout: float = 30) -> DeliverMail:
    """The same through a mail server."""
    mailer = SmtpMailer(f"smtp://{AFAR}:{port}", "ubr@example.org", utc_now, ssl_context=tls.client, timeout=timeout)
    return replace(deliver, mailer=mailer)


@asynccontextmanager
async def opened(tls: Certificate) -> AsyncIterator[PostOffice]:
    async with new_world() as world, mail_server(tls) as server:
        await world.register(EMAIL)
        await world.mails()
        await world.acts()
        yield PostOffice(world, server, sent_through(server.port, tls, world.ubr.deliver_mail))


@pytest.fixture
async def post(tls: Certificate) -> AsyncIterator[PostOffice]:
    async with opened(tls) as office:
        yield office


async def test_a_mail_arrives_under_tls_and_once(post: PostOffice) -> None:
    await post.forgot()
    assert await post() == 1
    [received] = post.server.received
    assert (received.recipients, received.encrypted) == ([EMAIL], True)
    assert await post() == 0
    assert len(post.server.received) == 1
    assert await post.waiting() == []
    command = ResetPasswordCommand(token=post.tokens()[0], new_password=OTHER_PASSWORD)
    await post.world.ubr.reset_password(command)


async def test_a_retried_mail_has_another_link(post: PostOffice) -> None:
    await post.forgot()
    post.server.answers["DATA"] = "451 come back later"
    pauses = []
    for tries in range(1, 4):
        assert await post() == 0
        [queued] = await post.waiting()
        assert (queued.state, queued.tries) == ("waiting", tries)
        assert queued.last_error is not None
        assert "451" in queued.last_error
        assert queued.next_try_at is not None
        pauses.append(queued.next_try_at - post.world.clock())
        post.world.clock.move(seconds=pauses[-1].total_seconds() - 1)
        assert await post() == 0
        assert [each.tries for each in await post.waiting()] == [tries], "not before its time"
        post.world.clock.move(seconds=1)
    assert pauses == [timedelta(seconds=30), timedelta(seconds=60), timedelta(seconds=120)]
    del post.server.answers["DATA"]
    assert await post() == 1
    [token] = post.tokens()
    await post.world.ubr.reset_password(ResetPasswordCommand(token=token, new_password=OTHER_PASSWORD))


async def test_a_server_that_refuses_for_good_makes_a_dead_letter(post: PostOffice) -> None:
    await post.forgot()
    post.server.answers["RCPT"] = "550 no such mailbox <{}>"
    assert await post() == 0
    [queued] = await post.waiting()
    assert (queued.state, queued.next_try_at, queued.email) == ("given_up", None, EMAIL)
    assert EMAIL not in (queued.last_error or "")
    entries = [entry for entry in await post.world.acts() if entry.action == "mail.given_up"]
    assert [(entry.level, entry.data["kind"]) for entry in entries] == [("warning", "password_reset")]
    assert EMAIL not in str(entries)
    post.world.clock.move(days=1)
    assert await post() == 0
    assert post.server.received == []

    post.server.answers.clear()
    await post.world.ubr.retry_mail(RetryMailCommand(mail_id=queued.id), actor=SYSTEM)
    assert await post() == 1
    assert len(post.server.received) == 1
    assert [entry.action for entry in await post.world.acts()] == ["mail.retried", "link.issued"]


async def test_after_enough_tries_a_mail_is_given_up(post: PostOffice) -> None:
    await post.forgot()
    post.server.answers["MAIL"] = "421 not now"
    for _ in range(LAST_TRY):
        await post()
        post.world.clock.move(hours=1)
    [queued] = await post.waiting()
    assert (queued.state, queued.tries) == ("given_up", LAST_TRY)


async def test_only_the_newest_of_two_links_that_arrived_is_good(post: PostOffice) -> None:
    """As where a server takes a mail and its answer is lost."""
    await post.forgot()
    await post()
    await post.forgot()
    await post()
    older, newer = post.tokens()
    with pytest.raises(InvalidLink):
        await post.world.ubr.reset_password(ResetPasswordCommand(token=older, new_password=OTHER_PASSWORD))
    await post.world.ubr.reset_password(ResetPasswordCommand(token=newer, new_password=OTHER_PASSWORD))


async def test_a_link_whose_mail_was_not_confirmed_stays_good_until_one_is_used(post: PostOffice) -> None:
    await post.forgot()
    receive = post.server.handle_DATA

    async def unconfirmed(*given: Any) -> str:
        await receive(*given)
        return "451 it has arrived all the same"

    post.server.handle_DATA = unconfirmed  # type: ignore[method-assign, assignment]
    assert await post() == 0
    post.world.clock.move(seconds=30)
    assert await post() == 0
    post.server.handle_DATA = receive  # type: ignore[method-assign]
    post.world.clock.move(seconds=60)
    assert await post() == 1
    mails = [message_from_bytes(received.content, policy=default) for received in post.server.received]
    assert len({mail["Message-ID"] for mail in mails}) == 3, "each text has an id of its own"
    first, second, third = post.tokens()
    await post.world.ubr.reset_password(ResetPasswordCommand(token=second, new_password=OTHER_PASSWORD))
    for token in (first, second, third):
        with pytest.raises(InvalidLink):
            await post.world.ubr.reset_password(ResetPasswordCommand(token=token, new_password=THEIRS))


async def test_a_mail_without_a_link_has_one_message_id(post: PostOffice) -> None:
    await post.forgot()
    await post()
    [token] = post.tokens()
    await post.world.ubr.reset_password(ResetPasswordCommand(token=token, new_password=OTHER_PASSWORD))
    post.server.received.clear()
    member = await post.world.logged_in(EMAIL, OTHER_PASSWORD)
    command = RequestEmailChangeCommand(email="new@example.org", current_password=OTHER_PASSWORD)
    await post.world.ubr.request_email_change(command, actor=member.actor)
    receive = post.server.handle_DATA

    async def unconfirmed(*given: Any) -> str:
        await receive(*given)
        return "451 it has arrived all the same"

    post.server.handle_DATA = unconfirmed  # type: ignore[method-assign, assignment]
    await post()
    post.world.clock.move(seconds=30)
    await post()
    notices = [each for each in post.server.received if each.recipients == [EMAIL]]
    assert len({message_from_bytes(each.content, policy=default)["Message-ID"] for each in notices}) == 1
    assert len(notices) == 2


async def test_one_bad_letter_holds_up_no_other(post: PostOffice) -> None:
    await post.world.register("other@example.org")
    await post()
    post.server.received.clear()
    for email in (EMAIL, "other@example.org"):
        await post.forgot(email)

    async def only_one(server: object, session: object, envelope: object, address: str, options: list[str]) -> str:
        if address == EMAIL:
            return "550 not this one"
        envelope.rcpt_tos.append(address)  # type: ignore[attr-defined]
        return "250 OK"

    post.server.handle_RCPT = only_one  # type: ignore[method-assign]
    assert await post() == 1
    assert [received.recipients for received in post.server.received] == [["other@example.org"]]


async def test_many_who_deliver_send_each_mail_once(tls: Certificate, database_url: str) -> None:
    async with mail_server(tls) as server, in_process(database_settings(database_url)) as service:
        assert service.ubr is not None
        emails = [f"n{n}@example.org" for n in range(12)]
        for email in emails:
            await service.register(email)
        first, second = (sent_through(server.port, tls, service.ubr.deliver_mail) for _ in range(2))
        done = await asyncio.gather(*(deliver(actor=SYSTEM) for deliver in (first, second, first, second)))
        assert sum(done) == len(emails)
        assert sorted(received.recipients[0] for received in server.received) == sorted(emails)


async def test_a_server_that_says_nothing_delays_no_answer(tls: Certificate, tmp_path: Path) -> None:
    async with strange_server() as port, in_process(sqlite_settings(tmp_path)) as service:
        assert service.ubr is not None
        await service.register(EMAIL)
        stalled = asyncio.create_task(sent_through(port, tls, service.ubr.deliver_mail, timeout=60)(actor=SYSTEM))
        await _claimed(service)
        for path, body in (
            ("/api/auth/password/forgot", {"email": EMAIL}),
            ("/api/auth/email/verify/resend", {"email": EMAIL}),
            ("/api/auth/register", {"email": "another@example.org", "password": PASSWORD}),
        ):
            answer: httpx.Response = await service.client.post(path, json=body)
            assert answer.status_code in {201, 202}
        assert not stalled.done()
        stalled.cancel()
        await asyncio.gather(stalled, return_exceptions=True)


async def test_five_domains_that_hang_delay_no_other(tls: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server takes the text of their mails and confirms none. Together they have as many as are sent at once."""
    monkeypatch.setattr(deliver_mail, "HANGS_AFTER", 0.0)
    domains = [f"slow{number}.example" for number in range(5)]
    async with new_world() as world, mail_server(tls) as server:
        server.hanging = tuple(f"@{domain}" for domain in domains)
        for name in ("ada", "bob", "cleo", "dora", "emil"):
            for domain in domains:
                await world.register(f"{name}@{domain}")
        await world.register("last@good.example")
        delivering = asyncio.create_task(sent_through(server.port, tls, world.ubr.deliver_mail)(actor=SYSTEM))
        async with asyncio.timeout(30):
            while not (server.received and len(server.held) == deliver_mail.AT_ONCE):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        assert [received.recipients for received in server.received] == [["last@good.example"]]
        server.released.set()
        assert await delivering == 26


async def _claimed(service: Service) -> None:
    """Wait until somebody has the letter in hand."""
    assert service.ubr is not None
    assert service.clock is not None
    while True:
        [queued] = (await service.ubr.list_mail(ListMailCommand(), actor=SYSTEM)).items
        if queued.next_try_at is not None and queued.next_try_at > service.clock():
            return
        await asyncio.sleep(0.01)


async def test_each_mail_arrives(tls: Certificate) -> None:
    """All there are, by what makes them."""
    async with new_world() as world, mail_server(tls) as server:
        ubr = world.ubr
        deliver = sent_through(server.port, tls, ubr.deliver_mail)

        async def arrived() -> list[tuple[str, str]]:
            await deliver(actor=SYSTEM)
            received, server.received = server.received, []
            assert all(each.encrypted for each in received)
            found = [message_from_bytes(each.content, policy=default) for each in received]
            return sorted((str(mail["To"]), str(mail["Subject"])) for mail in found)

        async def token() -> str:
            await deliver(actor=SYSTEM)
            received, server.received = server.received, []
            return next(token_of(each.content) for each in received if b"#token" in each.content)

        await world.register(EMAIL)
        await ubr.verify_email(VerifyEmailCommand(token=await token(), password=THEIRS))
        member = await world.logged_in(EMAIL, THEIRS)
        taken = await world.register("taken@example.org")
        await ubr.verify_email(VerifyEmailCommand(token=await token(), password=THEIRS))
        changes = UserChanges(email="replaced@example.org")
        await ubr.update_user(UpdateUserCommand(user_id=taken.id, changes=changes), actor=SYSTEM)
        subjects = [subject for _, subject in await arrived()]
        await world.register("taken@example.org")
        await ubr.verify_email(VerifyEmailCommand(token=await token(), password=THEIRS))
        await ubr.create_user(CreateUserCommand(email="invited@example.org"), actor=SYSTEM)
        await ubr.request_password_reset(RequestPasswordResetCommand(email=EMAIL))
        for email in ("taken@example.org", "new@example.org"):
            command = RequestEmailChangeCommand(email=email, current_password=THEIRS)
            await ubr.request_email_change(command, actor=member.actor)
        await deliver(actor=SYSTEM)
        change = next(each for each in server.received if each.recipients == ["new@example.org"])
        await ubr.verify_email(VerifyEmailCommand(token=token_of(change.content)))
        mail_only = replace(ubr.register_user, policy=replace(ubr.register_user.policy, registration="verified"))
        for email in ("taken@example.org", "another@example.org"):
            await mail_only(RegisterUserCommand(email=email))
        subjects += [subject for _, subject in await arrived()]
        assert len(set(subjects)) == len(MailKind)
