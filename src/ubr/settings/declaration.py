"""The declaration of a setting: a field of a group, with its metadata."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, fields
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

import msgspec

from ubr.settings.urls import masked
from ubr.settings.values import as_text

T = TypeVar("T")

Shown: TypeAlias = Literal["all", "url", "masked", "nothing"]
"""How much of a value may be shown.

- `all` of it
- `url`: all of a URL that must not have a password; a wrong value is not quoted, because it may contain one
- `masked`: a URL without its password
- `nothing`
"""

PREFIX: Final = "UBR_"
_DECLARED: Final = "declared"


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata of a setting. `default` is the text of the variable; without one, `otherwise` describes the default.

    `exact` values keep surrounding white space. `name` is the variable if it is not named after the field.
    """

    parse: Callable[[str], Any]
    default: str | None
    meaning: str
    otherwise: str = "none"
    shown: Shown = "all"
    text: Callable[[Any], str] = as_text
    exact: bool = False
    name: str | None = None


@overload
def setting(
    parse: Callable[[str], T],
    default: str,
    meaning: str,
    *,
    shown: Shown = ...,
    text: Callable[[Any], str] = ...,
) -> T: ...


@overload
def setting(
    parse: Callable[[str], T],
    default: None,
    meaning: str,
    *,
    otherwise: str = ...,
    shown: Shown = ...,
    exact: bool = ...,
) -> T | None: ...


def setting(parse: Callable[[str], Any], default: str | None, meaning: str, **more: Any) -> Any:
    """A setting. Without a default its value is None until it is set."""
    return _field(Declaration(parse=parse, default=default, meaning=meaning, **more))


def derived(
    parse: Callable[[str], T], meaning: str, *, otherwise: str, shown: Shown = "all", name: str | None = None
) -> T:
    """A setting with a default that is derived from other settings, as `otherwise` describes."""
    made: T = _field(
        Declaration(parse=parse, default=None, meaning=meaning, otherwise=otherwise, shown=shown, name=name)
    )
    return made


def _field(declaration: Declaration) -> Any:
    return field(repr=declaration.shown in {"all", "url"}, metadata={_DECLARED: declaration})


class Setting(msgspec.Struct, frozen=True):
    """One variable, and the field of `Settings` that holds its value."""

    field: str
    declaration: Declaration

    @property
    def name(self) -> str:
        """The name of the variable."""
        return self.declaration.name or PREFIX + self.field.upper()

    @property
    def file_name(self) -> str | None:
        """The variable that names a file with the value; None if the value is public."""
        return f"{self.name}_FILE" if self.declaration.shown in {"masked", "nothing"} else None

    def read(self, raw: str) -> Any:
        """The value of a text; None if the variable is not set. Errors: `ValueError`, `Invalid`."""
        if not raw.isprintable():
            raise ValueError("must not contain control characters, or bytes that are not UTF-8")
        return None if not raw and self.declaration.default is None else self.declaration.parse(raw)

    def show(self, value: Any) -> str | None:
        """The part of a value that may be shown; None if the setting has no value."""
        if value is None or value == ():
            return None
        if self.declaration.shown == "nothing":
            return "***"
        text = self.declaration.text(value)
        return text if self.declaration.shown == "all" else masked(text)

    def wrong(self, raw: str, why: str) -> str:
        """The sentence for a wrong value."""
        if self.declaration.shown != "all":
            return f"{self.name} {why}."
        shown = raw if len(raw) <= 60 else raw[:60] + "…"  # noqa: PLR2004 - enough to recognise it
        return f"{self.name} is {shown!r}: it {why}."


def declared_in(settings: type[Any]) -> tuple[Setting, ...]:
    """The settings that the fields of a class declare, in order."""
    return tuple(Setting(each.name, each.metadata[_DECLARED]) for each in fields(settings))
