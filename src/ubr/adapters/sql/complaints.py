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


class _Complaint(msgspec.Struct):
    at: float
    passed_over: int = 0


_complaints: OrderedDict[str, _Complaint] = OrderedDict()


def complain(error: UbrError) -> None:
    """Log the reason of an error, unless it is a conflict, which is repeated, or an error of the input."""
    if not isinstance(error, SqlUnavailable) or isinstance(error, SqlTransactionConflict):
        return
    now = time.monotonic()
    last = _complaints.pop(error.reason, None)
    if last is not None and now - last.at < EVERY:
        last.passed_over += 1
        _complaints[error.reason] = last
        return
    _complaints[error.reason] = _Complaint(now)
    while len(_complaints) > _REASONS:
        _complaints.popitem(last=False)
    more = f", and {last.passed_over} times before" if last is not None and last.passed_over else ""
    _log.warning("%s (%s)%s", error.detail, error.reason, more)
