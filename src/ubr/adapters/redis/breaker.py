"""Circuit breaker: decides when to stop asking a server that does not answer, and when to try again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import NewType

Permit = NewType("Permit", int)
"""Permission for one request. The caller returns it with the outcome."""


class Breaker:
    """Opens after a number of consecutive failures; then one caller at a time may probe the server.

    Times are in seconds. The pause between two probes doubles from `first` to `longest`, each shortened at random by up
    to a half, so that the processes of an installation do not probe all at once.
    """

    def __init__(
        self,
        *,
        failures: int = 5,
        first: float = 0.1,
        longest: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._limit = failures
        self._first = first
        self._longest = longest
        self._clock = clock
        self._dice = dice
        self._failures = 0
        self._pause = first
        self._probe_at: float | None = None
        self._probing = False
        # Incremented when the breaker opens: the outcome of an earlier request says nothing about the present.
        self._era = 0

    def is_open(self) -> bool:
        """True if callers are rejected."""
        return self._probe_at is not None

    def admit(self) -> Permit | None:
        """Permission for a request; None if it is not worthwhile now."""
        if self._probe_at is not None:
            if self._probing or self._clock() < self._probe_at:
                return None
            self._probing = True
        return Permit(self._era)

    def answered(self, permit: Permit) -> bool:
        """Record an answer. Returns True if it closed the breaker."""
        if permit != self._era:
            return False
        was_open = self.is_open()
        self._failures = 0
        self._pause = self._first
        self._probe_at = None
        self._probing = False
        return was_open

    def failed(self, permit: Permit) -> bool:
        """Record a missing answer. Returns True if it opened the breaker, which a failed probe finds open already."""
        if permit != self._era:
            return False
        was_open = self.is_open()
        self._failures += 1
        if not was_open and self._failures < self._limit:
            return False
        self._probe_at = self._clock() + self._pause * (1 - self._dice() / 2)
        self._pause = min(2 * self._pause, self._longest)
        self._probing = False
        self._era += 1
        return not was_open

    def abandoned(self, permit: Permit) -> None:
        """Record a cancelled request. It says nothing about the server.

        If it was the probe, another may replace it.
        """
        if permit == self._era:
            self._probing = False
