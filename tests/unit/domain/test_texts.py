import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.errors import Invalid
from ubr.domain.roles.permissions import EVERYTHING, Permission, Permissions
from ubr.domain.roles.role import RoleName
from ubr.domain.text import parse_text


def test_a_text_is_trimmed_and_brought_to_nfc() -> None:
    assert parse_text("  Use\u0301r  ", "/full_name", longest=10) == "Us\u00e9r"


@pytest.mark.parametrize(
    ("raw", "fits"), [("", False), ("   ", False), ("x", True), ("x" * 10, True), ("x" * 11, False)]
)
def test_a_text_has_bounds(raw: str, fits: bool) -> None:
    if fits:
        assert parse_text(raw, "/full_name", longest=10) == raw
        return
    with pytest.raises(Invalid) as failure:
        parse_text(raw, "/full_name", longest=10)
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/full_name"]


def test_the_length_of_a_text_counts_code_points_after_nfc() -> None:
    assert len(parse_text("e\u0301" * 10, "", longest=10)) == 10
    assert len(parse_text("\U0001f600" * 10, "", longest=10)) == 10


@pytest.mark.parametrize(
    "char", ["\0", "\n", "\x1b", "\x7f", "\u202e", "\u200b", "\u2066", "\ud800", "\u2028", "\ue000"]
)
def test_a_text_holds_nothing_that_is_not_typed_on_purpose(char: str) -> None:
    with pytest.raises(Invalid, match=f"U\\+{ord(char):04X}"):
        parse_text(f"User{char}One", "/full_name", longest=50)


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
def test_a_text_may_hold_the_joiners_that_names_need_but_not_consist_of_them(joiner: str) -> None:
    assert parse_text(f"a{joiner}b", "", longest=10) == f"a{joiner}b"
    with pytest.raises(Invalid):
        parse_text(joiner, "", longest=10)


@given(st.text(max_size=40))
def test_parsing_a_text_again_changes_nothing(raw: str) -> None:
    try:
        text = parse_text(raw, "", longest=100)
    except Invalid:
        return
    assert parse_text(text, "", longest=100) == text


@pytest.mark.parametrize("raw", ["a", "admin", "a" * 50, "a_b-c9", "z0"])
def test_a_role_name(raw: str) -> None:
    assert RoleName.parse(raw) == raw


@pytest.mark.parametrize(
    "raw", ["", "A", "1a", "_a", "-a", "a" * 51, "a b", "a\n", "ä", "a.b", "a:b", "*", "a\0", " a"]
)
def test_invalid_role_names(raw: str) -> None:
    with pytest.raises(Invalid) as failure:
        RoleName.parse(raw, "/here")
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/here"]


@pytest.mark.parametrize("raw", ["*", "users:read", "a:b", "a_1:b-2", "a" * 50 + ":" + "b" * 50])
def test_a_permission(raw: str) -> None:
    assert Permission.parse(raw) == raw


@pytest.mark.parametrize(
    "raw",
    ["", "users", "users:", ":read", "users:*", "*:read", "**", "Users:read", "users:read\n", "a:b:c", "a" * 51 + ":b"],
)
def test_invalid_permissions(raw: str) -> None:
    with pytest.raises(Invalid):
        Permission.parse(raw)


names = st.sampled_from(["*", "users:read", "users:write", "roles:read", "notes:edit"]).map(Permission)
sets = st.frozensets(names).map(Permissions)


@given(sets, names)
def test_the_permission_for_everything_includes_all_others(held: Permissions, wanted: Permission) -> None:
    assert held.allow(wanted) == (wanted in held.names or EVERYTHING in held.names)


@given(sets, sets)
def test_covering_means_allowing_each(mine: Permissions, theirs: Permissions) -> None:
    assert mine.cover(theirs) == all(mine.allow(name) for name in theirs)


@given(sets, sets, sets)
def test_covering_is_an_order(a: Permissions, b: Permissions, c: Permissions) -> None:
    assert a.cover(a)
    assert a.cover(Permissions())
    assert not (a.cover(b) and b.cover(c)) or a.cover(c)
    assert (a | b).cover(a)
    assert (a | b) == (b | a)
    assert c.cover(a | b) == (c.cover(a) and c.cover(b))


def test_only_everything_covers_everything() -> None:
    all_the_others = Permissions.of(Permission(name) for name in ("users:read", "users:write", "roles:assign"))
    assert not all_the_others.cover(Permissions.of([EVERYTHING]))
    assert Permissions.of([EVERYTHING]).cover(all_the_others)


def test_permissions_come_in_order() -> None:
    assert list(Permissions.of(map(Permission, ["b:b", "a:a", "*"]))) == ["*", "a:a", "b:b"]


def test_the_repr_of_a_hash_shows_nothing() -> None:
    assert repr(PasswordHash("$argon2id$canary")) == "PasswordHash(…)"
