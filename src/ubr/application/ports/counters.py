"""Counting tries, one count for all workers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """So many tries in a span of time, refilled evenly: after a full burst one more is allowed every `per / limit`."""

    limit: int
    per: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a try is allowed, how many more would be, and in how long the next one is (0 where one is at once)."""

    allowed: bool
    remaining: int
    retry_after: timedelta


class Counters(Protocol):
    async def take(self, name: str, quota: Quota) -> Verdict:
        """Take one try of what is counted under this name, in one step: of any number of takers at once exactly as
        many are allowed as the quota has. A refused try takes nothing. Names never run into one another.

        Errors: `StoreUnavailable`: it is not known. The caller counts elsewhere then, and never lets everyone in.
        """
        ...

    async def give_back(self, name: str, quota: Quota) -> None:
        """Return a try that turned out not to count. One that was never taken leaves a full quota full."""
        ...

    async def forget(self, limit: int) -> int:
        """Delete at most `limit` of what is kept of full quotas, where it does not go by itself. The number deleted."""
        ...
