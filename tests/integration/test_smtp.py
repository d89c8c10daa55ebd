"""Mails by SMTP: what is TLS and what is not, whose fault it is that a mail was not taken, and what is told of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.contracts.kit import NOON
from tests.support.mail import ACCOUNT, AFAR, Certificate, certificate, mail_server, strange_server
from tests.support.values import replace
from ubr.adapters.mail.smtp import SmtpMailer
from ubr.application.ports.mail import Mail
from ubr.domain.errors import MailRefused, MailUnavailable

HERE = "127.0.0.1"
LINK = "https://id.example.org/reset-password#token=" + "T" * 43
MAIL = Mail(to="ada@example.org", subject="Hello", text=LINK, html=LINK, id=UUID(int=1))
SECRET = "canary-d41d8cd98f00"


def mailer(url: str, **more: Any) -> SmtpMailer:
    return SmtpMailer(url, "ubr@example.org", lambda: NOON, **{"timeout": 30, **more})


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """The loop that the service runs on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("tls"), AFAR, HERE)


async def unavailable(mailer: SmtpMailer) -> str:
    """What is told of a mail that did not leave."""
    return await _told(mailer, MailUnavailable)


async def refused(mailer: SmtpMailer) -> str:
    """What is told of a mail that nobody will ever take."""
    return await _told(mailer, MailRefused)


async def _told(mailer: SmtpMailer, kind: type[MailRefused | MailUnavailable]) -> str:
    with pytest.raises(kind) as caught:
        await mailer.send(MAIL)
    error = caught.value
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    for secret in (MAIL.to, LINK, SECRET, ACCOUNT[1], "ubr@example.org"):
        assert secret not in error.detail
        assert secret not in repr(error)
    return error.detail


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [AFAR, HERE])
@pytest.mark.parametrize("at_once", [False, True], ids=["smtp", "smtps"])
async def test_mails_go_over_tls(tls: Certificate, host: str, at_once: bool) -> None:
    async with mail_server(tls, at_once=at_once) as server:
        scheme = "smtps" if at_once else "smtp"
        await mailer(f"{scheme}://{host}:{server.port}", ssl_context=tls.client).send(MAIL)
    (received,) = server.received
    assert received.encrypted
    assert LINK.encode() in received.content


async def test_nothing_is_sent_without_tls() -> None:
    async with mail_server() as server:
        told = await unavailable(mailer(f"smtp://{AFAR}:{server.port}"))
    assert told == "the server offers no STARTTLS, and ubr sends nothing without TLS"
    assert server.received == []


@pytest.mark.parametrize("host", [HERE, "localhost", "LOCALHOST"])
async def test_on_the_way_to_this_machine_there_may_be_none(host: str) -> None:
    async with mail_server() as server:
        await mailer(f"smtp://{host}:{server.port}").send(MAIL)
    assert [received.encrypted for received in server.received] == [False]


async def test_on_the_way_to_this_machine_any_certificate_will_do(tls: Certificate) -> None:
    async with mail_server(tls) as server:
        await mailer(f"smtp://{HERE}:{server.port}").send(MAIL)
    assert [received.encrypted for received in server.received] == [True]


@pytest.mark.parametrize("at_once", [False, True], ids=["smtp", "smtps"])
async def test_a_certificate_that_nobody_vouches_for(tls: Certificate, at_once: bool) -> None:
    async with mail_server(tls, at_once=at_once) as server:
        told = await unavailable(mailer(f"{'smtps' if at_once else 'smtp'}://{AFAR}:{server.port}"))
    assert told.startswith("the server's certificate is not good: self")
    assert server.received == []


@pytest.mark.parametrize("at_once", [False, True], ids=["smtp", "smtps"])
async def test_a_certificate_of_another_host(tmp_path: Path, at_once: bool) -> None:
    other = certificate(tmp_path, "192.0.2.1")
    async with mail_server(other, at_once=at_once) as server:
        url = f"{'smtps' if at_once else 'smtp'}://{AFAR}:{server.port}"
        told = await unavailable(mailer(url, ssl_context=other.client))
    assert "IP address mismatch" in told
    assert server.received == []


