"""When to stop asking a server that does not answer, and when to try again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import NewType

Permit = NewType("Permit", int)
"""Leave to ask once. It is to be handed back with what came of it."""


class Breaker:
    """Opens after so many failures in a row; then one caller at a time may find out whether the server is back.

    Times are in seconds. The pause between two probes doubles from `first` to `longest`, each shortened at random by
    up to a half, so that the processes of an installation do not knock all at once.
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
        # Raised when the breaker opens: what comes of a question asked before that says nothing about now.
        self._era = 0

    def is_open(self) -> bool:
        """Whether callers are turned away."""
        return self._probe_at is not None

    def admit(self) -> Permit | None:
        """Leave to ask; None where it is not worth it now."""
        if self._probe_at is not None:
            if self._probing or self._clock() < self._probe_at:
                return None
            self._probing = True
        return Permit(self._era)

    def answered(self, permit: Permit) -> bool:
        """The server answered. Whether that closed the breaker."""
        if permit != self._era:
            return False
        was_open = self.is_open()
        self._failures = 0
        self._pause = self._first
        self._probe_at = None
        self._probing = False
        return was_open

    def failed(self, permit: Permit) -> bool:
        """The server did not answer. Whether that opened the breaker, which a probe finds open already."""
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
        """Nobody waited for the answer, so nothing is known; where this was the probe, another may take its place."""
        if permit == self._era:
            self._probing = False
