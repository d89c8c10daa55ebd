import string
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ubr.domain.accounts.email import Email
from ubr.domain.errors import Invalid

LOCAL_CHARS = string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~" + "äöüéñčΑωßİıжЖ字かｋªﬁ"
HOST_CHARS = string.ascii_letters + string.digits + "äéжßλς字"

local_parts = st.lists(st.text(LOCAL_CHARS, min_size=1, max_size=12), min_size=1, max_size=3).map(".".join)
hosts = st.lists(st.text(HOST_CHARS, min_size=1, max_size=10), min_size=1, max_size=3).map(".".join)
raws = st.tuples(local_parts, hosts, st.sampled_from(["org", "example", "Dé", "рф"])).map(
    lambda t: f"{t[0]}@{t[1]}.{t[2]}"
)


def parsed(raw: str) -> Email:
    """The e-mail, where the example is one."""
    try:
        return Email.parse(raw)
    except Invalid:
        assume(False)
        raise


@pytest.mark.parametrize(
    ("raw", "address", "key"),
    [
        ("user1@example.org", "user1@example.org", "user1@example.org"),
        ("  User1@Example.ORG\t", "User1@Example.ORG", "user1@example.org"),
        ("a+tag.b@example.org", "a+tag.b@example.org", "a+tag.b@example.org"),
        (
            "o'user!#$%&*/=?^_`{|}~-@example.org",
            "o'user!#$%&*/=?^_`{|}~-@example.org",
            "o'user!#$%&*/=?^_`{|}~-@example.org",
        ),
        ("user@bücher.example", "user@bücher.example", "user@xn--bcher-kva.example"),
        ("user@BÜCHER.example", "user@BÜCHER.example", "user@xn--bcher-kva.example"),
        ("user@xn--bcher-kva.example", "user@xn--bcher-kva.example", "user@xn--bcher-kva.example"),
        ("user@XN--BCHER-KVA.EXAMPLE", "user@XN--BCHER-KVA.EXAMPLE", "user@xn--bcher-kva.example"),
        ("JÖRG@example.org", "JÖRG@example.org", "jörg@example.org"),
        ("jo\u0308rg@example.org", "jo\u0308rg@example.org", "j\u00f6rg@example.org"),
        ("ΣΊΣΥΦΟΣ@example.org", "ΣΊΣΥΦΟΣ@example.org", "σίσυφοσ@example.org"),
        ("σίσυφος@example.org", "σίσυφος@example.org", "σίσυφοσ@example.org"),
        ("字@例え.jp", "字@例え.jp", "字@xn--r8jz45g.jp"),
        ("u@a-b.c1.example", "u@a-b.c1.example", "u@a-b.c1.example"),
    ],
)
def test_the_address_is_kept_as_typed_and_the_key_is_canonical(raw: str, address: str, key: str) -> None:
    email = Email.parse(raw)
    assert (email.address, email.key) == (address, key)


@pytest.mark.parametrize(
    "char",
    [
        "\u0130",  # capital i with dot: folds to i and a dot above
        "\u017f",  # long s
        "\u1e9e",  # capital sharp s
        "\u00df",  # sharp s, which folds to ss
        "\u212a",  # Kelvin sign
        "\u212b\u212a",  # Ångström, which stays what it is, and Kelvin
        "\uff41",  # full-width a
        "\uff10",  # full-width zero
        "\uff0e",  # full-width full stop
        "\u2024",  # one dot leader
        "\u2025",  # two dot leader
        "\u00aa",  # feminine ordinal
        "\u00ba",  # masculine ordinal
        "\u00b9",  # superscript one
        "\u2460",  # circled one
        "\ufb01",  # ligature fi
        "\u0149",  # n with an apostrophe before it
        "\u00bd",  # one half
        "\u2100",  # account of
        "\U0001d41a",  # mathematical bold a
        "\U0001f130",  # squared A
        "\ufe52",  # small full stop
        "\u00a0",  # no-break space
    ],
)
@pytest.mark.parametrize("place", ["u{}ser@example.org", "user@exa{}mple.org"])
def test_a_character_that_turns_into_ascii_is_refused(char: str, place: str) -> None:
    with pytest.raises(Invalid, match="resembles another one"):
        Email.parse(place.format(char))


@pytest.mark.parametrize("char", ["\uff20", "\ufe6b"])
def test_another_at_sign_is_refused(char: str) -> None:
    for raw in (f"user{char}example.org", f"user@example.org{char}example.com", f"a{char}b@example.org"):
        with pytest.raises(Invalid):
            Email.parse(raw)


def test_an_encoded_word_is_refused() -> None:
    with pytest.raises(Invalid, match="encoded word"):
        Email.parse("=?utf-8?q?=0d=0aBcc=3ax=40y.z?=@example.org")


def test_a_dotless_i_is_another_letter_and_never_an_i() -> None:
    assert Email.parse("m\u0131ke@example.org").key != Email.parse("mike@example.org").key
    assert Email.parse("m\u0131ke@example.org").key != Email.parse("MIKE@example.org").key


def test_cyrillic_letters_stay_cyrillic() -> None:
    assert Email.parse("\u0430dmin@example.org").key != Email.parse("admin@example.org").key


