"""The Mailer port: in memory, into a folder, and to a real mail server."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.contracts.kit import NOON, MovableClock
from tests.support.mail import ACCOUNT, AFAR, certificate, mail_server
from ubr.adapters.mail.folder import FolderMailer
from ubr.adapters.mail.none import NoMailer
from ubr.adapters.mail.smtp import SmtpMailer
from ubr.adapters.memory.mail import MemoryMailer
from ubr.application.ports.mail import Mail, Mailer
from ubr.domain.errors import MailRefused, MailUnavailable

SENDER = "ubr@bücher.example"
LINK = "https://id.example.org/reset-password#token=" + "T" * 60


def mail(to: str = "ada@example.org", **changes: object) -> Mail:
    made = {"subject": "Hello", "text": f"Open:\n\n{LINK}\n", "html": f"<p>{LINK}</p>\n", "id": uuid4()}
    return Mail(to=to, **{**made, **changes})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Bench:
    """A mailer, and what has arrived by it."""

    mailer: Mailer
    arrived: Callable[[], list[Mail]]


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


@pytest.fixture(params=["memory", "folder", "smtp"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if request.param == "memory":
        memory = MemoryMailer()
        yield Bench(memory, lambda: memory.sent)
    elif request.param == "folder":
        folder = tmp_path / "mail"
        kept = FolderMailer(folder, SENDER, lambda: NOON)
        yield Bench(kept, lambda: [read(path.read_bytes()) for path in files(folder)])
    else:
        tls = certificate(tmp_path, AFAR)
        user, password = "ubr%40mail", "a%2Fsecret%3Aof%20%40ours%25%C3%A9"
        async with mail_server(tls, account=True) as server:
            url = f"smtp://{user}:{password}@{AFAR}:{server.port}"
            yield Bench(
                SmtpMailer(url, SENDER, lambda: NOON, ssl_context=tls.client, timeout=30),
                lambda: [read(received.content) for received in server.received],
            )
            for received in server.received:
                assert received.encrypted
                assert received.account == ACCOUNT[0]
                assert received.sender == "ubr@xn--bcher-kva.example"
                assert received.recipients == [str(read(received.content).to)]


def like(one: Mail, other: Mail) -> bool:
    def lines(text: str) -> list[str]:
        return text.splitlines()

    return (one.to, one.subject, lines(one.text), lines(one.html), one.id) == (
        *(other.to, other.subject, lines(other.text), lines(other.html), other.id),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "subject": "Grüße an 李 ✓ " + "immer länger " * 12,
            "text": "Grüße\n.\n..\nFrom here\n",
            "html": "<p>李</p>\n",
        },
        {"subject": "a plain one that is longer than a line may be " * 3 + "."},
        {"text": "=3D a line\n" + "x" * 2000 + "\n\n.\r\nlast\n"},
        {"to": "o'neil+a!#$%&*/=^_`{|}~@example.org"},
        {"to": "x" * 64 + "@" + "y" * 60 + "." + "z" * 60 + ".example.org"},
    ],
    ids=["plain", "letters", "long subject", "long line", "marks", "long e-mail"],
)
async def test_what_is_sent_arrives_as_it_is(bench: Bench, changes: dict[str, object]) -> None:
    sent = mail(**changes)  # type: ignore[arg-type]
    await bench.mailer.send(sent)
    (arrived,) = bench.arrived()
    assert like(arrived, sent)


async def test_each_arrives_in_its_turn_and_again_when_it_is_sent_again(bench: Bench) -> None:
    first, second = mail("one@example.org", id=UUID(int=1)), mail("two@example.org", id=UUID(int=2))
    for sent in (first, second, first):
        await bench.mailer.send(sent)
    arrived = bench.arrived()
    # A file has the name of its mail: one that is sent again at the same moment is the same file.
    assert [found.id for found in arrived] in ([first.id, second.id, first.id], [first.id, second.id])


@pytest.mark.parametrize("to", ["josé@example.org", "用户@例子.example", "ada@bücher.example"])
async def test_e_mails_in_every_script(bench: Bench, to: str) -> None:
    await bench.mailer.send(mail(to))
    local, _, domain = to.partition("@")
    assert bench.arrived()[0].to in {to, f"{local}@{domain.encode('idna').decode()}"}


@pytest.mark.parametrize(
    "to",
    [
        "=?utf-8?q?ada=0d=0aBcc=3aeve=40example.com?=@example.org",
        "=?utf-8?q?eve=40example.com=3e?=@example.org",
        "=?us-ascii?b?YQ==?=@example.org",
    ],
)
async def test_no_e_mail_is_read_as_something_else(bench: Bench, to: str) -> None:
    with pytest.raises(MailRefused) as caught:
        await bench.mailer.send(mail(to))
    assert to not in caught.value.detail
    assert not isinstance(bench.mailer, MemoryMailer | SmtpMailer) or bench.arrived() == []


async def test_a_subject_stays_one_line_whatever_it_spells(bench: Bench) -> None:
    sent = mail(subject="=?utf-8?q?Hello=0d=0aBcc=3aeve=40example.com?=")
    await bench.mailer.send(sent)
    (arrived,) = bench.arrived()
    assert arrived.subject == sent.subject


@pytest.mark.parametrize("text", ["a\r\nBcc: eve@example.com", "a\nb", "a\rb", "a\0b", "a\x85b", "a\u2028b"])
def test_there_is_no_mail_with_a_head_of_several_lines(text: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        mail(subject=text)
    for to in (f"{text}@example.org", f"ada@example.org{text}", "ada@example.org> SIZE=1", "<ada@example.org"):
        with pytest.raises(ValueError, match="one line"):
            mail(to)


def test_a_mail_shows_no_link() -> None:
    assert LINK not in repr(mail())


async def test_it_says_that_it_sends(bench: Bench) -> None:
    assert bench.mailer.sends


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
