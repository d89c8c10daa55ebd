"""What a declaration allows, and how values are written, read, searched and put into tokens."""

from datetime import date
from enum import StrEnum
from typing import Any

import pytest

from ubr.domain.accounts.user_field import (
    Access,
    FieldKind,
    FieldValues,
    Term,
    Terms,
    UserField,
    as_words,
)
from ubr.domain.accounts.user_fields import (
    MAX_CLAIMS_SIZE,
    MAX_FIELDS,
    MAX_FIELDS_SIZE,
    NO_FIELDS,
    FieldIndex,
    FieldState,
    UserFields,
    changed_names,
)
from ubr.domain.errors import Invalid


class Department(StrEnum):
    SALES = "sales"
    LEGAL = "legal"


def field(kind: str, name: str = "it", **more: Any) -> UserField:
    return UserField(name=name, kind=FieldKind(kind), **more)


def flaws(error: pytest.ExceptionInfo[Invalid]) -> list[tuple[str, str]]:
    return [(flaw.pointer, flaw.detail) for flaw in error.value.flaws]


FIELDS = UserFields.of(
    field("enum", "department", choices=("sales", "legal"), required=True, searchable=True, in_token=True),
    field("integer", "level", least=1, most=9, default=1, searchable=True),
    field("string", "nickname", most=10, write=Access.USER),
    field("boolean", "beta", write=Access.USER, searchable=True),
    field("date", "since", read=Access.ADMINS),
    field("strings", "tags", searchable=True),
    field("string", "note", read=Access.HOST, write=Access.HOST, searchable=True),
)


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("string", " Zo\u0065\u0301 ", "Zo\u00e9"),
        ("integer", -3, -3),
        ("boolean", False, False),
        ("date", "2026-01-31", "2026-01-31"),
        ("date", date(2026, 1, 31), "2026-01-31"),
        ("strings", ["a", " b "], ["a", "b"]),
        ("strings", [], []),
    ],
)
def test_a_value_of_the_kind_is_stored_as_json(kind: str, value: object, stored: object) -> None:
    assert field(kind).parse(value, "/it") == stored


@pytest.mark.parametrize("value", ["sales", Department.SALES], ids=["text", "member"])
def test_a_choice_is_stored_as_its_text(value: object) -> None:
    parsed = field("enum", choices=("sales", "legal")).parse(value, "/it")
    assert (parsed, type(parsed)) == ("sales", str)


