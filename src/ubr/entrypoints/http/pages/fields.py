"""The fields of the host on pages: an input for each that a person may write, and a text for each other one.

An input has the pointer of its field as its name, so an error finds its place. A form is compared with the values of
the user, and only differences are written: a value that an earlier declaration allowed stays as it is, and a default is
not stored because a page showed it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from ubr.domain.accounts.user_field import Access, FieldKind, UserField
from ubr.domain.accounts.user_fields import UserFields
from ubr.domain.roles.permissions import USERS_WRITE, Permissions
from ubr.entrypoints.http.form import Form
from ubr.entrypoints.http.pages.words import Words

BEFORE: Final = "fields/"
"""The beginning of the name of each input."""

_NOTHING: Final = "\N{EN DASH}"
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,16}")
_BOOLEANS: Final = {"true": True, "false": False}
_TYPES: Final = {FieldKind.INTEGER: "number", FieldKind.DATE: "date"}


class FieldInput(msgspec.Struct, frozen=True, kw_only=True):
    """An input. `type` is that of HTML, or `select` or `textarea`. `value` is the text in it before anyone types."""

    name: str
    label: str
    help: str | None
    type: str
    required: bool
    value: str
    options: Sequence[tuple[str, str]] = ()
    least: int | None = None
    most: int | None = None


def writing_level(own: Permissions) -> Access:
    """The level at which a person with these permissions writes fields, also those of their own account."""
    return Access.ADMINS if own.allow(USERS_WRITE) else Access.USER


def inputs(
    fields: UserFields, level: Access, words: Words, values: Mapping[str, object] | UnsetType = UNSET
) -> list[FieldInput]:
    """An input for each field that this level may write. `values` are those of a user; without them it is a new one."""
    return [
        _input(field, words, field.default if values is UNSET else values.get(field.name))
        for field in _writable(fields, level)
    ]


def texts(
    fields: UserFields, words: Words, values: Mapping[str, object] | UnsetType, *, beside: Access | None = None
) -> list[tuple[str, str]]:
    """The label and the value of each field that the reader sees, without those that the level `beside` may write."""
    written = set() if beside is None else {field.name for field in _writable(fields, beside)}
    seen = {} if values is UNSET else values
    return [(label(words, name), _text(words, value)) for name, value in seen.items() if name not in written]


def given(
    fields: UserFields, level: Access, form: Form, values: Mapping[str, object] | UnsetType = UNSET
) -> dict[str, Any] | UnsetType:
    """The fields of a command. With `values` of a user, only those that differ; null for an empty input.

    A value of another kind is passed on as its text, for the error of the domain. Errors: `Invalid` for a field that
    occurs twice.
    """
    before = {} if values is UNSET else values
    found: dict[str, Any] = {}
    for field in _writable(fields, level):
        if BEFORE + field.name in form:
            value = _parsed(field, form.get(BEFORE + field.name))
            if values is UNSET or value != before.get(field.name):
                found[field.name] = value
    return found or UNSET


def label(words: Words, name: str) -> str:
    """The label of a field in the operator's words; its name without one."""
    return words.own(f"fields.{name}.label") or name


def _writable(fields: UserFields, level: Access) -> list[UserField]:
    return [field for field in fields.declared.values() if field.write <= level]


def _input(field: UserField, words: Words, value: object) -> FieldInput:
    least, most = field.bounds if field.kind in {FieldKind.INTEGER, FieldKind.STRING} else (None, None)
    return FieldInput(
        name=BEFORE + field.name,
        label=label(words, field.name),
        help=words.own(f"fields.{field.name}.help") or field.description,
        type=_type(field),
        required=field.required,
        value="" if value is None else "\n".join(value) if isinstance(value, list) else _plain(value),
        options=_options(field, words),
        least=least,
        most=most,
    )


def _type(field: UserField) -> str:
    match field.kind:
        case FieldKind.BOOLEAN | FieldKind.ENUM:
            return "select"
        case FieldKind.STRINGS:
            return "textarea"
        case _:
            return _TYPES.get(field.kind, "text")


def _options(field: UserField, words: Words) -> Sequence[tuple[str, str]]:
    """The values of a list to choose from, with their texts. A boolean has no box: it may have no value at all."""
    if field.kind is FieldKind.BOOLEAN:
        return [("true", words("field.yes")), ("false", words("field.no"))]
    return [(choice, choice) for choice in field.choices]


def _parsed(field: UserField, text: str) -> object:
    if field.kind is FieldKind.STRINGS:
        return [line for each in text.splitlines() if (line := each.strip())] or None
    if not text.strip():
        return None
    if field.kind is FieldKind.INTEGER and _INTEGER.fullmatch(text.strip()):
        return int(text)
    return _BOOLEANS.get(text, text) if field.kind is FieldKind.BOOLEAN else text


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(words: Words, value: object) -> str:
    if isinstance(value, bool):
        return words("field.yes" if value else "field.no")
    if isinstance(value, list):
        return ", ".join(value) or _NOTHING
    return _NOTHING if value is None else str(value)
