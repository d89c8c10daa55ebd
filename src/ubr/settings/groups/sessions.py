"""Sessions: their lifetimes, and the propagation of their end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ubr.settings.declaration import setting
from ubr.settings.values import duration, whole


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class SessionSettings:
    """The settings of sessions."""

    session_idle: timedelta = setting(duration("1m", "3650d"), "14d", "The lifetime of an unused session.")
    session_lifetime: timedelta = setting(duration("1m", "3650d"), "90d", "The maximum lifetime of a session.")
    refresh_retry_window: timedelta = setting(
        duration("10s", "1h"),
        "2m",
        "How long a spent refresh token yields another successor, while the first one is unused. `10s` turns this off.",
    )
    sessions_per_user: int = setting(
        whole(1, 10000), "50", "Maximum number of sessions per user; a further login ends the least recently used one."
    )
    verifiers_per_user: int = setting(
        whole(1, 10000), "50", "Maximum number of verifiers per user. Each end of a session waits for all of them."
    )
    revocation_poll: timedelta = setting(
        duration("10ms", "5s"), "250ms", "The interval at which each worker polls the database for revocations."
    )
    revocation_bound: timedelta = setting(
        duration("100ms", "10s"), "1s", "The maximum time that a revocation waits for an unresponsive worker."
    )
