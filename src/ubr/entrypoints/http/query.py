"""Turns a query string into a command."""

from __future__ import annotations

import re
from functools import cache
from typing import Final, TypeVar, get_args, get_type_hints
from urllib.parse import unquote_plus, urlencode
from uuid import UUID

from ubr.application.kernel.command import Command
from ubr.domain.errors import InputError, Invalid
from ubr.entrypoints.http.body import CONTROLS, below, build

C = TypeVar("C", bound=Command)

ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
"""The accepted form of an id, here and in paths: upper case is allowed on input (RFC 9562, 4)."""

_FIELDS: Final = "fields"
FIELD: Final = f"{_FIELDS}."
"""The start of a parameter that searches a field of the host."""

_NOBODY: Final = UUID(int=0)
_ESCAPES: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_WHOLE: Final = re.compile(r"-?[0-9]{1,19}")


def pairs(raw: bytes) -> dict[str, str]:
    """The parameters. Errors: `Invalid` for a duplicate parameter, and for one that is not text."""
    found: dict[str, str] = {}
    if not raw:
        return found
    if _ESCAPES.search(raw) or not raw.isascii():
        raise Invalid("The query is not percent-encoded")
    for part in raw.decode().split("&"):
        key, _, rest = part.partition("=")
        try:
            name, value = unquote_plus(key, errors="strict"), unquote_plus(rest, errors="strict")
        except UnicodeDecodeError:
            raise Invalid("The query is not UTF-8") from None
        pointer = below("", name)
        if name in found:
            raise Invalid.at(pointer, "occurs twice in the query")
        if CONTROLS.search(value):
            raise Invalid.at(pointer, "contains a control character")
        found[name] = value
    return found


def decode(raw: bytes, command: type[C]) -> C:
    """The command with the parameters as fields. Errors: `Invalid`, also for an unknown parameter."""
    values: dict[str, object] = {}
    fields: dict[str, str] = {}
    for name, value in pairs(raw).items():
        if name.startswith(FIELD) and _FIELDS in command.__struct_fields__:
            fields[name.removeprefix(FIELD)] = value
            continue
        if name not in command.__struct_fields__ or name == _FIELDS:
            raise Invalid(None, InputError(below("", name), "is not a known parameter"))
        values[name] = value
    if fields:
        values[_FIELDS] = fields
    for name in _of_type(int, command) & values.keys():
        values[name] = _whole(name, str(values[name]))
    for name in _of_type(UUID, command) & values.keys():
        if not ID.fullmatch(str(values[name])):
            raise Invalid.at(f"/{name}", "is not an id")
    return build(values, command)


def id_of(text: str) -> UUID:
    """An id in a path or a form. A text that is not a UUID is handled as an unknown id."""
    return UUID(text) if ID.fullmatch(text) else _NOBODY


def with_cursor(raw: bytes, cursor: str) -> str:
    """The same query, continued from another place in the list."""
    return urlencode({**pairs(raw), "cursor": cursor})


@cache
def _of_type(type_: type, command: type[Command]) -> frozenset[str]:
    """The parameters of this type: numbers or ids. All arrive as text."""
    types = get_type_hints(command)
    return frozenset(name for name in command.__struct_fields__ if type_ in (types[name], *get_args(types[name])))


def _whole(name: str, text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise Invalid.at(f"/{name}", "must be a whole number")
    return int(text)
