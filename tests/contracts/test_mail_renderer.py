"""The MailRenderer port, and the templates that it is made with."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from ubr.adapters.mail.templates import PARTS, BrokenTemplate, TemplateMailRenderer
from ubr.application.ports.mail import MailContext, MailRenderer
from ubr.domain.mail.kinds import MailKind

URL = "https://id.example.org/auth"
TOKEN = "ubr_t-" + "A" * 43
BUILT_IN = Path(__file__).parents[2] / "src/ubr/adapters/mail/templates"

LINKED = {
    MailKind.REGISTRATION,
    MailKind.VERIFICATION,
    MailKind.PASSWORD_RESET,
    MailKind.INVITATION,
    MailKind.EMAIL_CHANGE,
    MailKind.EMAIL_CHANGED,
}


@pytest.fixture(scope="module")
def renderer() -> MailRenderer:
    return TemplateMailRenderer(URL)


def context(kind: MailKind, **changes: Any) -> MailContext:
    known = {"full_name": "Ada Lovelace", "new_email": "new@example.com", "minutes": 60}
    return MailContext(kind=kind, to="ada@example.org", **{"link": f"{URL}/page#token={TOKEN}", **known, **changes})


class Read(HTMLParser):
    """A page as a reader has it: its text, and all that its tags say."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_values_are_stored_and_stay() -> None:
    assert [str(kind) for kind in MailKind] == [
        "registration",
        "account_exists",
        "verification",
        "password_reset",
        "invitation",
        "email_change",
        "email_change_asked",
        "email_changed",
        "email_in_use",
        "email_replaced",
    ]


@pytest.mark.parametrize("kind", MailKind)
def test_a_mail_says_who_it_is_from_whom_it_is_to_and_how_long_its_link_is_good(
    renderer: MailRenderer, kind: MailKind
) -> None:
    id = uuid4()
    mail = renderer.render(context(kind), id)
    assert (mail.to, mail.id) == ("ada@example.org", id)
    assert "id.example.org" in mail.subject
    read = Read(mail.html)
    for text in (mail.text, read.text):
        assert "id.example.org" in text
        assert "ada@example.org" in text
        assert re.search(r"\b(if|If) (this was not you|you (do not|have no))", text)
        assert ("1 hour" in text) == (kind in LINKED)
    links = [attributes["href"] for tag, attributes in read.tags if tag == "a"]
    assert links == ([f"{URL}/page#token={TOKEN}"] if kind in LINKED else [])
    assert (f"\n{URL}/page#token={TOKEN}\n" in mail.text) == (kind in LINKED)


@pytest.mark.parametrize("kind", MailKind)
def test_a_mail_is_plain_and_loads_nothing(renderer: MailRenderer, kind: MailKind) -> None:
    mail = renderer.render(context(kind), uuid4())
    # In plain characters and lines that are not too long a link stays whole on the way.
    assert mail.text.isascii()
    assert mail.html.isascii()
    assert all(len(line) <= 80 or line.startswith(URL) for line in mail.text.splitlines())
    assert "\n\n\n" not in mail.text
    assert "None" not in mail.text + mail.html + mail.subject
    tags = {tag for tag, _ in Read(mail.html).tags}
    assert tags <= {"html", "head", "meta", "title", "body", "p", "a"}
    assert not re.search(r"url\(|@import|src=", mail.html)


@pytest.mark.parametrize("kind", MailKind)
def test_nobody_mails_what_they_like_to_somebody_else(renderer: MailRenderer, kind: MailKind) -> None:
    for name in (
        "Win a prize: https://evil.example",
        "evil.example",
        "Call eve@evil.example",
        "www.evil.example/x",
        "You have won. " * 12,
    ):
        mail = renderer.render(context(kind, full_name=name), uuid4())
        for text in (mail.subject, mail.text, mail.html):
            assert "evil" not in text
            assert "won" not in text
    shown = "Ada Lovelace" in renderer.render(context(kind), uuid4()).text
    assert shown == (kind is MailKind.INVITATION)


@pytest.mark.parametrize("kind", [MailKind.EMAIL_CHANGE_ASKED, MailKind.EMAIL_CHANGED, MailKind.EMAIL_REPLACED])
def test_the_old_e_mail_is_told_only_enough_of_the_new_one(renderer: MailRenderer, kind: MailKind) -> None:
    new_email = "visit.evil-example.com@you-have-won.on-evil.example.com"
    mail = renderer.render(context(kind, new_email=new_email), uuid4())
    assert "v...@y..." in mail.text
    for word in ("evil", "won", "example.com"):
        assert word not in mail.text + mail.html + mail.subject


@pytest.mark.parametrize("name", ["J.R.R. Tolkien", "Martin Luther King, Jr.", "李小龍", "O'Neil"])
def test_an_invitation_contains_the_name(renderer: MailRenderer, name: str) -> None:
    assert f"Hello {name}," in renderer.render(context(MailKind.INVITATION, full_name=name), uuid4()).text


