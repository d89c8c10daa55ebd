"""The two forms in which a host declares its fields on users, a structure of Python and a JSON file, and their one
result.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from datetime import date
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, UNSET, Meta, Struct, UnsetType

from ubr.domain.accounts.user_field import ACCESS, FieldKind, FieldValue, UserField
from ubr.domain.accounts.user_fields import UserFields

F = TypeVar("F")

Level = Literal["user", "admins", "host"]

MAX_FILE_SIZE: Final = 64 * 1024
"""Maximum number of bytes of a file with a declaration."""


class FieldRules(Struct, frozen=True, kw_only=True):
    """The rules that the type of a field does not tell, as in `Annotated[str, FieldRules(searchable=True)]`.

    `read` and `write` name who may do it: `user` (the user, administrators and the host), `admins` (those and the host)
    or `host`. `in_token` puts the value into access tokens.
    """

    searchable: bool = False
    in_token: bool = False
    read: Level = "user"
    write: Level = "admins"
    description: str | None = None

    def __post_init__(self) -> None:
        """Errors: `ValueError` for an unknown level."""
        if not ACCESS.keys() >= {self.read, self.write}:
            raise ValueError(f"A field is read and written by one of {', '.join(ACCESS)}")


def _of(rules: FieldRules) -> dict[str, Any]:
    """The rules as arguments of `UserField`."""
    return {
        "searchable": rules.searchable,
        "in_token": rules.in_token,
        "read": ACCESS[rules.read],
        "write": ACCESS[rules.write],
    }


class _FileField(FieldRules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A field in a JSON file."""

    name: str
    type: FieldKind
    required: bool = False
    default: FieldValue | None = None
    min: int | None = None
    max: int | None = None
    choices: tuple[str, ...] = ()


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    fields: tuple[_FileField, ...]


def declared_in(text: bytes) -> UserFields:
    """The declaration in a JSON file. Errors: `ValueError`, whose message ends a sentence about the file."""
    if len(text) > MAX_FILE_SIZE:
        raise ValueError(f"has more than {MAX_FILE_SIZE} bytes")
    try:
        file = msgspec.json.decode(text, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"is not a declaration of fields: {error}") from None
    try:
        return UserFields.of(
            *(
                UserField(
                    name=each.name,
                    kind=each.type,
                    description=each.description,
                    required=each.required,
                    default=each.default,
                    least=each.min,
                    most=each.max,
                    choices=each.choices,
                    **_of(each),
                )
                for each in file.fields
            )
        )
    except ValueError as error:
        raise ValueError(f"declares fields that are not possible: {error}") from None


def declared_by(structure: type[Any]) -> UserFields:
    """The declaration that a structure makes. A field without a default is required, unless it may be None.

    Errors: `TypeError` for a type that no field has; `ValueError` for a declaration that contradicts itself.
    """
    if not issubclass(structure, Struct):
        raise TypeError(f"{structure!r} is not a subclass of msgspec.Struct")
    key: Any = structure
    return _declared_by(key)


@cache
def _declared_by(structure: type[Any]) -> UserFields:
    return UserFields.of(*(_field(name, hint, default) for name, hint, default in _members(structure)))


def fields_from(values: Struct) -> dict[str, Any]:
    """The fields of a command from a structure that declares them.

    A field that is None or UNSET is absent: to remove a value, write None into a dictionary.
    """
    # One by one: the structure may rename its members in JSON, tag itself, or omit defaults.
    made = ((name, getattr(values, name)) for name in values.__struct_fields__)
    return {name: msgspec.to_builtins(value) for name, value in made if value is not None and value is not UNSET}


def given(fields: Mapping[str, Any] | UnsetType) -> Mapping[str, Any] | None:
    """The fields in a command; None if they are absent."""
    return None if fields is UNSET else fields


def typed(structure: type[F], values: Mapping[str, Any]) -> F:
    """The values as a structure. Bounds are not checked again.

    Errors: `TypeError` and `ValueError` as for `declared_by`; `ValueError` if a value is missing that it requires.
    """
    declared = declared_by(structure).declared
    made: dict[str, Any] = {}
    for name, hint, default in _members(structure):
        value = values.get(name)
        if value is not None:
            plain, _, _ = _taken_apart(hint)
            made[name] = msgspec.convert(value, plain)
        elif default is NODEFAULT:
            if declared[name].required:
                raise ValueError(f"The user has no {name}, which {structure.__name__} requires")
            made[name] = None
    return structure(**made)


