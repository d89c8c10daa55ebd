"""Mistakes about mail, and the test mail."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from urllib.parse import quote

import anyio.to_thread
import pytest

from tests.integration.cli.doctor.kit import CANARY, SECRET, Examine, Report
from tests.support.mail import ACCOUNT, AFAR, Certificate, certificate, mail_server
from tests.support.servers import free_port
from ubr.adapters.mail import smtp

pytestmark = pytest.mark.system

SENDER = {"UBR_MAIL_FROM": "ubr@example.org", "UBR_PUBLIC_URL": "https://accounts.example.org"}


@pytest.fixture
def tls(tmp_path: Path) -> Certificate:
    return certificate(tmp_path, "127.0.0.1", AFAR)


async def looked(examine: Examine, url: str, *arguments: str) -> Report:
    return await anyio.to_thread.run_sync(partial(examine, *arguments, UBR_SMTP_URL=url, **SENDER))


async def test_a_mail_server_is_greeted_and_gets_no_mail(examine: Examine) -> None:
    async with mail_server() as server:
        report = await looked(examine, f"smtp://localhost:{server.port}")
    assert report.about("mail") == [("ok", "localhost is ready to accept mails.")]
    assert server.received == []


async def test_a_test_mail(examine: Examine) -> None:
    async with mail_server() as server:
        report = await looked(examine, f"smtp://127.0.0.1:{server.port}", "--mail-to", "Operator@example.org")
    [mail] = server.received
    assert (mail.sender, mail.recipients) == ("ubr@example.org", ["Operator@example.org"])
    assert b"ubr doctor sent this mail" in mail.content
    assert report.about("mail") == [("ok", "A test mail to Operator@example.org was accepted.")]


async def test_a_test_mail_that_is_rejected(examine: Examine) -> None:
    async with mail_server() as server:
        server.answers["RCPT"] = "550 no {0} here"
        report = await looked(examine, f"smtp://127.0.0.1:{server.port}", "--mail-to", "operator@example.org")
    assert report.says("error", "mail", "The test mail was rejected: the server answered 550")


async def test_a_sender_that_is_rejected(examine: Examine) -> None:
    async with mail_server() as server:
        server.answers["MAIL"] = "550 not from there"
        report = await looked(examine, f"smtp://127.0.0.1:{server.port}", "--mail-to", "operator@example.org")
    assert report.says("error", "mail", "the server answered 550 to the sender")


def test_a_test_mail_on_the_embedded_database_is_a_file(
    embedded: dict[str, str], examine: Examine, tmp_path: Path
) -> None:
    assert examine(**embedded).says("ok", "mail", "mails are files in var/mail/")
    assert list(tmp_path.glob("var/mail/*")) == []
    report = examine("--mail-to", "operator@example.org", **embedded)
    assert report.says("ok", "mail", "A test mail to operator@example.org was accepted.")
    [mail] = tmp_path.glob("var/mail/*")
    assert "ubr doctor sent this mail" in mail.read_text()


def test_no_mail_server(examine: Examine) -> None:
    settings = {"UBR_DATABASE_URL": "sqlite:///ubr.db", "UBR_SECRET_KEY": SECRET}
    assert examine(**settings).says("warning", "mail", "UBR_SMTP_URL is not set, so no mail is sent")
    assert examine("--mail-to", "operator@example.org", **settings).says("error", "mail", "UBR_SMTP_URL is not set")


@pytest.mark.parametrize(
    ("host", "words"),
    [("127.0.0.1", "no server listens at the address"), ("nowhere.invalid", "the host name of the server is unknown")],
)
async def test_a_server_out_of_reach(host: str, words: str, examine: Examine) -> None:
    report = await looked(examine, f"smtp://{host}:{free_port()}")
    assert report.says("error", "mail", f"No mail can be sent: {words}. Check UBR_SMTP_URL.")


async def test_a_server_without_tls(examine: Examine) -> None:
    async with mail_server() as server:
        report = await looked(examine, f"smtp://{AFAR}:{server.port}")
    assert report.says("error", "mail", "the server offers no STARTTLS, and ubr sends nothing without TLS")


async def test_a_certificate_of_an_unknown_authority(tls: Certificate, examine: Examine) -> None:
    async with mail_server(tls, at_once=True) as server:
        report = await looked(examine, f"smtps://127.0.0.1:{server.port}")
    assert report.says("error", "mail", "the server's certificate is not good: self-signed certificate")


async def test_a_wrong_login(tls: Certificate, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "_context", lambda *, verified: tls.client)
    right = f"{quote(ACCOUNT[0], safe='')}:{quote(ACCOUNT[1], safe='')}"
    async with mail_server(tls, account=True) as server:
        report = await looked(examine, f"smtp://ubr:{CANARY}@127.0.0.1:{server.port}")
        assert report.says("error", "mail", "No mail can be sent: the server answered 535")
        assert (await looked(examine, f"smtp://{right}@127.0.0.1:{server.port}")).levels()["mail"] == "ok"
