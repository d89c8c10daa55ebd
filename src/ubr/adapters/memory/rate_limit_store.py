"""Rate limit counters in memory."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from ubr.application.kernel.home_loop import HomeLoop
from ubr.application.ports.protection import Decision, Quota
from ubr.application.ports.system import Clock

_MICROSECOND: Final = timedelta(microseconds=1)
_SWEEP_FROM: Final = 1024


class MemoryRateLimitStore:
    """The generic cell rate algorithm: stores only the time at which the quota of a name is full again."""

    def __init__(self, clock: Clock, home: HomeLoop | None = None) -> None:
        self._clock = clock
        self._home = home or HomeLoop()
        self._full_at: dict[str, datetime] = {}
        self._sweep_at = _SWEEP_FROM

    async def take(self, name: str, quota: Quota) -> Decision:
        self._home.check()
        now, interval, span = self._times(quota)
        full_at = self._state(name, now, span)
        allowed = full_at + interval <= now + span
        if allowed:
            full_at += interval
            self._full_at[name] = full_at
            self._sweep(now)
        return Decision(
            allowed=allowed,
            remaining=(now + span - full_at) // interval,
            retry_after=max(timedelta(0), full_at + interval - span - now),
        )

    async def look(self, name: str, quota: Quota) -> Decision:
        self._home.check()
        now, interval, span = self._times(quota)
        full_at = self._state(name, now, span)
        remaining = (now + span - full_at) // interval
        retry_after = max(timedelta(0), full_at + interval - span - now)
        return Decision(allowed=remaining > 0, remaining=remaining, retry_after=retry_after)

    async def give_back(self, name: str, quota: Quota) -> None:
        self._home.check()
        now, interval, span = self._times(quota)
        full_at = self._state(name, now, span) - interval
        if full_at > now:
            self._full_at[name] = full_at
        else:
            self._full_at.pop(name, None)

    async def forget(self, limit: int) -> int:  # noqa: ARG002
        return 0

    def _times(self, quota: Quota) -> tuple[datetime, timedelta, timedelta]:
        """The current time, the time to refill one attempt, and the time to refill all."""
        # Rounded up: at a third of a second, a microsecond more or less must not allow one more attempt.
        interval = -(-(quota.per // _MICROSECOND) // quota.limit) * _MICROSECOND
        return self._clock(), interval, interval * quota.limit

    def _state(self, name: str, now: datetime, span: timedelta) -> datetime:
        # Never later than for an empty quota: a clock that was set back, or a smaller quota, must not lock out for
        # long.
        return min(max(self._full_at.get(name, now), now), now + span)

    def _sweep(self, now: datetime) -> None:
        """Forget full quotas from time to time, so that names do not accumulate."""
        if len(self._full_at) >= self._sweep_at:
            self._full_at = {name: full_at for name, full_at in self._full_at.items() if full_at > now}
            self._sweep_at = max(_SWEEP_FROM, 2 * len(self._full_at))