def _members(structure: type[Any]) -> list[tuple[str, Any, Any]]:
    """The name, the annotation and the default of each member; `NODEFAULT` without one."""
    hints = get_type_hints(structure, include_extras=True)
    return [
        (
            each.name,
            hints[each.name],
            each.default if each.default_factory is NODEFAULT else each.default_factory(),
        )
        for each in msgspec.structs.fields(structure)
    ]


def _field(name: str, hint: Any, default: Any) -> UserField:
    plain, optional, notes = _taken_apart(hint)
    kind, choices = _kind(name, plain)
    bounds = _bounds(name, kind, notes)
    rules = next((note for note in notes if isinstance(note, FieldRules)), FieldRules())
    least, most = (bounds.ge, bounds.le) if kind is FieldKind.INTEGER else (bounds.min_length, bounds.max_length)
    if kind is FieldKind.INTEGER:
        least = least if bounds.gt is None else bounds.gt + 1
        most = most if bounds.lt is None else bounds.lt - 1
    given = not any(default is absent for absent in (NODEFAULT, None, UNSET))
    return UserField(
        name=name,
        kind=kind,
        description=rules.description or bounds.description,
        required=default is NODEFAULT and not optional,
        default=msgspec.to_builtins(default) if given else None,
        least=None if least is None else int(least),
        most=None if most is None else int(most),
        choices=choices,
        **_of(rules),
    )


def _bounds(name: str, kind: FieldKind, notes: list[Any]) -> Meta:
    """The bounds of a field, and its description. The outermost annotation of each has effect.

    Errors: `TypeError` for a rule that fields do not have, so that no program relies on it.
    """
    found: dict[str, Any] = {}
    for note in notes:
        if isinstance(note, Meta):
            rules = {rule: getattr(note, rule) for rule in (*_CHECKS, "description")}
            found = {rule: value for rule, value in rules.items() if value is not None} | found
    for rule in _CHECKS:
        if rule in found and rule not in _CHECKED.get(kind, ()):
            raise TypeError(f"The field {name} has the rule {rule}, which a field of the type {kind} does not check")
    return Meta(**found)


def _taken_apart(hint: Any) -> tuple[Any, bool, list[Any]]:
    """The type inside, True if the value may be absent, and the annotations."""
    notes: list[Any] = []
    optional = False
    while True:
        if get_origin(hint) is Annotated:
            hint, *more = get_args(hint)
            notes += more
        elif get_origin(hint) in {Union, types.UnionType}:
            absent = {types.NoneType, UnsetType}
            inner = [each for each in get_args(hint) if each not in absent]
            optional = optional or len(inner) < len(get_args(hint))
            if len(inner) != 1:
                return hint, optional, notes
            hint = inner[0]
        else:
            return hint, optional, notes


_LENGTHS: Final = ("min_length", "max_length")
_CHECKED: Final[Mapping[FieldKind, tuple[str, ...]]] = {
    FieldKind.INTEGER: ("ge", "gt", "le", "lt"),
    FieldKind.STRING: _LENGTHS,
    FieldKind.STRINGS: _LENGTHS,
}
_CHECKS: Final = ("ge", "gt", "le", "lt", "multiple_of", "pattern", *_LENGTHS, "tz")
"""The rules that a `Meta` can have for a value."""

_KINDS: Final[Mapping[Any, FieldKind]] = {
    str: FieldKind.STRING,
    int: FieldKind.INTEGER,
    bool: FieldKind.BOOLEAN,
    date: FieldKind.DATE,
    list[str]: FieldKind.STRINGS,
}


def _kind(name: str, plain: Any) -> tuple[FieldKind, tuple[str, ...]]:
    if get_origin(plain) is Literal and all(isinstance(choice, str) for choice in get_args(plain)):
        return FieldKind.ENUM, get_args(plain)
    if isinstance(plain, type) and issubclass(plain, Enum) and all(isinstance(each.value, str) for each in plain):
        return FieldKind.ENUM, tuple(each.value for each in plain)
    if plain in _KINDS:
        return _KINDS[plain], ()
    raise TypeError(
        f"The field {name} has the type {plain!r}: a field is a str, int, bool, date, Literal or Enum of texts, or "
        "list[str]"
    )
