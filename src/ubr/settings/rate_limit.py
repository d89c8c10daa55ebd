"""The limits of failed logins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

_PERIODS: Final = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of attempts per period."""

    count: int
    per: timedelta

    def __str__(self) -> str:
        return f"{self.count}/{next(name for name, seconds in _PERIODS.items() if seconds == self.per)}"


@dataclass(frozen=True, slots=True)
class LoginRateLimit:
    """The limits of failed logins per account and per client IP. None means without limit."""

    per_account: Limit | None
    per_ip: Limit | None

    def __str__(self) -> str:
        if self == LoginRateLimit(None, None):
            return "off"
        return f"{self.per_account or 'off'},{self.per_ip or 'off'}"


def parse_login_rate_limit(raw: str) -> LoginRateLimit:
    if raw == "off":
        return LoginRateLimit(None, None)
    limits: list[Limit | None] = []
    for part in raw.split(","):
        found = re.fullmatch(r"([1-9][0-9]{0,5})/(second|minute|hour|day)", part.strip())
        if found is None and part.strip() != "off":
            break
        limits.append(Limit(int(found[1]), _PERIODS[found[2]]) if found else None)
    else:
        if len(limits) == 2:  # noqa: PLR2004 - the account and the client IP
            return LoginRateLimit(*limits)
    raise ValueError(
        "must be off, or two limits, failures per account and per client IP, such as 10/minute,100/minute "
        "(per second, minute, hour or day)"
    )
