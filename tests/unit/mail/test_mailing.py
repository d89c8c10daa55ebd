"""Which way mails go in which environment."""

from pathlib import Path
from typing import Any

import pytest

from tests.contracts.kit import NOON
from ubr.adapters.mail.folder import FolderMailer
from ubr.adapters.mail.none import NoMailer
from ubr.adapters.mail.smtp import SmtpMailer
from ubr.adapters.memory.mail import MemoryMailer
from ubr.bootstrap import open_environment
from ubr.bootstrap.mailing import mailer_of, renderer_of
from ubr.domain.mail.kinds import MailKind
from ubr.settings import EMBEDDED, Settings, WrongSetting

OWN = "postgresql+asyncpg://h/d"
SMTP = "smtps://mail.example.org"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, MemoryMailer),
        ({"database_url": EMBEDDED}, FolderMailer),
        ({"database_url": EMBEDDED, "smtp_url": SMTP, "mail_from": "ubr@example.org"}, SmtpMailer),
        ({"database_url": OWN, "smtp_url": SMTP, "mail_from": "ubr@example.org"}, SmtpMailer),
        ({"database_url": OWN}, NoMailer),
    ],
)
def test_mails_go(changes: dict[str, Any], expected: type) -> None:
    mailer = mailer_of(Settings.memory(**changes), lambda: NOON)
    assert type(mailer) is expected
    assert mailer.sends == (expected is not NoMailer)


async def test_in_memory_they_are_there_to_be_looked_at() -> None:
    async with open_environment(Settings.memory()) as environment:
        delivering = environment.application.deliver_mail
        assert isinstance(delivering.mailer, MemoryMailer)
        assert delivering.renderer.link("verify-email", "abc") == "http://127.0.0.1:8000/verify-email#token=abc"


def test_links_begin_with_the_public_url() -> None:
    renderer = renderer_of(Settings.memory(public_url="https://id.example.org/auth"))
    assert renderer.link("undo-email", "abc") == "https://id.example.org/auth/undo-email#token=abc"


async def test_a_template_that_makes_no_mail_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / f"{MailKind.INVITATION}.txt").write_text("{{ lnk }}")
    with pytest.raises(WrongSetting) as caught:
        async with open_environment(Settings.memory(mail_templates=str(tmp_path))):
            pass
    assert caught.value.sentences == (
        f"UBR_MAIL_TEMPLATES names {tmp_path}: invitation.txt cannot be used: 'lnk' is undefined.",
    )