@pytest.mark.parametrize(
    "char",
    [
        "\0", "\x01", "\x1b", "\x7f", "\x85", "\u009f",  # controls
        "\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u180e",  # no width
        "\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u180b", "\u180d", "\u180f", "\u3164", "\uffa0",  # nor these
        "\ufe00", "\ufe0f", "\U000e0100", "\U000e01ef",  # variation selectors
        "\u061c", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069",  # direction
        "\u2028", "\u2029", "\ud800", "\ue000", "\U000f0000", "\U000e0001", "\uffff", "\u0378",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "place", ["us{}er@example.org", "user@exam{}ple.org", "user{}@example.org", "user@{}example.org"]
)
def test_invisible_characters_are_refused(char: str, place: str) -> None:
    with pytest.raises(Invalid):
        Email.parse(place.format(char))


@pytest.mark.parametrize(
    "raw",
    [
        "", " ", "user", "user@", "@example.org", "@", "user@@example.org", "a@b@example.org", "user@example",
        "user@.org", "user@example..org", "user@example.org.", "user@.example.org", ".user@example.org",
        "user.@example.org", "us..er@example.org", "us er@example.org", '"user"@example.org', "us(er)@example.org",
        "user@[127.0.0.1]", "user@127.0.0.1", "user@example.123", "user@-example.org", "user@example-.org",
        "user@exam_ple.org", "user@exam ple.org", "us,er@example.org", "us;er@example.org", "us:er@example.org",
        "<user@example.org>", "User <user@example.org>", "user@example.org,user2@example.org", "us\\er@example.org",
        "user@example.org\nbcc:user2@example.org", "mailto:user@example.org", "user@exa/mple.org", "user@example.org?x",
    ],
)  # fmt: skip
def test_a_text_that_is_not_clearly_one_address_is_refused(raw: str) -> None:
    with pytest.raises(Invalid) as failure:
        Email.parse(raw)
    [flaw] = failure.value.flaws
    assert flaw.pointer == "/email"


def test_a_flaw_points_where_it_was_told_to_and_never_quotes_the_value() -> None:
    with pytest.raises(Invalid) as failure:
        Email.parse("secret-canary@@", "/new_email")
    [flaw] = failure.value.flaws
    assert flaw.pointer == "/new_email"
    assert "canary" not in flaw.detail + failure.value.detail


def domain_of(length: int) -> str:
    """A valid domain of so many characters."""
    labels = ["x" * 63] * (length // 64)
    rest = length - 64 * len(labels)
    return ".".join([*labels, "y" * rest]) if rest else ".".join([*labels[:-1], "x" * 61, "y"])


@pytest.mark.parametrize(
    ("raw", "fits"),
    [
        ("a" * 64 + "@example.org", True),
        ("a" * 65 + "@example.org", False),
        ("ä" * 32 + "@example.org", True),
        ("ä" * 32 + "a@example.org", False),  # 65 bytes
        ("u@" + "x" * 63 + ".org", True),
        ("u@" + "x" * 64 + ".org", False),
        ("u@" + domain_of(252), True),
        ("u@" + domain_of(253), False),
        ("u" * 64 + "@" + domain_of(189), True),
        ("u" * 64 + "@" + domain_of(190), False),
        ("ä" * 32 + "@" + domain_of(189), True),
        ("ä" * 32 + "@" + domain_of(190), False),  # 223 characters, 255 bytes
        (" " * 300 + "user@example.org", True),
        ("u@" + "ä" * 60 + ".org", False),  # short enough as it is, too long in ASCII
    ],
)
def test_lengths(raw: str, fits: bool) -> None:
    if fits:
        assert len(Email.parse(raw).key.encode()) <= 254
    else:
        with pytest.raises(Invalid):
            Email.parse(raw)


@pytest.mark.parametrize("raw", ["a" * 1_000_000, "u@" + "ä" * 1_000_000, "u@" + "." * 1_000_000])
def test_a_huge_one_is_refused_before_it_is_looked_at(raw: str) -> None:
    with pytest.raises(Invalid, match="at most 254"):
        Email.parse(raw)


def test_the_repr_shows_nothing() -> None:
    assert repr(Email.parse("user1@example.org")) == "Email(…)"


@given(raws)
def test_a_key_is_its_own_key(raw: str) -> None:
    email = parsed(raw)
    again = Email.parse(email.key)
    assert again.key == email.key
    assert Email.parse(email.address) == email


@given(raws)
def test_case_and_normal_form_do_not_make_another_address(raw: str) -> None:
    email = parsed(raw)
    dotless = "\u0131"  # the one letter whose upper case belongs to another letter
    variants = {
        *(raw.lower(), raw.casefold(), raw.title() if dotless not in raw else raw),
        *(raw.upper() if dotless not in raw else raw, raw.swapcase() if dotless not in raw else raw),
        *(unicodedata.normalize("NFC", raw), unicodedata.normalize("NFD", raw), f" {raw} "),
    }
    assert {Email.parse(variant).key for variant in variants} == {email.key}


@given(st.text(max_size=60))
def test_any_text_is_an_email_or_invalid(raw: str) -> None:
    try:
        email = Email.parse(raw)
    except Invalid:
        return
    assert email.key.count("@") == 1
    assert email.key.partition("@")[2].isascii()
    assert email.address == raw.strip()


@given(st.characters(), st.sampled_from(["us{}er@example.org", "user@ex{}ample.org"]))
def test_one_strange_character_never_yields_the_plain_address(char: str, place: str) -> None:
    plain = {place.format(""), place.format(char.lower()) if char.isascii() else ""}
    try:
        key = Email.parse(place.format(char)).key
    except Invalid:
        return
    assert key not in plain or char.isascii()
