"""Fields of the host on users: their declaration, and the rules for reading, writing, searching and tokens.

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

from ubr.domain.error_kinds import InputError, Invalid
from ubr.domain.keys.access_token import compact_json
from ubr.domain.text import parse_text

MAX_FIELDS: Final = 50
"""Maximum number of declared fields."""

MAX_FIELDS_SIZE: Final = 4096
"""Maximum number of bytes of a user's values as JSON, those of fields that are no longer declared included."""

MAX_CLAIMS_SIZE: Final = 1024
"""Maximum number of bytes of the fields in a token as JSON: half of what the claims of a host may take."""

MAX_TERM_LENGTH: Final = 200
"""Maximum number of characters of a text that users are found by: an index holds it."""

_MAX_TEXT: Final = 1000
_MAX_ITEMS: Final = 50
_MAX_ITEM: Final = 100
_MAX_CHOICES: Final = 100
_DEFAULT_LENGTH: Final = 200
_DEFAULT_ITEMS: Final = 20
_MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that every reader of JSON reads alike (RFC 8259, 6)."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
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


Terms: TypeAlias = frozenset[Term]


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
        if not _NAME.fullmatch(self.name):
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


class FieldState(msgspec.Struct, frozen=True):
    """The values that a user gets, and what finds the user by them."""

    values: FieldValues = NO_VALUES
    terms: Terms = frozenset()


NO_STATE: Final = FieldState()


class FieldView(msgspec.Struct, frozen=True):
    """The fields as one reader sees them. A `level` of None is that of the user, by their own permissions."""

    fields: UserFields
    level: Access | None
    whole: bool = False
    """True for everything as it is stored: also values that no longer fit, and those of fields no longer declared."""

    def of(self, stored: FieldValues, level: Callable[[], Access]) -> dict[str, object] | None:
        """Every field that the reader may see, null without a value; None if none are declared.

        `level` is that of the user.
        """
        if not self.fields.declared:
            return dict(stored) if self.whole and stored else None
        access = level() if self.level is None else self.level
        shown: dict[str, object] = dict(stored) if self.whole else {}
        for field in self.fields.declared.values():
            if field.read <= access and field.name not in shown:
                value = field.effective(stored)
                # A copy: the caller may change the answer, but not the cached user or the declared default.
                shown[field.name] = list(value) if isinstance(value, list) else value
        return shown