async def test_smtps_to_a_server_that_speaks_no_tls() -> None:
    async with mail_server() as server:
        assert "TLS" in await unavailable(mailer(f"smtps://{HERE}:{server.port}"))


def test_the_trust_store_is_that_of_the_machine() -> None:
    for url, verified in (
        ("smtp://mail.example.org", True),
        ("smtps://localhost", True),
        ("smtp://[::1]", False),
        ("smtp://127.8.0.1", False),
        ("smtp://localhost.example.org", True),
        ("smtp://127.0.0.1.example.org", True),
    ):
        context: ssl.SSLContext = vars(mailer(url))["_context"]
        assert (context.verify_mode is ssl.CERT_REQUIRED) == context.check_hostname == verified


# --- logging in ------------------------------------------------------------------------------------------------------


async def test_a_wrong_password(tls: Certificate) -> None:
    async with mail_server(tls, account=True) as server:
        url = f"smtp://ubr%40mail:{SECRET}@{AFAR}:{server.port}"
        assert await unavailable(mailer(url, ssl_context=tls.client)) == "the server answered 535"
    assert server.received == []


async def test_a_server_that_wants_an_account_where_there_is_none(tls: Certificate) -> None:
    async with mail_server(tls, account=True) as server:
        url = f"smtp://{AFAR}:{server.port}"
        assert await unavailable(mailer(url, ssl_context=tls.client)) == "the server answered 530 to the sender"


async def test_a_server_without_a_supported_authentication() -> None:
    async with strange_server("220 hello", "250 hello") as port:
        told = await unavailable(mailer(f"smtp://u:{SECRET}@{HERE}:{port}"))
    assert told == "the server offers no supported authentication"


# --- what servers answer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "answer", "final"),
    [
        ("RCPT", "550 5.1.1 <{}> is unknown", True),
        ("RCPT", "553 5.1.3 no", True),
        ("RCPT", "450 4.2.1 later", False),
        ("RCPT", "451 4.3.0 later", False),
        ("RCPT", "530 5.7.0 log in first", False),
        ("DATA", "554 5.7.1 it looks like spam", True),
        ("DATA", "552 5.3.4 too large", True),
        ("DATA", "452 4.3.1 the disk is full", False),
        ("MAIL", "550 5.7.1 not from you", False),
        ("MAIL", "421 4.7.0 too many", False),
    ],
)
async def test_whether_it_helps_to_try_again(command: str, answer: str, final: bool) -> None:
    async with mail_server() as server:
        server.answers[command] = answer
        told = await (refused if final else unavailable)(mailer(f"smtp://{HERE}:{server.port}"))
        assert told.startswith(f"the server answered {answer[:3]}")
        assert server.received == []
        server.answers.clear()
        await mailer(f"smtp://{HERE}:{server.port}").send(MAIL)
        assert len(server.received) == 1


@pytest.mark.parametrize("answer", ["421 too late", "not SMTP at all", "250"])
async def test_what_was_taken_is_taken_whatever_is_said_afterwards(answer: str) -> None:
    async with mail_server() as server:
        server.answers["QUIT"] = answer
        await mailer(f"smtp://{HERE}:{server.port}").send(MAIL)
    assert len(server.received) == 1


async def test_an_e_mail_that_the_server_cannot_write() -> None:
    async with mail_server(international=False) as server:
        out = mailer(f"smtp://{HERE}:{server.port}")
        with pytest.raises(MailRefused, match="non-ASCII recipients"):
            await out.send(Mail(to="josé@example.org", subject="", text="", html="", id=UUID(int=1)))
        await out.send(Mail(to="ada@bücher.example", subject="ü", text="ü", html="ü", id=UUID(int=1)))
        # That is about the settings: a mail is not lost by it.
        own = SmtpMailer(f"smtp://{HERE}:{server.port}", "josé@example.org", lambda: NOON)
        assert "sender" in await unavailable(own)
    assert [received.recipients for received in server.received] == [["ada@xn--bcher-kva.example"]]