def test_a_name_is_not_interpreted_as_markup(renderer: MailRenderer) -> None:
    mail = renderer.render(context(MailKind.INVITATION, full_name="<b>Ada</b> & <img>"), uuid4())
    assert "Hello <b>Ada</b> & <img>," not in mail.text  # with a slash it could be part of a link
    mail = renderer.render(context(MailKind.INVITATION, full_name='<img onerror="x"> & {{ link }}'), uuid4())
    assert 'Hello <img onerror="x"> & {{ link }},' in mail.text
    assert "img" not in {tag for tag, _ in Read(mail.html).tags}
    assert 'Hello <img onerror="x"> & {{ link }},' in Read(mail.html).text


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(1, "1 minute"), (15, "15 minutes"), (60, "1 hour"), (90, "90 minutes"), (120, "2 hours"), (1440, "1 day")],
)
def test_how_long(renderer: MailRenderer, minutes: int, text: str) -> None:
    mail = renderer.render(context(MailKind.VERIFICATION, minutes=minutes), uuid4())
    assert f"valid for {text} " in mail.text


@pytest.mark.parametrize("missing", ["link", "minutes"])
@pytest.mark.parametrize("kind", sorted(LINKED))
def test_a_fact_that_is_missing(renderer: MailRenderer, kind: MailKind, missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        renderer.render(context(kind, **{missing: None}), uuid4())


@pytest.mark.parametrize("page", ["reset-password", "verify-email", "undo-email"])
def test_links_begin_with_the_public_url(renderer: MailRenderer, page: str) -> None:
    assert renderer.link(page, TOKEN) == f"https://id.example.org/auth/{page}#token={TOKEN}"


def test_facts_show_no_link() -> None:
    assert TOKEN not in repr(context(MailKind.INVITATION))


# --- an operator's own -----------------------------------------------------------------------------------------------


def own(folder: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        kind, _, part = name.rpartition("_")
        (folder / f"{kind}.{part}").write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_what_there_is_to_replace() -> None:
    names = {path.name for path in BUILT_IN.iterdir()}
    assert names == {f"{kind}.{part}" for kind in MailKind for part in PARTS} | {"layout.txt", "layout.html"}


def test_a_file_takes_the_place_of_the_template_of_its_name(tmp_path: Path) -> None:
    own(tmp_path, invitation_subject="Grüezi {{ full_name }}\n", layout_html="<b>{% block content %}{% endblock %}</b>")
    renderer = TemplateMailRenderer(URL, tmp_path)
    mail = renderer.render(context(MailKind.INVITATION), UUID(int=1))
    assert mail.subject == "Grüezi Ada Lovelace"
    assert mail.html.startswith("<b>")
    assert mail.text == TemplateMailRenderer(URL).render(context(MailKind.INVITATION), UUID(int=1)).text
    assert "<b>" in renderer.render(context(MailKind.VERIFICATION), UUID(int=1)).html


def test_templates_may_share_what_they_like(tmp_path: Path) -> None:
    own(tmp_path, verification_txt="{{ link }}{% include 'footer.txt' %}", footer_txt="The people at {{ service }}")
    mail = TemplateMailRenderer(URL, tmp_path).render(context(MailKind.VERIFICATION), UUID(int=1))
    assert mail.text.endswith("The people at id.example.org")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("verification_txt", "{{ lnk }}", "verification.txt cannot be used: 'lnk' is undefined"),
        ("verification_html", "\n{% if %}", "verification.html cannot be used: .* (line 2)"),
        ("account_exists_txt", "{{ link }}", "account_exists.txt cannot be used: 'link' is undefined"),
        ("password_reset_txt", "{{ full_name }}", "password_reset.txt cannot be used: 'full_name' is undefined"),
        ("verification_subject", " \n", "verification.subject is empty"),
        ("verification_subject", "a\x07", "verification.subject contains control characters"),
        ("layout_html", "{{ 1 // 0 }}", "layout.html cannot be used: .* zero"),
        ("layout_txt", "{{ nothing }}", "layout.txt cannot be used: 'nothing' is undefined"),
        ("verification_txt", "{% include 'more.txt' %}", "verification.txt cannot be used: there is no more.txt"),
        ("verification_txt", "{{ ''.__class__ }}", "verification.txt cannot be used: .* unsafe"),
        ("verification_txt", "{{ link.format.__globals__ }}", "verification.txt cannot be used: .* unsafe"),
        ("verification_txt", b"\xff", "verification.txt cannot be used: .*utf-8.*"),
        ("invitation_txt", "{% if not full_name %}{{ lnk }}{% endif %}x", "invitation.txt cannot be used: 'lnk' .*"),
        ("verificaton_txt", "{{ link }}", "verificaton.txt is not used by any mail"),
    ],
)
def test_a_template_that_makes_no_mail(tmp_path: Path, name: str, content: str | bytes, told: str) -> None:
    with pytest.raises(BrokenTemplate) as caught:
        TemplateMailRenderer(URL, own(tmp_path, **{name: content}))
    pattern = told.replace("(", r"\(").replace(")", r"\)")
    assert re.fullmatch(pattern, str(caught.value)), str(caught.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BrokenTemplate, match="folder does not exist"):
        TemplateMailRenderer(URL, tmp_path / "nowhere")
