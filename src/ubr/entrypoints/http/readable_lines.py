"""Log lines for a person at a terminal: aligned, and no wider than it."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final, TextIO

MAX_COLUMNS: Final = 120
_MIN_COLUMNS: Final = 20
_NARROW: Final = 80
"""Below this width, the further lines of an event are indented by less, which leaves more room for them."""

_ALREADY_SHOWN: Final = ("timestamp", "level", "event", "exception")
_IN_COLUMNS: Final = ("status", "method", "ms", "path")
_OMITTED: Final = ("route", "session_id", "request_id_given")
"""Fields of a request that its path, its actor and its id imply for a person. Each would take a line of its own."""

_LEVELS: Final = {"debug": "2", "warning": "33", "error": "31", "critical": "31"}
_STATUSES: Final = {"2": "32", "3": "32", "4": "33", "5": "31"}
_FAINT: Final = "2"


def columns(stream: TextIO) -> int:
    """The columns of a terminal, at most 120; 120 if it has no known width."""
    try:
        found = int(os.environ.get("COLUMNS", ""))  # noqa: TID251 - a property of the terminal, not a setting
    except ValueError:
        found = 0
    if found <= 0:
        try:
            found = os.get_terminal_size(stream.fileno()).columns
        except (OSError, ValueError):
            found = 0
    return max(_MIN_COLUMNS, min(found or MAX_COLUMNS, MAX_COLUMNS))


def wants_colours(stream: TextIO) -> bool:
    """True for a terminal that takes colours, unless its user wants none (https://no-color.org)."""
    terminal = os.environ  # noqa: TID251 - properties of the terminal, not settings
    return stream.isatty() and terminal.get("TERM") != "dumb" and not terminal.get("NO_COLOR")


def readable(event: Mapping[str, Any], *, width: int = MAX_COLUMNS, colours: bool = False) -> str:
    """An event in one or more lines, with its traceback below."""
    level = str(event["level"])
    head = f"{event['timestamp']:%H:%M:%S} {level:7} "
    request = event["event"] == "request"
    indent = " " * (len(head) if width >= _NARROW else 2)
    wrapped = textwrap.wrap(
        head + _printable(_request(event) if request else _other(event)),
        width,
        subsequent_indent=indent,
        break_on_hyphens=False,
        # Columns consist of spaces.
        replace_whitespace=False,
    )
    lines = [*wrapped, *_traceback(event.get("exception") or "", width)]
    if colours:
        lines = _coloured(lines, len(wrapped), len(head), level, str(event["status"]) if request else "")
    return "\n".join(lines)


def _request(event: Mapping[str, Any]) -> str:
    place = event.get("path") or event.get("route") or ""
    first = f"{event['status']} {event['method']:7}{event.get('ms', 0):>9.1f} ms  {place}"
    return f"{first}  {_fields(event, (*_IN_COLUMNS, *_OMITTED))}".rstrip()


def _other(event: Mapping[str, Any]) -> str:
    return f"{event['event']}  {_fields(event)}".rstrip()


def _fields(event: Mapping[str, Any], omitted: tuple[str, ...] = ()) -> str:
    shown = (
        f"{name}={value}"
        for name, value in event.items()
        if value is not None and name not in _ALREADY_SHOWN and name not in omitted
    )
    return " ".join(shown)


def _traceback(text: str, width: int) -> Iterator[str]:
    for line in text.splitlines():
        stripped = _printable(line.strip())
        depth = min(len(line) - len(line.lstrip()), width // 2)
        yield from textwrap.wrap(
            stripped,
            width,
            initial_indent=" " * (depth + 2),
            subsequent_indent=" " * (depth + 4),
            break_on_hyphens=False,
        )


def _printable(text: str) -> str:
    """The text without characters that could control a terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)


def _coloured(lines: list[str], event_lines: int, head: int, level: str, status: str) -> list[str]:
    first = lines[0]
    time, name, rest = first[:9], first[9:head], first[head:]
    if status and rest.startswith(status):
        rest = _in(_STATUSES.get(status[0], ""), status) + rest[len(status) :]
    elif level in _LEVELS:
        rest = _in(_LEVELS[level], rest)
    return [
        _in(_FAINT, time) + _in(_LEVELS.get(level, ""), name) + rest,
        *(_in(_FAINT, line) for line in lines[1:event_lines]),
        *lines[event_lines:],
    ]


def _in(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text
