"""Facts that operators count and measure."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec


class Load(msgspec.Struct, frozen=True):
    """The use of places whose number is limited."""

    used: int = 0
    waiting: int = 0
    """Callers that wait for a place."""


class Metrics(Protocol):
    """Takes note of facts, quickly, without waiting and without errors.

    Never an id, an e-mail or an IP address: the facts are published.
    """

    def rate_limited(self, limit: str) -> None:
        """A limit refused an attempt. `limit` is its name, one of a fixed few."""
        ...

    def password_hashed(self, seconds: float) -> None:
        """A password was hashed, in this time. Called from any thread, but never from two at once."""
        ...

    def revocation_waited(self, seconds: float, *, in_time: bool) -> None:
        """An end waited this long for the other workers. `in_time` is False if it waited until the bound."""
        ...


class NoMetrics:
    """Takes note of nothing: for programs that embed ubr, and for tests."""

    def rate_limited(self, limit: str) -> None:
        pass

    def password_hashed(self, seconds: float) -> None:
        pass

    def revocation_waited(self, seconds: float, *, in_time: bool) -> None:
        pass


NO_METRICS: Final[Metrics] = NoMetrics()