@pytest.mark.parametrize(
    ("declared", "value", "pointer", "detail"),
    [
        (field("string"), 3, "/it", "must be a string"),
        (field("string"), " ", "/it", "must have between 1 and 200 characters"),
        (field("string", most=3), "four", "/it", "must have between 1 and 3 characters"),
        (field("string", least=3), "ab", "/it", "must have between 3 and 200 characters"),
        (field("string"), "a\u202eb", "/it", "contains the character U+202E, which is not allowed"),
        (field("integer"), True, "/it", "must be a whole number"),
        (field("integer"), 1.0, "/it", "must be a whole number"),
        (field("integer"), "1", "/it", "must be a whole number"),
        (field("integer", least=1, most=9), 10, "/it", "must be from 1 to 9"),
        (field("integer"), 2**53, "/it", f"must be from {1 - 2**53} to {2**53 - 1}"),
        (field("boolean"), 1, "/it", "must be true or false"),
        (field("date"), "20260131", "/it", "must be a date such as 2026-01-31"),
        (field("date"), "2026-02-30", "/it", "must be a date such as 2026-01-31"),
        (field("enum", choices=("a", "b")), "c", "/it", "must be one of a, b"),
        (field("enum", choices=("a", "b")), ["a"], "/it", "must be one of a, b"),
        (field("strings"), "a", "/it", "must be a list of strings"),
        (field("strings"), ["a", 2], "/it/1", "must be a string"),
        (field("strings", most=1), ["a", "b"], "/it", "must have from 0 to 1 items"),
        (field("strings"), ["x" * 101], "/it/0", "must have between 1 and 100 characters"),
    ],
)
def test_another_value_is_refused(declared: UserField, value: object, pointer: str, detail: str) -> None:
    with pytest.raises(Invalid) as error:
        declared.parse(value, "/it")
    assert flaws(error) == [(pointer, detail)]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"kind": "string", "name": "Name"}, "lower-case letters"),
        ({"kind": "string", "name": "a" * 41}, "1 to 40"),
        ({"kind": "enum"}, "must have choices"),
        ({"kind": "enum", "choices": ("a", "a")}, "each once"),
        ({"kind": "enum", "choices": ("a\n",)}, "printable"),
        ({"kind": "enum", "choices": tuple(f"c{n}" for n in range(101))}, "at most 100 choices"),
        ({"kind": "string", "choices": ("a",)}, "none otherwise"),
        ({"kind": "boolean", "least": 1}, "no bounds"),
        ({"kind": "string", "most": 1001}, "bounds from 1 to 1000"),
        ({"kind": "integer", "least": 3, "most": 2}, "bounds from"),
        ({"kind": "string", "required": True, "default": "a"}, "required and have a default"),
        ({"kind": "integer", "default": "a"}, "default of the field it must be a whole number"),
        ({"kind": "string", "most": 201, "searchable": True}, "because it is searchable"),
        ({"kind": "string", "read": Access.ADMINS, "write": Access.USER}, "readable for all who may write it"),
        ({"kind": "string", "read": Access.ADMINS, "in_token": True}, "everyone who holds a token can read it"),
    ],
)
def test_a_contradictory_declaration_is_refused(more: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        field(**more)


def test_two_fields_with_one_name_and_too_many_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        UserFields.of(field("string"), field("integer"))
    with pytest.raises(ValueError, match="at most 50"):
        UserFields.of(*(field("string", f"f{n}") for n in range(MAX_FIELDS + 1)))


def test_defaults_that_no_token_could_have_are_refused() -> None:
    long = field("string", "a", most=1000, default="é" * 340, in_token=True)
    UserFields.of(field("string", "b", most=1000, default="é" * 340))
    with pytest.raises(ValueError, match=f"have 2048 bytes, and {MAX_CLAIMS_SIZE} are allowed"):
        UserFields.of(long)


def test_the_host_gives_all_fields() -> None:
    given = {"department": "sales", "level": 2, "tags": ["b", "a"], "note": "n", "beta": True}
    made = FIELDS.created(given, Access.HOST)
    assert made.values == given
    assert made.terms.found_by == {
        Term("department", "sales"),
        Term("level", "2"),
        Term("tags", "a"),
        Term("tags", "b"),
        Term("note", "n"),
        Term("beta", "true"),
    }


def test_a_user_gives_their_own_fields_and_no_other_is_required_of_them() -> None:
    assert FIELDS.created({"nickname": "Zed"}, Access.USER) == FieldState(
        {"nickname": "Zed"}, Terms(frozenset({Term("level", "1")}), FIELDS.index.name)
    )
    assert FIELDS.created(None, Access.USER).values == {}


def test_all_errors_are_named_at_once_and_hidden_fields_are_unknown() -> None:
    given = {"note": "n", "nothing": 1, "Not a name": 1, "level": 10, "department": None, "nickname": 3}
    with pytest.raises(Invalid) as error:
        FIELDS.created(given, Access.ADMINS)
    assert sorted(flaws(error)) == [
        ("/fields", "is not a known field"),
        ("/fields/department", "is required"),
        ("/fields/level", "must be from 1 to 9"),
        ("/fields/nickname", "must be a string"),
        ("/fields/note", "is not a known field"),
        ("/fields/nothing", "is not a known field"),
    ]
    with pytest.raises(Invalid) as error:
        FIELDS.changed({}, {"department": "sales"}, Access.USER)
    assert flaws(error) == [("/fields/department", "is written only by administrators")]


def test_without_a_declaration_fields_are_unknown() -> None:
    with pytest.raises(Invalid) as error:
        NO_FIELDS.created({}, Access.HOST)
    assert flaws(error) == [("/fields", "is not a known field")]
    assert NO_FIELDS.created(None, Access.HOST) == FieldState({}, Terms())
    assert NO_FIELDS.seen_by(Access.HOST).of({"gone": 1}, Access.HOST) is None


@pytest.mark.parametrize(
    ("declared", "detail"), [(FIELDS, f"must have at most {MAX_FIELDS} fields"), (NO_FIELDS, "is not a known field")]
)
def test_thousands_of_unknown_fields_are_one_error(declared: UserFields, detail: str) -> None:
    with pytest.raises(Invalid) as error:
        declared.created({f"f{n}": 1 for n in range(8000)}, Access.USER)
    assert [flaw for flaw in flaws(error) if flaw != ("/fields/department", "is required")] == [("/fields", detail)]


@pytest.mark.parametrize(
    ("kind", "before", "after"), [("boolean", 1, True), ("integer", False, 0)], ids=["boolean", "integer"]
)
def test_a_value_of_another_kind_is_another_value(kind: str, before: Any, after: Any) -> None:
    stored: FieldValues = {"it": before}
    changed = UserFields.of(field(kind)).changed(stored, {"it": after}, Access.ADMINS)
    assert changed_names(stored, changed.values) == ["it"]
    assert changed_names(changed.values, changed.values) == []


def test_users_are_found_by_a_default_as_it_would_be_stored() -> None:
    declared = UserFields.of(field("string", default=" Zo\u0065\u0301 ", searchable=True))
    assert declared.blank.terms.found_by == {*declared.sought({"it": "Zo\u00e9"}, Access.ADMINS)}


def test_a_merge_changes_removes_and_keeps() -> None:
    stored: FieldValues = {"department": "sales", "level": 3, "tags": ["a"], "dropped": "kept"}
    changed = FIELDS.changed(stored, {"level": None, "nickname": "Z"}, Access.ADMINS)
    assert changed.values == {"department": "sales", "tags": ["a"], "dropped": "kept", "nickname": "Z"}
    assert Term("level", "1") in changed.terms.found_by
    with pytest.raises(Invalid) as error:
        FIELDS.changed(stored, {"department": None}, Access.ADMINS)
    assert flaws(error) == [("/fields/department", "is required")]


def test_the_size_of_all_values_is_bounded() -> None:
    wide = UserFields.of(*(field("string", f"f{n}", most=1000) for n in range(5)))
    given = {f"f{n}": "é" * 400 for n in range(5)}
    assert wide.created(given, Access.HOST).values == given
    with pytest.raises(Invalid) as error:
        wide.created(given | {"f0": "é" * 1000}, Access.HOST)
    assert flaws(error) == [("/fields", f"has 5241 bytes as JSON, and {MAX_FIELDS_SIZE} at most are allowed")]


def test_the_size_of_claims_is_bounded_when_they_are_written_and_none_stop_a_login() -> None:
    tokens = UserFields.of(field("string", most=1000, in_token=True))
    tokens.created({"it": "x" * 1000}, Access.HOST)
    with pytest.raises(Invalid) as error:
        tokens.created({"it": "é" * 500}, Access.HOST)
    assert flaws(error) == [("/fields", f"has 3009 bytes for tokens, and {MAX_CLAIMS_SIZE} at most are allowed")]
    other = UserFields.of(field("string", most=1000, in_token=True), field("boolean", "beta"))
    assert other.changed({"it": "é" * 500}, {"beta": True}, Access.HOST).values["beta"] is True
    assert tokens.claims({"it": "short"}) == {"it": "short"}
    assert tokens.claims({"it": "é" * 500}) == {}


def test_what_users_write_keeps_no_one_else_from_writing() -> None:
    own = [field("string", f"own{n}", most=1000, write=Access.USER, in_token=n == 0) for n in range(4)]
    both = UserFields.of(*own, field("string", "plan", most=400, in_token=True), field("string", "note", most=1000))
    full = {"own0": "x" * 490, "own1": "x" * 1000, "own2": "x" * 500}
    stored = both.created(full, Access.USER).values
    changed = both.changed(stored, {"plan": "p" * 400, "note": "n" * 1000}, Access.ADMINS).values
    with pytest.raises(Invalid) as error:
        both.changed(stored, {"own3": "x" * 100}, Access.USER)
    assert flaws(error) == [("/fields", "has 2131 bytes as JSON that users write, and 2048 at most are allowed")]
    with pytest.raises(Invalid) as error:
        both.changed(changed, {"own0": "x" * 510, "own1": None}, Access.USER)
    assert flaws(error) == [("/fields", "has 521 bytes for tokens that users write, and 512 at most are allowed")]
    alone = UserFields.of(*own)
    alone.created(full | {"own0": "x" * 1000, "own3": "x" * 1000}, Access.USER)


def test_what_users_wrote_before_does_not_keep_others_from_writing_later() -> None:
    later = UserFields.of(
        field("string", "bio", most=1000, write=Access.USER, in_token=True),
        field("strings", "links", most=50, write=Access.USER),
        field("string", "plan", most=600, in_token=True),
    )
    before: FieldValues = {"bio": "x" * 1000, "links": ["x" * 100] * 29}
    stored = later.changed(before, {"plan": "suspended"}, Access.ADMINS).values
    assert later.claims(stored) == {"plan": "suspended"}
    with pytest.raises(Invalid) as error:
        later.changed(before, {"plan": "x" * 510}, Access.ADMINS)
    assert flaws(error) == [("/fields", "has 521 bytes for tokens, and 512 at most are allowed")]
    shorter = later.changed(stored, {"bio": "short", "links": None}, Access.USER).values
    assert later.claims(shorter) == {"plan": "suspended", "bio": "short"}


@pytest.mark.parametrize(
    ("level", "hidden"), [(Access.USER, {"since", "note"}), (Access.ADMINS, {"note"}), (Access.HOST, set())]
)
def test_a_reader_sees_the_fields_of_their_level(level: Access, hidden: set[str]) -> None:
    shown = FIELDS.seen_by(level).of({"note": "n"}, Access.HOST)
    assert shown is not None
    assert shown.keys() == FIELDS.declared.keys() - hidden
    assert FIELDS.seen_by(None).of({}, level) == {**shown} | ({"note": None} if "note" in shown else {})


def test_a_change_of_an_answer_changes_neither_the_stored_value_nor_the_default() -> None:
    lists = UserFields.of(field("strings", default=["a"]), field("strings", "other"))
    stored: FieldValues = {"other": ["b"]}
    for _ in range(2):
        shown: Any = lists.seen_by(Access.HOST).of(stored, Access.HOST)
        assert shown == {"it": ["a"], "other": ["b"]}
        shown["it"].append("x")
        shown["other"].append("x")


def test_an_export_has_all_that_is_stored() -> None:
    shown = FIELDS.in_export.of({"note": "n", "dropped": "kept"}, Access.USER)
    assert shown is not None
    assert (shown["note"], shown["dropped"], shown["level"]) == ("n", "kept", 1)
    misfit = FIELDS.in_export.of({"department": "gone", "level": "3", "tags": "a"}, Access.USER)
    assert misfit is not None
    assert (misfit["department"], misfit["level"], misfit["tags"], misfit["note"]) == ("gone", "3", "a", None)
    assert NO_FIELDS.in_export.of({"dropped": "kept"}, Access.USER) == {"dropped": "kept"}
    assert NO_FIELDS.in_export.of({}, Access.USER) is None


@pytest.mark.parametrize(
    ("now", "stored", "read"),
    [
        (field("integer", default=5), "3", 5),
        (field("integer"), True, None),
        (field("boolean"), 1, None),
        (field("string"), 3, None),
        (field("date"), "soon", None),
        (field("strings"), "a", None),
        (field("strings"), ["a", 1], None),
        (field("enum", choices=("a",), default="a"), "gone", "a"),
        (field("integer", most=9), 12, 12),
        (field("string", most=3), "longer", "longer"),
    ],
)
def test_a_stored_value_of_another_kind_reads_as_none_and_one_out_of_bounds_stays(
    now: UserField, stored: Any, read: object
) -> None:
    assert now.effective({"it": stored}) == read


def test_what_a_user_wrote_goes_when_another_claims_the_account() -> None:
    stored = {"nickname": "Z", "department": "sales", "dropped": "x"}
    assert FIELDS.claimed(stored).values == {"department": "sales"}


@pytest.mark.parametrize(
    ("given", "term"),
    [
        ({"level": "3"}, Term("level", "3")),
        ({"level": 3}, Term("level", "3")),
        ({"beta": "true"}, Term("beta", "true")),
        ({"beta": False}, Term("beta", "false")),
        ({"tags": " a "}, Term("tags", "a")),
        ({"department": "legal"}, Term("department", "legal")),
    ],
)
def test_a_search_names_a_value_as_text_or_as_it_is(given: dict[str, Any], term: Term) -> None:
    assert FIELDS.sought(given, Access.ADMINS) == (term,)


def test_a_search_names_searchable_fields_and_possible_values() -> None:
    given = {"nickname": "Z", "note": "n", "level": "x", "beta": "yes", "tags": 3, "\n": ""}
    with pytest.raises(Invalid) as error:
        FIELDS.sought(given, Access.ADMINS)
    assert sorted(flaws(error)) == [
        ("", "is not a known parameter"),
        ("/fields.beta", "must be true or false"),
        ("/fields.level", "must be a whole number"),
        ("/fields.nickname", "is not a known parameter"),
        ("/fields.note", "is not a known parameter"),
        ("/fields.tags", "must be a string"),
    ]
    assert FIELDS.sought({"note": "n"}, Access.HOST) == (Term("note", "n"),)


def test_the_fingerprint_changes_with_the_declaration() -> None:
    one, other = UserFields.of(field("integer", default=1)), UserFields.of(field("integer", default=2))
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint == UserFields.of(field("integer", default=1)).fingerprint
    assert NO_FIELDS.fingerprint == ""


@pytest.mark.parametrize(
    ("value", "words"), [(None, "none"), ([], "none"), (["a", "b"], "a, b"), (True, "true"), (3, "3"), ("x", "x")]
)
def test_a_value_for_people(value: object, words: str) -> None:
    assert as_words(value) == words


# --- the index of a declaration --------------------------------------------------------------------------------------


def test_an_index_lacks_the_fields_that_other_declarations_index_otherwise() -> None:
    earlier = UserFields.of(field("integer", "level", searchable=True), field("string", "team", searchable=True))
    later = UserFields.of(
        field("string", "level", searchable=True),
        field("string", "team", searchable=True),
        field("boolean", "beta", searchable=True),
    )
    assert later.index.lacking([earlier.index]) == ["beta", "level"]
    assert later.index.lacking([FieldIndex()]) == ["beta", "level", "team"]
    assert earlier.index.lacking([later.index]) == ["level"]
    assert later.index.lacking([]) == later.index.lacking([FieldIndex(later.index.name)]) == []


@pytest.mark.parametrize(
    "other",
    [
        field("enum", choices=("a", "b"), searchable=True),
        field("enum", choices=("a", "c"), default="a", searchable=True),
        field("string", default="a", searchable=True),
    ],
)
def test_kind_choices_and_default_decide_what_finds_a_user(other: UserField) -> None:
    one = UserFields.of(field("enum", choices=("a", "b"), default="a", searchable=True))
    assert one.index.lacking([UserFields.of(other).index]) == ["it"]


def test_what_finds_no_user_otherwise_changes_no_index() -> None:
    one = UserFields.of(field("enum", "a", choices=("x", "y"), searchable=True), field("integer", "b", searchable=True))
    two = UserFields.of(
        field("integer", "b", least=1, most=2, read=Access.ADMINS, description="Two.", searchable=True),
        field("enum", "a", choices=("y", "x"), searchable=True, in_token=True),
        field("string", "c"),
    )
    assert one.index == two.index
    assert one.fingerprint != two.fingerprint
    assert UserFields.of(field("string")).index == NO_FIELDS.index == FieldIndex()
