"""Sessions: how long they last, and how soon their end is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ubr.settings.declaration import setting
from ubr.settings.values import duration, whole


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    session_idle: timedelta = setting(duration("1m", "3650d"), "14d", "How long a session lasts without use.")
    session_lifetime: timedelta = setting(duration("1m", "3650d"), "90d", "How long a session lasts at most.")
    sessions_per_user: int = setting(
        whole(1, 10000), "50", "How many sessions one user may have; one more ends the one longest unused."
    )
    revocation_poll: timedelta = setting(
        duration("10ms", "5s"), "250ms", "How often each worker asks the database what has been revoked."
    )
    revocation_bound: timedelta = setting(
        duration("100ms", "10s"), "1s", "The longest that a revocation waits for a worker that does not answer."
    )
