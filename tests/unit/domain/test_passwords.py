import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubr.domain.errors import Invalid, WeakPassword
from ubr.domain.policy import bounded_password, check_password
from ubr.domain.values import Email

EMAIL = Email.parse("User.One@bücher.example")
COMMON = {"password", "1234567890", "monkey", "123456789qwerty", "pässword"}


def check(raw: str, *, min_length: int = 15, full_name: str | None = None) -> str:
    return check_password(raw, min_length=min_length, email=EMAIL, is_common=COMMON.__contains__, full_name=full_name)


@pytest.mark.parametrize(
    "raw",
    [
        "correct horse battery",
        "aaaaaaaaaaaaaab",  # no rule about composition
        "  leading and trailing  ",
        "пароль из многих букв",
        "\U0001f600\U0001f601" * 8,
        "!@#$%^&*()_+-=[]{}|",  # neither letters nor digits
        "§ «$%&/()=?» ¡u!",  # hardly a letter, and that one the first of a known word
        "zero\u200dwidth is theirs to choose",
        "x1" * 512,
    ],
)
def test_a_good_password_is_taken_as_it_is(raw: str) -> None:
    assert check(raw) == raw


def test_a_password_is_brought_to_nfc_and_nothing_else() -> None:
    raw = "  pa\u0301ssword with MARKS \ufb01 "
    assert check(raw) == unicodedata.normalize("NFC", raw)
    assert bounded_password(raw) != unicodedata.normalize("NFKC", raw)


@pytest.mark.parametrize(("length", "fits"), [(14, False), (15, True), (1024, True)])
def test_the_shortest_password(length: int, fits: bool) -> None:
    raw = ("abcdefghijklmnopqrstuvwxyz0123456789" * 30)[:length]
    if fits:
        assert check(raw) == raw
        return
    with pytest.raises(WeakPassword, match="at least 15") as failure:
        check(raw)
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/password"]


def test_the_shortest_password_counts_code_points_after_nfc() -> None:
    with pytest.raises(WeakPassword):
        check("ae\u0301" * 7)  # 21 as typed, 14 as hashed


@pytest.mark.parametrize("raw", ["", "x" * 1025, "x" * 1_000_000])
def test_what_is_too_long_or_empty_is_nobodys_password(raw: str) -> None:
    for parse in (bounded_password, check):
        with pytest.raises(Invalid) as failure:
            parse(raw)
        assert type(failure.value) is Invalid


@pytest.mark.parametrize("char", ["\0", "\n", "\x1f", "\x7f", "\x9f", "\ud800"])
def test_a_password_has_no_controls(char: str) -> None:
    with pytest.raises(Invalid, match="control"):
        bounded_password(f"correct horse{char} battery")


def test_a_short_password_can_still_be_asked_about() -> None:
    assert bounded_password("x") == "x"


@pytest.mark.parametrize(
    "raw",
    [
        "aaaaaaaaaaaaaaa",
        "               ",
        "user.one@bücher.example",
        "USER.ONE@BÜCHER.EXAMPLE",
        "user.one@xn--bcher-kva.example",
        "user.oneuser.one",
        "User One User One",
        "userone-userone-user",
        "ubrubrubrubrubr",
        "UBR ubr UBR ubr!",
        "Name Of Someone",
        "nameofsomeonename",
    ],
)
def test_what_anybody_would_guess_is_weak(raw: str) -> None:
    with pytest.raises(WeakPassword, match="easy to guess"):
        check(raw, full_name="Name of Someone")


@pytest.mark.parametrize(
    "raw",
    [
        "123456789qwerty",
        "123456789QWERTY",
        "passwordpassword",
        "PassWordPassWord",
        "pa\u0308sswordP\u00c4SSWORD",
        "passwordpasswordpass",
        "123456789012345",
        "monkey" * 170,
    ],
)
def test_what_everybody_tries_first_is_weak(raw: str) -> None:
    with pytest.raises(WeakPassword, match="most common") as failure:
        check(raw)
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/password"]


@pytest.mark.parametrize(
    "raw",
    [
        "password password",
        "my password is long",
        "passwordpasswordx",
        "xpasswordpassword",
        "monkeypasswordmonkey",
        "passwordpassworp",
    ],
)
def test_a_common_password_inside_a_longer_one_is_no_fault(raw: str) -> None:
    """NIST SP 800-63B-4, 3.1.1.2: the whole is compared, and no word in it."""
    assert check(raw) == raw


def test_a_short_password_is_not_looked_for() -> None:
    with pytest.raises(WeakPassword, match="at least 15"):
        check("password")
    with pytest.raises(WeakPassword, match="most common"):
        check("password", min_length=8)


def test_a_name_inside_a_longer_password_is_no_fault() -> None:
    assert check("name of someone and their dog", full_name="Name of Someone")


def test_a_refusal_never_quotes_the_password() -> None:
    for raw in ("canary", "canary\n" * 5, "canary" * 500):
        with pytest.raises(Invalid) as failure:
            check(raw)
        assert "canary" not in str(failure.value) + repr(failure.value.flaws)


@given(st.text(min_size=1, max_size=80))
def test_the_forms_of_one_text_are_one_password(raw: str) -> None:
    try:
        password = bounded_password(raw)
    except Invalid:
        return
    assert bounded_password(unicodedata.normalize("NFD", raw)) == password
    assert bounded_password(password) == password


@given(st.text(st.characters(categories=["P", "S", "Zs"]), min_size=15, max_size=40))
def test_letters_are_not_asked_for(raw: str) -> None:
    if len(set(unicodedata.normalize("NFC", raw))) > 1 and len(unicodedata.normalize("NFC", raw)) >= 15:
        assert check(raw)
