"""Logs why the database could not be used: each reason at once, and then once a minute at most."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from typing import Final

import msgspec

from ubr.adapters.sql.errors import SqlTransactionConflict, SqlUnavailable
from ubr.domain.errors import UbrError

EVERY: Final = 60.0
_REASONS: Final = 100
"""Maximum number of remembered reasons."""

_log: Final = logging.getLogger("ubr.sql")


class _Failure(msgspec.Struct):
    at: float
    passed_over: int = 0


_failures: OrderedDict[str, _Failure] = OrderedDict()


def log_failure(error: UbrError) -> None:
    """Log the reason of an error, unless it is a conflict, which is repeated, or an error of the input."""
    if not isinstance(error, SqlUnavailable) or isinstance(error, SqlTransactionConflict):
        return
    now = time.monotonic()
    last = _failures.pop(error.reason, None)
    if last is not None and now - last.at < EVERY:
        last.passed_over += 1
        _failures[error.reason] = last
        return
    _failures[error.reason] = _Failure(now)
    while len(_failures) > _REASONS:
        _failures.popitem(last=False)
    more = f", and {last.passed_over} times before" if last is not None and last.passed_over else ""
    _log.warning("%s (%s)%s", error.detail, error.reason, more)
