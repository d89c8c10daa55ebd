"""Turns bytes into a command. Every input is bounded before it is processed, and no error quotes a value."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
from litestar.types import Receive

from ubr.application.kernel.command import Command
from ubr.domain.errors import InputError, Invalid
from ubr.entrypoints.http.fields import Fields
from ubr.entrypoints.http.problems.errors import (
    BodyTooLarge,
    ClientGone,
    MalformedBody,
    RequestTimeout,
    UnsupportedMediaType,
)

LARGEST: Final = 64 * 1024
DEEPEST: Final = 32
JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
FORM: Final = "application/x-www-form-urlencoded"

_CHARSET: Final = rb'[ \t]*(?:;[ \t]*charset="?utf-8"?[ \t]*)?'
_JSON: Final = re.compile(rb"application/json" + _CHARSET, re.IGNORECASE)
_FORM: Final = re.compile(rb"application/x-www-form-urlencoded" + _CHARSET, re.IGNORECASE)
_JSON_OR_PATCH: Final = re.compile(rb"application/(?:merge-patch\+)?json" + _CHARSET, re.IGNORECASE)

C = TypeVar("C", bound=Command)


# --- bytes -----------------------------------------------------------------------------------------------------------


async def read(
    fields: Fields,
    receive: Receive,
    *,
    within: float,
    wanted: bool,
    optional: bool = False,
    patch: bool = False,
    form: bool = False,
) -> bytes:
    """Read the body `within` so many seconds: at most 64 KiB, even if the client declares fewer.

    A body that the route does not want is read and discarded. Errors: `BodyTooLarge`; `RequestTimeout`;
    `UnsupportedMediaType` if a wanted body is not JSON, or the fields of a `form`, unless it is `optional` and absent.
    """
    length, types = fields.get(b"content-length", (b"",))[-1], fields.get(b"content-type", ())
    coded = any(coding.strip().lower() != b"identity" for coding in fields.get(b"content-encoding", ()))
    chunked = b"transfer-encoding" in fields
    if length.isdigit() and (len(length.lstrip(b"0")) > len(str(LARGEST)) or int(length) > LARGEST):
        raise BodyTooLarge
    absent = not chunked and length.strip(b"0") == b"" and not types
    if not wanted:
        return b"" if absent else await _bounded(receive, within)
    if optional and absent:
        # HTTP/2 allows a body without a length. A client that sends one declares its content type.
        return b""
    if form:
        pattern, accepted = _FORM, [FORM]
    else:
        pattern, accepted = (_JSON_OR_PATCH, [MERGE_PATCH, JSON]) if patch else (_JSON, [JSON])
    if len(types) != 1 or not pattern.fullmatch(types[0]) or coded:
        raise UnsupportedMediaType(*accepted)
    return await _bounded(receive, within)


async def _bounded(receive: Receive, within: float) -> bytes:
    try:
        async with asyncio.timeout(within):
            return await _gathered(receive)
    except TimeoutError:
        raise RequestTimeout from None


async def _gathered(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        if message["type"] != "http.request":
            continue
        part = message.get("body", b"")
        size += len(part)
        if size > LARGEST:
            raise BodyTooLarge
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


# --- JSON ------------------------------------------------------------------------------------------------------------

# An unterminated string is one match too: a search for its end from each of its quotes would take too long.
_BRACKETS: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
CONTROLS: Final = re.compile(r"[\x00-\x1f]")
"""The control characters that no text may contain, in a body or a query."""

_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MAX_NUMBER_LENGTH: Final = 32
_INT_64: Final = range(-(2**63), 2**64)


class _Twice(dict[str, Any]):
    """An object with a duplicate name."""

    name = ""


def parse(raw: bytes) -> object:
    """The value of an unambiguous JSON text (RFC 8259, and I-JSON, RFC 7493).

    Errors: `MalformedBody` for a text that is not JSON or is nested too deeply; `Invalid` for a duplicate name in an
    object, and for text with control characters or halves of surrogate pairs.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise MalformedBody("The body is not UTF-8") from None
    _check_depth(text)
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_no_number
        )
    except (ValueError, RecursionError):
        raise MalformedBody from None
    for flaw in _flaws(value, ""):
        raise Invalid(None, flaw)
    return value