class UserFields(msgspec.Struct, frozen=True, eq=False):
    """The declaration: all fields, by their names."""

    declared: Mapping[str, UserField]
    fingerprint: str
    """Changes with the declaration, and is empty without one. Part of the revision of a user."""

    @classmethod
    def of(cls, *fields: UserField) -> UserFields:
        """Errors: `ValueError` for two fields with one name, or too many, or with too long defaults in tokens."""
        declared = {field.name: field for field in fields}
        if len(declared) != len(fields):
            raise ValueError("Two fields have the same name")
        if len(fields) > MAX_FIELDS:
            raise ValueError(f"There must be at most {MAX_FIELDS} fields")
        text = json.dumps([msgspec.structs.asdict(field) for field in fields]) if fields else ""
        made = cls(declared, hashlib.sha256(text.encode()).hexdigest()[:8] if text else "")
        if (size := _claims_size(made._claims(NO_VALUES))) > MAX_CLAIMS_SIZE:
            raise ValueError(f"The defaults of fields in tokens have {size} bytes, and {MAX_CLAIMS_SIZE} are allowed")
        return made

    def __bool__(self) -> bool:
        return bool(self.declared)

    def seen_by(self, level: Access | None) -> FieldView:
        """The view of a reader of this level; with None, the one that users have of themselves."""
        return FieldView(self, level)

    @property
    def in_export(self) -> FieldView:
        """Everything that is stored about a person, as the right of access demands (GDPR, article 15)."""
        return FieldView(self, Access.HOST, whole=True)

    @property
    def blank(self) -> FieldState:
        """The fields of a new user for whom no one gives any."""
        return FieldState(NO_VALUES, self.terms(NO_VALUES))

    def unexpected(self) -> Invalid:
        """The error for fields where none are accepted."""
        return Invalid.at("/fields", "is not accepted here" if self.declared else "is not a known field")

    def created(self, given: Mapping[str, object] | None, level: Access) -> FieldState:
        """The fields of a new user. Errors: `Invalid`, also if a required field is missing that this level may write.

        The default of a field is not stored: a later declaration may change it.
        """
        missing = [
            InputError(f"/fields/{field.name}", "is required")
            for field in self.declared.values()
            if field.required and field.write <= level and (given is None or given.get(field.name) is None)
        ]
        return self._changed(NO_VALUES, given, level, missing)

    def changed(self, stored: FieldValues, given: Mapping[str, object] | None, level: Access) -> FieldState:
        """The fields after a merge (RFC 7396): null removes a value, and an absent field stays. Errors: `Invalid`."""
        return self._changed(stored, given, level, [])

    def _changed(
        self, stored: FieldValues, given: Mapping[str, object] | None, level: Access, flaws: list[InputError]
    ) -> FieldState:
        values = dict(stored)
        if given is not None:
            self._check_names(given)
        for name, value in {} if given is None else given.items():
            pointer = _pointer("/fields/", name) or "/fields"
            try:
                self._put(values, name, value, pointer, level)
            except Invalid as error:
                flaws += (flaw for flaw in error.flaws if flaw not in flaws)
        if flaws:
            raise Invalid(None, *flaws)
        if given:
            self._check_size(values, [self.declared[name] for name in given])
        return FieldState(values, self.terms(values))

    def _check_names(self, given: Mapping[str, object]) -> None:
        """One error for more fields than can be declared, and not one for each: anyone may send thousands."""
        if not self.declared:
            raise Invalid.at("/fields", "is not a known field")
        if len(given) > MAX_FIELDS:
            raise Invalid.at("/fields", f"must have at most {MAX_FIELDS} fields")

    def _put(self, values: dict[str, FieldValue], name: str, value: object, pointer: str, level: Access) -> None:
        field = self.declared.get(name)
        if field is None or field.read > level:
            raise Invalid.at(pointer, "is not a known field")
        if field.write > level:
            writers = "administrators" if field.write is Access.ADMINS else "the service"
            raise Invalid.at(pointer, f"is written only by {writers}")
        if value is not None:
            values[name] = field.parse(value, pointer)
        elif field.required:
            raise Invalid.at(pointer, "is required")
        else:
            values.pop(name, None)

    def _check_size(self, values: FieldValues, written: list[UserField]) -> None:
        """Users have half of the bytes if others write fields too. So they cannot keep others from writing.

        Errors: `Invalid`.
        """
        claims = self._claims(values)
        by_users = any(field.write is Access.USER for field in written)
        self._check_room(values, _json_size, MAX_FIELDS_SIZE, "as JSON", by_users=by_users)
        if any(field.in_token for field in written):
            self._check_room(claims, _claims_size, MAX_CLAIMS_SIZE, "for tokens", by_users=by_users)
        others = [field for field in self.declared.values() if field.write is not Access.USER]
        if by_users and others:
            _check_bytes(_json_size(self._of_users(values)), MAX_FIELDS_SIZE // 2, "as JSON that users write")
        if by_users and any(field.in_token for field in others):
            _check_bytes(_claims_size(self._of_users(claims)), MAX_CLAIMS_SIZE // 2, "for tokens that users write")

    def _check_room(
        self, values: FieldValues, size_of: Callable[[FieldValues], int], most: int, what: str, *, by_users: bool
    ) -> None:
        own = self._of_users(values)
        if not by_users and size_of(own) > most // 2:  # since an earlier declaration: others have the other half
            values, most = {name: value for name, value in values.items() if name not in own}, most // 2
        _check_bytes(size_of(values), most, what)

    def _of_users(self, values: FieldValues) -> FieldValues:
        """The values of the fields that users write."""
        own = {name for name, field in self.declared.items() if field.write is Access.USER}
        return {name: value for name, value in values.items() if name in own}

    def needs_admin(self, given: Mapping[str, object] | None) -> bool:
        """True if one of these fields is not written by users themselves, but by administrators."""
        if given is None:
            return False
        fields = [self.declared[name] for name in given if name in self.declared]
        return any(field.read <= Access.ADMINS and field.write is Access.ADMINS for field in fields)

    def claimed(self, stored: FieldValues) -> FieldState:
        """The fields without what the user wrote, or a stranger who registered with the e-mail of another person."""
        kept = {name: value for name, value in stored.items() if self._is_of_others(name)}
        return FieldState(kept, self.terms(kept))

    def _is_of_others(self, name: str) -> bool:
        field = self.declared.get(name)
        return field is not None and field.write is not Access.USER

    def terms(self, stored: FieldValues) -> Terms:
        """The terms that find a user with these values."""
        return frozenset(term for field in self.declared.values() if field.searchable for term in field.terms(stored))

    def sought(self, given: Mapping[str, object], level: Access) -> tuple[Term, ...]:
        """The terms of a search, sorted. Errors: `Invalid`, also for a field that is not searchable."""
        terms, flaws = [], []
        for name, value in given.items():
            pointer = _pointer("/fields.", name)
            field = self.declared.get(name)
            if field is None or not field.searchable or field.read > level:
                flaws.append(InputError(pointer, "is not a known parameter"))
                continue
            try:
                terms.append(field.sought(value, pointer))
            except Invalid as error:
                flaws += error.flaws
        if flaws:
            raise Invalid(None, *flaws)
        return tuple(sorted(terms))

    @property
    def in_tokens(self) -> bool:
        """True if tokens have fields."""
        return any(field.in_token for field in self.declared.values())

    def claims(self, stored: FieldValues) -> dict[str, FieldValue]:
        """The claims for a token. If they are too long, as those of an earlier declaration may be, without those that
        users write, or without any.
        """
        claims = self._claims(stored)
        if _claims_size(claims) > MAX_CLAIMS_SIZE:
            own = self._of_users(claims)
            claims = {name: value for name, value in claims.items() if name not in own}
        return claims if _claims_size(claims) <= MAX_CLAIMS_SIZE else {}

    def _claims(self, stored: FieldValues) -> dict[str, FieldValue]:
        found = {field.name: field.effective(stored) for field in self.declared.values() if field.in_token}
        return {name: value for name, value in found.items() if value is not None}


def changed_names(before: FieldValues, after: FieldValues) -> list[str]:
    """The fields with another stored value, sorted. In Python `True` equals 1, but not for a field."""

    def of(values: FieldValues, name: str) -> tuple[type, FieldValue | None]:
        value = values.get(name)
        return type(value), value

    return sorted(name for name in before.keys() | after.keys() if of(before, name) != of(after, name))


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


def _pointer(prefix: str, name: object) -> str:
    """The pointer to a field. An unusual name is not quoted."""
    return f"{prefix}{name}" if isinstance(name, str) and _NAME.fullmatch(name) else ""


def _json_size(values: FieldValues) -> int:
    return len(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode())


def _claims_size(claims: FieldValues) -> int:
    return len(compact_json(claims))


def _check_bytes(size: int, most: int, what: str) -> None:
    if size > most:
        raise Invalid.at("/fields", f"has {size} bytes {what}, and {most} at most are allowed")


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


NO_FIELDS: Final = UserFields.of()
