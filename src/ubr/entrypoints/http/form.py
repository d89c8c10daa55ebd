"""The fields of a form that a browser sent."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET

from ubr.application.kernel.command import Command
from ubr.domain.errors import InputError, Invalid
from ubr.entrypoints.http import body

C = TypeVar("C", bound=Command)

_MAX_FIELDS: Final = 1000
_ESCAPES: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Form:
    """The fields by name. Its `repr` shows none: forms hold passwords."""

    __slots__ = ("_fields",)

    def __init__(self, fields: list[tuple[str, str]] | None = None) -> None:
        self._fields: dict[str, list[str]] = {}
        for name, value in fields or ():
            self._fields.setdefault(name, []).append(value)

    @classmethod
    def parse(cls, raw: bytes) -> Form:
        """Errors: `Invalid` for a body that is not percent-encoded UTF-8, and for too many fields."""
        if _ESCAPES.search(raw) or not raw.isascii():
            raise Invalid("The form is not percent-encoded")
        try:
            return cls(parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS))
        except UnicodeDecodeError:
            raise Invalid("The form is not UTF-8") from None
        except ValueError:
            raise Invalid("The form has too many fields") from None

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def replacing(self, name: str, value: str) -> Form:
        """The same form with another value of one field."""
        made = Form()
        made._fields = {**self._fields, name: [value]}
        return made

    def get(self, name: str) -> str:
        """The value of a field, or an empty text. Errors: `Invalid` if it occurs twice."""
        values = self._fields.get(name, [""])
        if len(values) > 1:
            raise Invalid.at(f"/{name}", "occurs twice in the form")
        return values[0]

    def values(self) -> dict[str, str]:
        """The value of each field that is not empty. Errors: `Invalid` for one that occurs twice."""
        return {name: value for name in self._fields if (value := self.get(name))}

    def all(self, name: str) -> list[str]:
        """The values of a field that may occur several times, such as check boxes."""
        return list(self._fields.get(name, ()))

    def command(self, command: type[C], **more: object) -> C:
        """The command with the fields of the form, and with `more`. An empty field counts as absent, and so
        does UNSET in `more`.

        A form may have other fields too. Errors: `Invalid` for each field that is missing, at once.
        """
        values: dict[str, Any] = {name: value for name, value in more.items() if value is not UNSET}
        missing: list[InputError] = []
        for field in msgspec.structs.fields(command):
            if field.name in more:
                continue
            if value := self.get(field.name):
                values[field.name] = value
            elif field.required:
                missing.append(InputError(f"/{field.name}", "is required"))
        if missing:
            raise Invalid(None, *missing)
        return body.build(values, command)
