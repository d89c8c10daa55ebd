"""Parsers of values that several settings share, and their formatters.

A parser raises `ValueError` with the end of a sentence that begins with the name of the setting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def parse_duration(raw: str) -> timedelta:
    """`250ms`, `90s`, `10m`, `1h`, `14d`. Errors: `ValueError`."""
    found = re.fullmatch(r"([0-9]{1,9})(ms|s|m|h|d)", raw)
    if found is None:
        raise ValueError("must be a whole number and a unit (ms, s, m, h or d), such as 250ms, 90s, 10m, 1h or 14d")
    try:
        return int(found[1]) * _UNITS[found[2]]
    except OverflowError:
        raise ValueError("must be a shorter duration") from None


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` parses as this duration."""
    for name, unit in reversed(_UNITS.items()):
        if duration % unit == timedelta(0) and (duration or name == "s"):
            return f"{duration // unit}{name}"
    raise ValueError("is not a whole number of milliseconds")


def duration(least: str, most: str) -> Callable[[str], timedelta]:
    """A parser for durations in this range."""

    def parse(raw: str) -> timedelta:
        duration = parse_duration(raw)
        if not parse_duration(least) <= duration <= parse_duration(most):
            raise ValueError(f"must be from {least} to {most}")
        return duration

    return parse


def whole(least: int, most: int) -> Callable[[str], int]:
    """A parser for whole numbers in this range."""

    def parse(raw: str) -> int:
        # int() alone would accept underscores, signs and the digits of every script.
        if not re.fullmatch(r"[0-9]{1,9}", raw) or not least <= int(raw) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(raw)

    return parse


def one_of(*names: str) -> Callable[[str], Any]:
    """A parser for one of these names. The field's type is their `Literal`."""

    def parse(raw: str) -> str:
        if raw not in names:
            raise ValueError(f"must be {alternatives(names)}")
        return raw

    return parse


def alternatives(names: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = names
    return f"{', '.join(most)} or {last}"


def items(raw: str) -> list[str]:
    """The parts of a comma-separated list, each once, in their order."""
    return list(dict.fromkeys(item for part in raw.split(",") if (item := part.strip())))


def parse_file(raw: str) -> str:
    if raw.endswith("/"):
        raise ValueError("must name a file")
    return raw


def parse_folder(raw: str) -> str:
    if not Path(raw).is_dir():
        raise ValueError("must name an existing folder")
    return raw


def as_text(value: Any) -> str:
    """A value as the text of its variable."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, timedelta):
        return format_duration(value)
    return str(value)
