"""The clocks of this machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

# Without this clock, as on macOS, the monotonic one is used: it may stop while the machine sleeps.
_RUNNING_ON: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed() -> float:
    """Seconds since an arbitrary moment, on a clock that cannot be set and also runs while the machine sleeps."""
    return time.clock_gettime(_RUNNING_ON)


def utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - this is the clock
