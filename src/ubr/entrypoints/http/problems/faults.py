"""Errors of the service itself. The log line of a request names the cause of its error.

A traceback is longer than that, and thousands of requests can fail for one reason. So each kind of traceback is logged
at once, and then once a minute at most.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from ubr.domain.errors import UbrError
from ubr.entrypoints.http.log_lines import EVENTS
from ubr.entrypoints.http.request_facts import Facts

EVERY: Final = 60.0
"""Seconds between two tracebacks of one kind."""

KINDS: Final = 100
"""The maximum number of remembered kinds."""

Kind: TypeAlias = tuple[str | None, ...]


class _Logged(msgspec.Struct):
    at: float
    omitted: int = 0


class Tracebacks:
    """Decides which tracebacks are logged."""

    def __init__(self, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._elapsed = elapsed
        self._last: OrderedDict[Kind, _Logged] = OrderedDict()

    def due(self, kind: Kind) -> int | None:
        """The number of omitted ones of this kind since the last; None if this one is to be omitted too."""
        now = self._elapsed()
        last = self._last.pop(kind, None)
        if last is not None and now - last.at < EVERY:
            last.omitted += 1
            self._last[kind] = last
            return None
        self._last[kind] = _Logged(now)
        while len(self._last) > KINDS:
            self._last.popitem(last=False)
        return 0 if last is None else last.omitted


TRACEBACKS: Final = Tracebacks()


def unavailable(error: UbrError, facts: Facts) -> str:
    """The cause of an error that the service foresees: a sentence, and the code of the database or name of a limit."""
    reason: str | None = getattr(error, "reason", None)
    cause = error.detail if reason is None else f"{error.detail} ({reason})"
    if error.__cause__ is not None and (omitted := TRACEBACKS.due((error.code, reason))) is not None:
        EVENTS.warning(
            "unavailable",
            method=facts.method,
            route=facts.route,
            reason=error.code,
            cause=cause,
            omitted=omitted,
            error=error.__cause__,
        )
    return cause


def log_fault(error: Exception, facts: Facts) -> str:
    """Log an unexpected error. Returns its cause: its type and its place. Its text is only in the traceback."""
    place = _place(error)
    cause = f"{type(error).__name__} at {place}"
    if (omitted := TRACEBACKS.due((facts.route, type(error).__qualname__, place))) is not None:
        EVENTS.error("failed", method=facts.method, route=facts.route, cause=cause, omitted=omitted, error=error)
    return cause


def _place(error: Exception) -> str:
    """The module and the line where ubr met an error, or of the error itself if that is elsewhere."""
    place = "an unknown place"
    found, ours = error.__traceback__, False
    while found is not None:
        module = str(found.tb_frame.f_globals.get("__name__", "?"))
        if module.partition(".")[0] == "ubr" or not ours:
            ours = ours or module.partition(".")[0] == "ubr"
            place = f"{module}:{found.tb_lineno}"
        found = found.tb_next
    return place
