"""Log lines: one JSON object a line, or text for a person at a terminal.

Lines are written together, a fraction of a second after the first of them: writing each one costs a system call within
the request. A process that is killed loses that fraction of a second. Lines of errors are written at once.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
import traceback
from typing import Any, Final, Literal, TextIO, TypeAlias

import msgspec

from ubr.adapters.security.system import utc_now
from ubr.application.kernel.origin import current_origin
from ubr.entrypoints.http.readable_lines import columns, readable, wants_colours

DELAY: Final = 0.2
"""Seconds that a line waits for others."""

_ENOUGH: Final = 64 * 1024
"""Bytes that are written without waiting for more."""

_encode: Final = msgspec.json.Encoder(enc_hook=str).encode

_LEVEL_NAMES: Final = {
    level: logging.getLevelName(level).lower() for level in (logging.INFO, logging.WARNING, logging.ERROR)
}


class Output:
    """Standard error, or whatever replaces it."""

    def __init__(self) -> None:
        self.least = logging.INFO
        self.person = False
        self.colours = False
        self.delay = 0.0
        self._waiting: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def write(self, event: dict[str, Any], *, at_once: bool) -> None:
        line = self._readable(event) if self.person else _encode(event)
        self._waiting.append(line + b"\n")
        self._size += len(line)
        if at_once or not self.delay or self._size >= _ENOUGH:
            self.flush()
        elif self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(self.delay, self.flush)
            except RuntimeError:  # no event loop runs in this thread
                self.flush()

    def flush(self) -> None:
        """Write the waiting lines."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiting:
            sys.stderr.write(b"".join(waiting).decode())
            sys.stderr.flush()

    def _readable(self, event: dict[str, Any]) -> bytes:
        # The terminal may have been resized since the last line.
        return readable(event, width=columns(sys.stderr), colours=self.colours).encode(errors="replace")

    def forget(self) -> None:
        """Drop the waiting lines: in a new process, which its parent writes."""
        self._waiting, self._size, self._timer = [], 0, None


OUTPUT: Final = Output()
atexit.register(OUTPUT.flush)
os.register_at_fork(after_in_child=OUTPUT.forget)


def head(level: int, event: str) -> dict[str, Any]:
    """The first fields of a line."""
    name = _LEVEL_NAMES.get(level) or logging.getLevelName(level).lower()
    return {"timestamp": utc_now(), "level": name, "event": event}


class EventLog:
    """Logs events of ubr: a name, and fields with their values."""

    def log(self, level: int, event: str, fields: dict[str, Any]) -> None:
        if self.wants(level):
            self.put(level, {**head(level, event), **fields})

    @staticmethod
    def wants(level: int) -> bool:
        """False if lines of this level are not logged: there is no need to make one."""
        return level >= OUTPUT.least

    @staticmethod
    def put(level: int, line: dict[str, Any]) -> None:
        """Log a line that begins with its `head`. It gets the fields of the current request."""
        origin = current_origin()
        if origin.request_id is not None:
            line["request_id"] = origin.request_id
            if origin.request_id_given:
                line["request_id_given"] = True
            if origin.trace_id is not None:
                line["trace_id"] = origin.trace_id
        OUTPUT.write(line, at_once=level >= logging.ERROR)

    def info(self, event: str, **fields: Any) -> None:
        self.log(logging.INFO, event, fields)

    def warning(self, event: str, *, error: BaseException | None = None, **fields: Any) -> None:
        self.log(logging.WARNING, event, fields | _traceback(error))

    def error(self, event: str, *, error: BaseException | None = None, **fields: Any) -> None:
        self.log(logging.ERROR, event, fields | _traceback(error))


EVENTS: Final = EventLog()


class _Handler(logging.Handler):
    """Lines of libraries, and of the rooms that log by the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        EVENTS.log(record.levelno, record.getMessage(), _traceback(error))


Format: TypeAlias = Literal["auto", "json", "text"]


def is_text(form: Format, stream: TextIO) -> bool:
    """True if a stream gets text, not JSON. `auto` is text on a terminal."""
    return form == "text" or (form == "auto" and stream.isatty())


def configure(level: str, *, form: Format = "auto", delay: float = 0.0) -> None:
    """Send every log line of this process, of ubr's own and of its libraries, to standard error."""
    OUTPUT.least = logging.getLevelNamesMapping()[level.upper()]
    OUTPUT.person = is_text(form, sys.stderr)
    OUTPUT.colours = wants_colours(sys.stderr)
    OUTPUT.delay = delay
    # Below this level, libraries log too much: statements and their values.
    logging.basicConfig(handlers=[_Handler()], level=max(OUTPUT.least, logging.WARNING), force=True)


def _traceback(error: BaseException | None) -> dict[str, str]:
    # Without the values of variables, which include passwords.
    return {} if error is None else {"exception": "".join(traceback.format_exception(error)).rstrip()}
