"""The suite of mailers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

import msgspec
import pytest

from ubr.application.ports.mail import Mail, Mailer
from ubr.domain.errors import MailRefused, MailUnavailable
from ubr.testing.contracts.basis import Contract

_LINK: Final = "https://id.example.org/reset-password#token=" + "T" * 60


class MailerBench(msgspec.Struct, frozen=True):
    """A mailer, and the mails that have arrived by it, oldest first.

    `unreachable` is a mailer whose receiving side cannot be reached at the moment; None if it has none.
    """

    mailer: Mailer
    arrived: Callable[[], Sequence[Mail]]
    unreachable: Mailer | None = None


class MailerContract(Contract):
    """The port `Mailer`. Override `bench`."""

    @pytest.fixture
    def bench(self) -> MailerBench:
        """A new mailer, by which nothing has arrived."""
        raise NotImplementedError("Override the fixture bench")

    @staticmethod
    def mail(to: str = "ada@example.org", **changes: object) -> Mail:
        """A mail with a link."""
        made = {"subject": "Hello", "text": f"Open:\n\n{_LINK}\n", "html": f"<p>{_LINK}</p>\n", "id": uuid4()}
        return Mail(to=to, **{**made, **changes})  # type: ignore[arg-type]

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
    async def test_what_is_sent_arrives_as_it_is(self, bench: MailerBench, changes: dict[str, object]) -> None:
        sent = self.mail(**changes)  # type: ignore[arg-type]
        await bench.mailer.send(sent)
        (arrived,) = bench.arrived()
        assert _comparable(arrived) == _comparable(sent)

    async def test_a_mail_has_arrived_when_send_returns(self, bench: MailerBench) -> None:
        for number in range(1, 4):
            await bench.mailer.send(self.mail(id=UUID(int=number)))
            assert len(bench.arrived()) == number

    async def test_each_arrives_in_its_turn_and_again_when_it_is_sent_again(self, bench: MailerBench) -> None:
        first, second = self.mail("one@example.org", id=UUID(int=1)), self.mail("two@example.org", id=UUID(int=2))
        for sent in (first, second, first):
            await bench.mailer.send(sent)
        arrived = [found.id for found in bench.arrived()]
        # The receiving side may recognise the duplicate by its id.
        assert arrived in ([first.id, second.id, first.id], [first.id, second.id])

    async def test_mails_at_once_arrive_each_as_it_is(self, bench: MailerBench) -> None:
        mails = [self.mail(f"u{number}@example.org", text=f"{number}\n", id=UUID(int=number)) for number in range(1, 9)]
        await asyncio.gather(*(bench.mailer.send(mail) for mail in mails))
        arrived = sorted(bench.arrived(), key=lambda mail: mail.id)
        assert [_comparable(mail) for mail in arrived] == [_comparable(mail) for mail in mails]

    @pytest.mark.parametrize(
        ("to", "by_idna"),
        [
            ("josé@example.org", "josé@example.org"),
            ("用户@例子.example", "用户@xn--fsqu00a.example"),
            ("ada@bücher.example", "ada@xn--bcher-kva.example"),
            ("info@βόλος.com", "info@xn--nxasmm1c.com"),
            ("info@faß.example", "info@xn--fa-hia.example"),
        ],
    )
    async def test_e_mails_in_every_script(self, bench: MailerBench, to: str, by_idna: str) -> None:
        await bench.mailer.send(self.mail(to))
        assert bench.arrived()[0].to in {to, by_idna}

    @pytest.mark.parametrize(
        "to",
        [
            "=?utf-8?q?ada=0d=0aBcc=3aeve=40example.com?=@example.org",
            "=?utf-8?q?eve=40example.com=3e?=@example.org",
            "=?us-ascii?b?YQ==?=@example.org",
        ],
    )
    async def test_no_e_mail_is_read_as_another_one(self, bench: MailerBench, to: str) -> None:
        """A mailer that writes no header lines may send these; one that does must refuse them."""
        [outcome] = await asyncio.gather(bench.mailer.send(self.mail(to)), return_exceptions=True)
        arrived = [mail.to for mail in bench.arrived()]
        if outcome is None:
            assert arrived == [to]
        else:
            assert isinstance(outcome, MailRefused)
            assert to not in outcome.detail
            assert arrived == []

    async def test_a_subject_stays_one_line_whatever_it_spells(self, bench: MailerBench) -> None:
        sent = self.mail(subject="=?utf-8?q?Hello=0d=0aBcc=3aeve=40example.com?=")
        await bench.mailer.send(sent)
        (arrived,) = bench.arrived()
        assert arrived.subject == sent.subject

    async def test_a_mail_that_cannot_be_sent_now_is_told_from_one_that_never_can(self, bench: MailerBench) -> None:
        if bench.unreachable is None:
            return
        sent = self.mail()
        with pytest.raises(MailUnavailable) as caught:
            await bench.unreachable.send(sent)
        told = f"{caught.value.detail} {caught.value}"
        assert not any(secret in told for secret in (sent.to, _LINK, sent.subject))

    async def test_it_says_that_it_sends(self, bench: MailerBench) -> None:
        assert bench.mailer.sends is True

    async def test_it_says_how_long_it_takes_at_most(self, bench: MailerBench) -> None:
        # The delivery claims a mail for this time: a process that dies must not keep it for long.
        assert timedelta(0) <= bench.mailer.max_duration <= timedelta(hours=1)


def _comparable(mail: Mail) -> tuple[object, ...]:
    """A mail without the difference between line ends, which a network may change."""
    return mail.to, mail.subject, mail.text.splitlines(), mail.html.splitlines(), mail.id
