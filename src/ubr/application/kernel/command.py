"""The base classes of commands and results."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NewType, TypeAlias, Union, get_args, get_origin, get_type_hints

import msgspec

from ubr.domain.concealed import Concealed
from ubr.domain.error_kinds import Invalid


class Command(Concealed, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The input of a use case. Its `repr` shows no field, because commands hold passwords and tokens.

    Errors: `Invalid` if a field has a value of another type, such as a text instead of a UUID. Without this check, each
    store would react differently.
    """

    def __post_init__(self) -> None:
        for name, fits, expected in fields_of(type(self)):
            value = getattr(self, name)
            if not fits(value):
                raise Invalid.at(f"/{name}", f"must be {expected}, not {type(value).__name__}")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The output of a use case: the representation in `docs/api`, field for field."""


_Fits: TypeAlias = Callable[[object], bool]


@cache
def fields_of(command: type[Command]) -> tuple[tuple[str, _Fits, str], ...]:
    """Each field with the test of its values, and its type for people."""
    types = get_type_hints(command)
    return tuple((name, _fits(types[name]), _named(types[name])) for name in command.__struct_fields__)


def _fits(type_: Any) -> _Fits:
    origin, inner = get_origin(type_), get_args(type_)
    if origin in {Union, UnionType}:
        tests = tuple(map(_fits, inner))
        return lambda value: any(test(value) for test in tests)
    if origin is Literal:
        return lambda value: isinstance(value, str) and value in inner
    if isinstance(type_, NewType):
        return _fits(type_.__supertype__)
    if origin in {list, tuple}:
        # A caller may pass either: use cases only read them.
        item = _fits(inner[0])
        return lambda value: isinstance(value, list | tuple) and all(map(item, value))
    if type_ is int:
        return lambda value: isinstance(value, int) and not isinstance(value, bool)
    plain = origin or type_
    return lambda value: isinstance(value, plain)


def _named(type_: Any) -> str:
    origin, inner = get_origin(type_), get_args(type_)
    if origin in {Union, UnionType}:
        return " or ".join(_named(each) for each in inner if each is not msgspec.UnsetType)
    if origin is Literal:
        return " or ".join(inner)
    if origin in {list, tuple}:
        return f"a list of {_named(inner[0])}"
    if origin is dict:
        return "a dictionary"
    return "None" if type_ is NoneType else str(type_.__name__)
