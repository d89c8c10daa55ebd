"""How users are sought: by the beginning of an e-mail or a name, as a range of texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubr.domain.accounts.email import Email
from ubr.domain.accounts.search import Prefix, behind, name_key
from ubr.domain.errors import Invalid

TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("az\ud7ff\ue000\uffff\U0010ffff")), max_size=5).filter(
    lambda text: not any("\ud800" <= char <= "\udfff" for char in text)
)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("a", "b"),
        ("az", "a{"),
        ("\x7f", "\x80"),
        ("a\ud7ff", "a\ue000"),
        ("\uffff", "\U00010000"),
        ("a\U0010ffff", "b"),
        ("\ud7ff\U0010ffff\U0010ffff", "\ue000"),
        ("\U0010ffff", None),
        ("\U0010ffff" * 3, None),
        ("", None),
    ],
)
def test_the_first_text_behind_all_that_begin_alike(prefix: str, end: str | None) -> None:
    assert behind(prefix) == end


@given(TEXTS, TEXTS)
def test_a_range_holds_what_begins_with_the_prefix_and_nothing_else(prefix: str, text: str) -> None:
    end = behind(prefix)
    for each in (text, prefix + text, prefix, prefix + "\U0010ffff"):
        raw = each.encode()
        within = prefix.encode() <= raw and (end is None or raw < end.encode())
        assert within == each.startswith(prefix)


@given(TEXTS)
def test_the_key_of_a_key_is_itself_and_short_enough_for_an_index(text: str) -> None:
    assert name_key(name_key(text)) == name_key(text)
    assert len(name_key(text * 400).encode()) <= 2000


@given(st.text(max_size=40))
def test_any_text_is_sought_or_refused(raw: str) -> None:
    try:
        prefix = Prefix.parse(raw)
    except Invalid as error:
        assert [flaw.pointer for flaw in error.flaws] == ["/q"]  # noqa: PT017
        return
    assert prefix.name
    (prefix.email + prefix.name).encode()


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=40))
def test_a_name_is_found_by_its_own_text(name: str) -> None:
    assert Prefix.parse(name).begins(Email.parse("x@example.org"), name)


def test_a_prefix_shows_nothing_of_itself() -> None:
    assert "canary" not in repr(Prefix.parse("canary"))


def test_a_search_by_e_mail_finds_a_domain_by_either_spelling() -> None:
    email = Email.parse("info@\u03b2\u03cc\u03bb\u03bf\u03c2.com")
    assert Prefix.parse("info@\u03b2\u03cc\u03bb\u03bf\u03c2.com").begins(email, None)
    assert Prefix.parse("Info@xn--nxasmm1c").begins(email, None)
