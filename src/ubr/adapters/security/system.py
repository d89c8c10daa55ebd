"""The clock and the randomness of the machine, and ids made from both."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from ubr.application.ports.system import Clock, RandomBytes

# Without this clock, as on macOS, the monotonic one is used: it may stop while the machine sleeps.
_RUNNING_ON: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_RANDOM_BITS: Final = 62


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the clock


def elapsed() -> float:
    """Seconds since an arbitrary moment, on a clock that cannot be set and also runs while the machine sleeps."""
    return time.clock_gettime(_RUNNING_ON)


def random_bytes(count: int) -> bytes:
    """Bytes from the operating system's generator, which a fork does not repeat."""
    return os.urandom(count)


class Uuid7:
    """UUIDs of version 7 (RFC 9562, 5.7), each greater than every earlier one of this object.

    48 bits of milliseconds, then 12 bits of the millisecond's fraction (6.2, method 3), then 62 random bits. If the
    clock has not moved since the last id, or went back, the time is one step (about 0.25 µs) after the last one.
    """

    def __init__(self, clock: Clock = utc_now, random: RandomBytes = random_bytes) -> None:
        self._clock = clock
        self._random = random
        self._last = -1
        self._lock = threading.Lock()

    def __call__(self) -> UUID:
        milliseconds, fraction = divmod((self._clock() - _EPOCH) // _MICROSECOND, 1000)
        with self._lock:
            self._last = stamp = max(milliseconds << 12 | (fraction << 12) // 1000, self._last + 1)
        tail = int.from_bytes(self._random(8), "big") >> (64 - _RANDOM_BITS)
        return UUID(int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << _RANDOM_BITS | tail)
