"""The Mailer port: in memory, into a folder, and to a real mail server."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from uuid import UUID

import pytest

from tests.contracts.kit import NOON, MovableClock
from tests.support.mail import ACCOUNT, AFAR, certificate, mail_server
from tests.support.servers import free_port
from ubr.adapters.mail.folder import FolderMailer
from ubr.adapters.mail.none import NoMailer
from ubr.adapters.mail.smtp import SmtpMailer
from ubr.adapters.memory.mail import MemoryMailer
from ubr.application.ports.mail import Mail
from ubr.domain.errors import MailUnavailable
from ubr.testing.contracts import MailerBench, MailerContract

SENDER = "ubr@bücher.example"
LINK = "https://id.example.org/reset-password#token=" + "T" * 60


mail = MailerContract.mail


def read(content: bytes) -> Mail:
    """A mail as a mail program reads it."""
    message = message_from_string(content.decode(), policy=default)
    assert isinstance(message, EmailMessage)
    assert message["From"].addresses[0].addr_spec == "ubr@xn--bcher-kva.example"
    assert message["Date"].datetime == NOON.replace(microsecond=0)
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"
    number, _, domain = message["Message-ID"].strip("<>").partition("@")
    assert domain == "xn--bcher-kva.example"
    assert all(len(message.get_all(name, [])) == 1 for name in ("From", "To", "Subject", "Date", "Message-ID"))
    assert set(message) == {
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type")
    }
    text, html = (part.get_content() for part in message.iter_parts())
    return Mail(
        to=message["To"].addresses[0].addr_spec, subject=message["Subject"], text=text, html=html, id=UUID(number)
    )


class TestMemory(MailerContract):
    @pytest.fixture
    def bench(self) -> MailerBench:
        memory = MemoryMailer()
        return MailerBench(memory, lambda: memory.sent)


class TestFolder(MailerContract):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> MailerBench:
        folder = tmp_path / "mail"
        (tmp_path / "file").write_text("")
        return MailerBench(
            FolderMailer(folder, SENDER, lambda: NOON),
            lambda: [read(path.read_bytes()) for path in files(folder)] if folder.exists() else [],
            FolderMailer(tmp_path / "file", SENDER, lambda: NOON),
        )


class TestSmtp(MailerContract):
    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[MailerBench]:
        tls = certificate(tmp_path, AFAR)
        user, password = "ubr%40mail", "a%2Fsecret%3Aof%20%40ours%25%C3%A9"
        async with mail_server(tls, account=True) as server:
            url = f"smtp://{user}:{password}@{AFAR}:{server.port}"
            yield MailerBench(
                SmtpMailer(url, SENDER, lambda: NOON, ssl_context=tls.client, timeout=30),
                lambda: [read(received.content) for received in server.received],
                SmtpMailer(f"smtp://{AFAR}:{free_port()}", SENDER, lambda: NOON, ssl_context=tls.client, timeout=30),
            )
            for received in server.received:
                assert received.encrypted
                assert received.account == ACCOUNT[0]
                assert received.sender == "ubr@xn--bcher-kva.example"
                assert received.recipients == [str(read(received.content).to)]


@pytest.mark.parametrize("text", ["a\r\nBcc: eve@example.com", "a\nb", "a\rb", "a\0b", "a\x85b", "a\u2028b"])
def test_there_is_no_mail_with_a_head_of_several_lines(text: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        mail(subject=text)
    for to in (f"{text}@example.org", f"ada@example.org{text}", "ada@example.org> SIZE=1", "<ada@example.org"):
        with pytest.raises(ValueError, match="one line"):
            mail(to)


def test_a_mail_shows_no_link() -> None:
    assert LINK not in repr(mail())


async def test_no_mail_is_sent_without_a_configured_server() -> None:
    nowhere = NoMailer()
    assert not nowhere.sends
    with pytest.raises(MailUnavailable):
        await nowhere.send(mail())


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


# --- the folder ------------------------------------------------------------------------------------------------------


async def test_files_are_for_their_owner_and_in_the_order_of_time(tmp_path: Path) -> None:
    clock = MovableClock()
    folder = tmp_path / "var" / "mail"
    mailer = FolderMailer(folder, SENDER, clock)
    for number in (3, 1, 2):
        await mailer.send(mail(id=UUID(int=number)))
        clock.move(timedelta(microseconds=1))
    paths = files(folder)
    assert [read(path.read_bytes()).id.int for path in paths] == [3, 1, 2]
    assert paths[0].name == f"20260301T120000.123456Z-{UUID(int=3)}.eml"
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_the_link_in_a_file_is_in_one_piece(tmp_path: Path) -> None:
    await FolderMailer(tmp_path, SENDER, lambda: NOON).send(mail())
    (path,) = files(tmp_path)
    assert LINK in path.read_text().splitlines()


async def test_a_mail_that_cannot_be_kept_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MailUnavailable, match=r"Not a directory|File exists"):
        await FolderMailer(tmp_path / "file", SENDER, lambda: NOON).send(mail())
    sent = mail()
    (tmp_path / f"20260301T120000.123456Z-{sent.id}.eml").mkdir()
    with pytest.raises(MailUnavailable, match="Is a directory"):
        await FolderMailer(tmp_path, SENDER, lambda: NOON).send(sent)
    assert sorted(path.is_dir() for path in files(tmp_path)) == [False, True]
