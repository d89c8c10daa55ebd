import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubr.domain.accounts.email import Email
from ubr.domain.accounts.passwords import bounded_password, check_password
from ubr.domain.errors import Invalid, WeakPassword

EMAIL = Email.parse("User.One@bücher.example")
COMMON = {"password", "1234567890", "monkey", "123456789qwerty", "pässword"}
GUESSABLE = {"password12345678", "x2"}


def check(raw: str, *, min_length: int = 15, full_name: str | None = None) -> str:
    return check_password(
        raw,
        min_length=min_length,
        email=EMAIL,
        is_common=COMMON.__contains__,
        is_guessable=GUESSABLE.__contains__,
        full_name=full_name,
    )


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
def test_obvious_passwords_are_weak(raw: str) -> None:
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
def test_a_longer_password_may_contain_a_common_one(raw: str) -> None:
    """NIST SP 800-63B-4, 3.1.1.2: the whole is compared, and no word in it."""
    assert check(raw) == raw


@pytest.mark.parametrize("raw", ["password12345678", "password12345678pass", "x2" * 512, "x2" * 8 + "x"])
def test_a_password_that_takes_few_guesses_is_weak(raw: str) -> None:
    """The estimate gets the text that the password repeats."""
    with pytest.raises(WeakPassword, match="little added") as failure:
        check(raw)
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/password"]


def test_a_short_password_is_not_looked_for() -> None:
    with pytest.raises(WeakPassword, match="at least 15"):
        check("password")
    with pytest.raises(WeakPassword, match="most common"):
        check("password", min_length=8)


def test_a_longer_password_may_contain_the_name() -> None:
    assert check("name of someone and their dog", full_name="Name of Someone")


@pytest.mark.parametrize(
    "raw",
    [
        "user.one12345",
        "12345user.one",
        "User-One-2026!!",
        "user2026one123",
        "name.of.someone1",
        "Someone-1234567",
        "1234567 SOMEONE",
        "someone123someone4567",
        "user.one@bücher.example1",
        "ubr1234567!",
        "ubr-ubr-ubr-12345",
    ],
)
def test_known_data_with_few_other_characters_is_weak(raw: str) -> None:
    with pytest.raises(WeakPassword, match="is too similar to") as failure:
        check(raw, min_length=8, full_name="Name of Someone")
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/password"]


@pytest.mark.parametrize(
    "raw",
    [
        "someone-kettle-77",  # eight beside it
        "one of eight horses",
        "of 12345",  # too short a word to be looked for
        "userless 123456",
        "brook under bridges",
    ],
)
def test_known_data_with_enough_other_characters_is_accepted(raw: str) -> None:
    assert check(raw, min_length=8, full_name="Name of Someone")


WORD = st.text("abcdefghijklmnopqrstuvwxyzäßéøя", min_size=4, max_size=9)


@given(st.lists(WORD, min_size=4, max_size=7), st.integers(0, 3), st.booleans())
def test_a_passphrase_may_hold_a_name(words: list[str], at: int, whole: bool) -> None:
    """Four words, one of which is the owner's: the other three are enough, whatever they are but that one again."""
    name = words[at]
    others = [word for word in words[:4] if not set(word) & set(name)]
    raw = " ".join([name, *others, "0000 0000"])
    assert check(raw, min_length=8, full_name=f"{name} Example" if whole else name)


def letters(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


@given(st.text(min_size=15, max_size=60), st.text(min_size=1, max_size=30))
def test_what_holds_nothing_that_is_known_is_not_like_it(raw: str, name: str) -> None:
    plain = letters(unicodedata.normalize("NFC", raw))
    spaced = "".join(char if char.isalnum() else " " for char in name)
    known = ["ubr", "user", "one", letters(name), *map(letters, spaced.split())]
    try:
        check(raw, full_name=name)
    except Invalid as failure:
        if any("is too similar to" in flaw.detail for flaw in failure.flaws):
            assert any(len(word) >= 3 and word in plain for word in known)


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