def _check_depth(text: str) -> None:
    depth = 0
    for found in _BRACKETS.finditer(text):
        char = found[0]
        if char in "[{":
            depth += 1
            if depth > DEEPEST:
                raise MalformedBody(f"The body is nested more than {DEEPEST} deep")
        elif char in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    twice = _Twice(made)
    twice.name = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    return twice


def _int(text: str) -> int:
    if len(text) > _MAX_NUMBER_LENGTH or (number := int(text)) not in _INT_64:
        raise ValueError
    return number


def _float(text: str) -> float:
    if len(text) > _MAX_NUMBER_LENGTH or not math.isfinite(number := float(text)):
        raise ValueError
    return number


def _no_number(_: str) -> float:
    """NaN and the infinities are not JSON."""
    raise ValueError


def _flaws(value: object, pointer: str) -> Iterator[InputError]:
    if isinstance(value, str):
        yield from _text_flaws(value, pointer)
    elif isinstance(value, dict):
        if isinstance(value, _Twice):
            yield InputError(below(pointer, value.name), "occurs twice in its object")
        for name, member in value.items():
            yield from _text_flaws(name, pointer)
            yield from _flaws(member, below(pointer, name))
    elif isinstance(value, list):
        for at, member in enumerate(value):
            yield from _flaws(member, f"{pointer}/{at}")


def _text_flaws(text: str, pointer: str) -> Iterator[InputError]:
    if found := CONTROLS.search(text):
        yield InputError(pointer, f"contains the control character U+{ord(found[0]):04X}")
    elif _SURROGATES.search(text):
        yield InputError(pointer, "contains half of a surrogate pair")


def below(pointer: str, name: str) -> str:
    """The pointer to a member, or to a parameter of a query.

    An unusual name is not quoted: the pointer is then that of the object, or of the whole query.
    """
    return f"{pointer}/{name}" if _NAME.fullmatch(name) else pointer


# --- commands --------------------------------------------------------------------------------------------------------


def build(value: object, command: type[C]) -> C:
    """Build a command from plain values. A value of a wrong type is rejected, never converted.

    Errors: `Invalid` for an unknown, missing or mistyped field.
    """
    try:
        made = msgspec.convert(value, command)
    except msgspec.ValidationError as error:
        raise Invalid(None, _translated(str(error))) from None
    for name in command.__struct_fields__:
        if isinstance(moment := getattr(made, name), datetime):
            _check_moment(moment, name)
    return made


def _check_moment(moment: datetime, name: str) -> None:
    """Reject a time with an offset that lies before the year 1 or after 9999 in UTC."""
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise Invalid.at(f"/{name}", "is out of range") from None


_PLACE: Final = re.compile(r"(.*) - at `\$(.*)`", re.DOTALL)
_FIELD: Final = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
_JSON_NAMES: Final = {"str": "string", "int": "number", "float": "number", "bool": "boolean"}
_TYPES: Final = re.compile(r"Expected `([a-z0-9_ |]+)`, got `([a-z]+)`")
_KINDS: Final = {
    "Invalid enum value": "is not one of the allowed values",
    "Invalid UUID": "is not an id",
    "Invalid RFC3339": "is not an RFC 3339 time with an offset",
}


def _translated(message: str) -> InputError:
    """Translate an error of msgspec: the path becomes a pointer, and the value, which msgspec may quote, is dropped."""
    pointer = ""
    if place := _PLACE.fullmatch(message):
        message, pointer = place[1], re.sub(r"[.\[]", "/", place[2]).replace("]", "")
    if field := _FIELD.fullmatch(message):
        missing = field[1].startswith("missing")
        return InputError(below(pointer, field[2]), "is required" if missing else "is not a known field")
    if types := _TYPES.fullmatch(message):
        return InputError(pointer, f"must be {_named(types[1])}, not {_named(types[2])}")
    return InputError(
        pointer, next((text for kind, text in _KINDS.items() if message.startswith(kind)), "is not valid")
    )


def _named(types: str) -> str:
    """The JSON names of types."""
    return " or ".join(_JSON_NAMES.get(name, name) for name in types.split(" | "))
