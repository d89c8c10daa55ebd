"""The declaration of one field of the host on users, and the rules for its value.

Values are JSON: a date is a text as in RFC 3339, and a choice of an enumeration its text. Writing is strict. Reading is
lenient, because a declaration may be younger than a stored value.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import Enum, IntEnum, StrEnum
from typing import Final, NamedTuple, TypeAlias

import msgspec

from ubr.domain.error_kinds import Invalid
from ubr.domain.text import parse_text

MAX_TERM_LENGTH: Final = 200
"""Maximum number of characters of a text that users are found by: an index holds it."""

_TERMS_VERSION: Final = 1
"""Raise this if another version of ubr makes other terms of the same values: every user is indexed again then."""

_MAX_TEXT: Final = 1000
_MAX_ITEMS: Final = 50
_MAX_ITEM: Final = 100
_MAX_CHOICES: Final = 100
_DEFAULT_LENGTH: Final = 200
_DEFAULT_ITEMS: Final = 20
_MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that every reader of JSON reads alike (RFC 8259, 6)."""

FIELD_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""The name of a field."""

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INTEGER: Final = re.compile(r"-?[0-9]{1,16}")

FieldValue: TypeAlias = str | int | bool | list[str]
FieldValues: TypeAlias = Mapping[str, FieldValue]
"""Stored values by the name of their field."""

NO_VALUES: Final[FieldValues] = {}


class FieldKind(StrEnum):
    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DATE = "date"
    ENUM = "enum"
    STRINGS = "strings"
    """A list of strings."""


class Access(IntEnum):
    """Who may read or write a field. Each includes the ones below it."""

    USER = 1
    """The user, administrators and the host."""
    ADMINS = 2
    """Administrators, who hold `users:read` or `users:write`, and the host."""
    HOST = 3
    """The host alone: the program that calls use cases as the service itself."""


ACCESS: Final = {"user": Access.USER, "admins": Access.ADMINS, "host": Access.HOST}
"""The names of the levels in declarations."""


class Term(NamedTuple):
    """A value that a user is found by, as text. A list has one for each item."""

    field: str
    value: str


class Terms(msgspec.Struct, frozen=True):
    """The values that a user is found by, and the name of the `FieldIndex` that made them of the stored ones."""

    found_by: frozenset[Term] = frozenset()
    index: str = ""


class UserField(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration of one field.

    `least` and `most` bound the value of an integer, the characters of a string, and the items of a list. `required`
    binds those who create a user and may write the field.
    """

    name: str
    kind: FieldKind
    description: str | None = None
    required: bool = False
    default: FieldValue | None = None
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()
    searchable: bool = False
    in_token: bool = False
    read: Access = Access.USER
    write: Access = Access.ADMINS

    def __post_init__(self) -> None:
        """Errors: `ValueError` for a declaration that contradicts itself."""
        if not FIELD_NAME.fullmatch(self.name):
            raise ValueError(
                f"The name {self.name!r} of a field must have 1 to 40 lower-case letters, digits and underscores, "
                "and begin with a letter"
            )
        for wrong, why in self._contradictions():
            if wrong:
                raise ValueError(f"The field {self.name} {why}")
        if self.default is not None:
            try:
                default = self.parse(self.default, f"/{self.name}")
            except Invalid as error:
                raise ValueError(f"The default of the field {self.name} {error.flaws[0].detail}") from None
            # As it would be stored, because users are found by it.
            msgspec.structs.force_setattr(self, "default", default)

    def _contradictions(self) -> list[tuple[bool, str]]:
        floor, ceiling = self._limits
        least, most = self.bounds
        choices = set(self.choices)
        return [
            (
                (self.kind is FieldKind.ENUM) != bool(choices) or len(choices) != len(self.choices),
                "must have choices if it is an enumeration, each once, and none otherwise",
            ),
            (len(choices) > _MAX_CHOICES, f"must have at most {_MAX_CHOICES} choices"),
            (
                any(not _is_text(choice, _MAX_ITEM) for choice in choices),
                f"must have choices of 1 to {_MAX_ITEM} printable characters",
            ),
            (
                self.kind in {FieldKind.BOOLEAN, FieldKind.DATE, FieldKind.ENUM}
                and (self.least, self.most) != (None, None),
                "must have no bounds: only integers, strings and lists have any",
            ),
            (not floor <= least <= most <= ceiling, f"must have bounds from {floor} to {ceiling}"),
            (self.required and self.default is not None, "must not be required and have a default"),
            (
                self.searchable and self.kind is FieldKind.STRING and most > MAX_TERM_LENGTH,
                f"must have at most {MAX_TERM_LENGTH} characters, because it is searchable",
            ),
            (self.write < self.read, "must be readable for all who may write it"),
            (
                self.in_token and self.read is not Access.USER,
                "must be readable for the user, because everyone who holds a token can read it",
            ),
        ]

    @property
    def _limits(self) -> tuple[int, int]:
        """The bounds of the bounds."""
        match self.kind:
            case FieldKind.INTEGER:
                return -_MAX_INTEGER, _MAX_INTEGER
            case FieldKind.STRINGS:
                return 0, _MAX_ITEMS
            case _:
                return 1, _MAX_TEXT

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most, with their defaults."""
        floor, ceiling = self._limits
        usual = {FieldKind.STRING: _DEFAULT_LENGTH, FieldKind.STRINGS: _DEFAULT_ITEMS}.get(self.kind, ceiling)
        return floor if self.least is None else self.least, usual if self.most is None else self.most

    def parse(self, value: object, pointer: str) -> FieldValue:
        """The value as it is stored. Errors: `Invalid`."""
        return _PARSERS[self.kind](self, value.value if isinstance(value, Enum) else value, pointer)

    def effective(self, stored: FieldValues) -> FieldValue | None:
        """The value of a user: the stored one, or the default if there is none of the declared kind; None without any.

        A stored value keeps its bounds: they may have changed since.
        """
        value = stored.get(self.name)
        return value if value is not None and self._fits(value) else self.default

    def _fits(self, value: object) -> bool:
        match self.kind:
            case FieldKind.INTEGER:
                return isinstance(value, int) and not isinstance(value, bool)
            case FieldKind.BOOLEAN:
                return isinstance(value, bool)
            case FieldKind.STRINGS:
                return isinstance(value, list) and all(isinstance(item, str) for item in value)
            case FieldKind.ENUM:
                return value in self.choices
            case FieldKind.DATE:
                return isinstance(value, str) and _is_date(value)
            case FieldKind.STRING:
                return isinstance(value, str)

    def terms(self, stored: FieldValues) -> list[Term]:
        """The terms that find a user with these values by this field."""
        value = self.effective(stored)
        if value is None:
            return []
        items = value if isinstance(value, list) else [value]
        return [Term(self.name, _term(item)) for item in items if len(_term(item)) <= MAX_TERM_LENGTH]

    @property
    def form(self) -> str:
        """The kind, and a digest of everything else that decides which terms this field makes of a stored value."""
        parts = [_TERMS_VERSION, self.default, sorted(self.choices)]
        return f"{self.kind.value}:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"

    def sought(self, value: object, pointer: str) -> Term:
        """The term that finds the users with this value, or with it in their list. A text may stand for any kind.

        Errors: `Invalid`.
        """
        if self.kind is FieldKind.STRINGS:
            return Term(self.name, _parse_item(value, pointer))
        if isinstance(value, str):
            if self.kind is FieldKind.INTEGER and _INTEGER.fullmatch(value):
                value = int(value)
            elif self.kind is FieldKind.BOOLEAN:
                value = {"true": True, "false": False}.get(value, value)
        parsed = self.parse(value, pointer)
        assert not isinstance(parsed, list)  # noqa: S101 - lists have returned above
        return Term(self.name, _term(parsed))


def as_words(value: object) -> str:
    """A value for people."""
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value is None else _term(value)


def _parse_string(field: UserField, value: object, pointer: str) -> str:
    least, most = field.bounds
    text = parse_text(_string(value, pointer), pointer, longest=most)
    if len(text) < least:
        raise Invalid.at(pointer, f"must have between {least} and {most} characters")
    return text


def _parse_integer(field: UserField, value: object, pointer: str) -> int:
    least, most = field.bounds
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid.at(pointer, "must be a whole number")
    if not least <= value <= most:
        raise Invalid.at(pointer, f"must be from {least} to {most}")
    return value


def _parse_boolean(_: UserField, value: object, pointer: str) -> bool:
    if not isinstance(value, bool):
        raise Invalid.at(pointer, "must be true or false")
    return value


def _parse_date(_: UserField, value: object, pointer: str) -> str:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str) or not _is_date(value):
        raise Invalid.at(pointer, "must be a date such as 2026-01-31")
    return value


def _parse_choice(field: UserField, value: object, pointer: str) -> str:
    if not isinstance(value, str) or value not in field.choices:
        raise Invalid.at(pointer, f"must be one of {', '.join(field.choices)}")
    return value


def _parse_strings(field: UserField, value: object, pointer: str) -> list[str]:
    least, most = field.bounds
    if not isinstance(value, list | tuple):
        raise Invalid.at(pointer, "must be a list of strings")
    if not least <= len(value) <= most:
        raise Invalid.at(pointer, f"must have from {least} to {most} items")
    return [_parse_item(item, f"{pointer}/{at}") for at, item in enumerate(value)]


def _parse_item(value: object, pointer: str) -> str:
    return parse_text(_string(value, pointer), pointer, longest=_MAX_ITEM)


_PARSERS: Final[Mapping[FieldKind, Callable[[UserField, object, str], FieldValue]]] = {
    FieldKind.STRING: _parse_string,
    FieldKind.INTEGER: _parse_integer,
    FieldKind.BOOLEAN: _parse_boolean,
    FieldKind.DATE: _parse_date,
    FieldKind.ENUM: _parse_choice,
    FieldKind.STRINGS: _parse_strings,
}


def _is_text(text: object, longest: int) -> bool:
    try:
        return isinstance(text, str) and parse_text(text, "", longest=longest) == text
    except Invalid:
        return False


def _string(value: object, pointer: str) -> str:
    if not isinstance(value, str):
        raise Invalid.at(pointer, "must be a string")
    return value


def _is_date(text: str) -> bool:
    try:
        return _DATE.fullmatch(text) is not None and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _term(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