# --- servers that are none -------------------------------------------------------------------------------------------

TALK = ("220 hello", "250 hello", "250 from", "250 to", "354 go on")


@pytest.mark.parametrize("lines", range(len(TALK)))
async def test_a_server_that_stalls(lines: int) -> None:
    async with strange_server(*TALK[:lines]) as port:
        told = await unavailable(mailer(f"smtp://{HERE}:{port}", timeout=0.1))
    assert told == "the server did not answer in time"


async def test_a_server_that_stalls_after_the_text_has_a_time_of_its_own() -> None:
    async with strange_server(*TALK) as port:
        told = await unavailable(mailer(f"smtp://{HERE}:{port}", data_timeout=timedelta(seconds=0.1)))
    assert told == "the server did not answer in time"


@pytest.mark.system
async def test_a_server_that_confirms_late_has_taken_the_mail() -> None:
    """The time for all before the text is over long before it answers."""
    async with mail_server() as server:
        out = mailer(f"smtp://{HERE}:{server.port}", timeout=4, data_timeout=timedelta(seconds=60))
        deliver, over = server.handle_DATA, asyncio.Event()

        async def slow(*given: Any) -> str:
            asyncio.get_running_loop().call_later(4.2, over.set)
            await over.wait()
            return await deliver(*given)

        server.handle_DATA = slow  # type: ignore[method-assign, assignment]
        await out.send(MAIL)
    assert len(server.received) == 1


@pytest.mark.parametrize("text", [".", "..", ".\n.", "a\n.\nRCPT TO:<b@example.org>\n", "\n.b"])
async def test_dots_at_the_start_of_a_line_arrive_as_they_were(text: str) -> None:
    async with mail_server() as server:
        await mailer(f"smtp://{HERE}:{server.port}").send(replace(MAIL, text=text, html=text))
    [received] = server.received
    message = message_from_bytes(received.content, policy=default)
    assert isinstance(message, EmailMessage)
    assert [part.get_content().split() for part in message.iter_parts()] == [text.split()] * 2


async def test_a_server_that_stalls_instead_of_tls() -> None:
    async with strange_server() as port:
        told = await unavailable(mailer(f"smtps://{HERE}:{port}", timeout=0.1))
    assert told == "the server did not answer in time"


@pytest.mark.parametrize("lines", range(len(TALK) + 1))
async def test_a_server_that_hangs_up(lines: int) -> None:
    async with strange_server(*TALK[:lines], hang=False) as port:
        assert await unavailable(mailer(f"smtp://{HERE}:{port}")) == "the connection to the server failed"


@pytest.mark.parametrize(
    "line",
    ["", "HTTP/1.1 400 Bad Request", "2200 x", "220", "220-a\r\n250 b", "554 no", "\xff" * 10, "220 " + "x" * 99999],
)
async def test_a_server_that_speaks_something_else(line: str) -> None:
    async with strange_server(line, "500 what", "500 what", hang=False) as port:
        await unavailable(mailer(f"smtp://{HERE}:{port}"))


async def test_lines_slipped_in_before_tls_are_not_heard(tls: Certificate) -> None:
    slipped = "220 go on\r\n250 slipped in"
    async with strange_server("220 hello", "250-hello\r\n250 STARTTLS", slipped) as port:
        await unavailable(mailer(f"smtp://{AFAR}:{port}", ssl_context=tls.client, timeout=0.2))


async def test_nobody_there() -> None:
    with socket.socket() as bound:
        bound.bind((HERE, 0))
        assert await unavailable(mailer(f"smtp://{HERE}:{bound.getsockname()[1]}"))
    assert await unavailable(mailer("smtp://nowhere.invalid", timeout=5))
