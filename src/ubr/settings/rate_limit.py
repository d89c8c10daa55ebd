"""Rate limits."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from typing import Final

import msgspec

_PERIODS: Final = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}


class Limit(msgspec.Struct, frozen=True):
    """A number of attempts per period."""

    count: int
    per: timedelta

    def __str__(self) -> str:
        return f"{self.count}/{next(name for name, seconds in _PERIODS.items() if seconds == self.per)}"


class LoginRateLimit(msgspec.Struct, frozen=True):
    """The limits of failed logins per account and per client IP. None means without limit."""

    per_account: Limit | None
    per_ip: Limit | None

    def __str__(self) -> str:
        if self == LoginRateLimit(None, None):
            return "off"
        return f"{self.per_account or 'off'},{self.per_ip or 'off'}"


class RateLimit(msgspec.Struct, frozen=True):
    """One limit, or none (`off`)."""

    limit: Limit | None

    def __str__(self) -> str:
        return "off" if self.limit is None else str(self.limit)


def parse_rate_limit(raw: str) -> RateLimit:
    try:
        return RateLimit(_limit(raw))
    except ValueError:
        raise ValueError("must be off, or a limit such as 60/hour (per second, minute, hour or day)") from None


def _limit(raw: str) -> Limit | None:
    if raw == "off":
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,5})/(second|minute|hour|day)", raw)
    if found is None:
        raise ValueError
    return Limit(int(found[1]), _PERIODS[found[2]])


def parse_login_rate_limit(raw: str) -> LoginRateLimit:
    if raw == "off":
        return LoginRateLimit(None, None)
    with suppress(ValueError):
        limits = [_limit(part.strip()) for part in raw.split(",")]
        if len(limits) == 2:  # noqa: PLR2004 - the account and the client IP
            return LoginRateLimit(*limits)
    raise ValueError(
        "must be off, or two limits, failures per account and per client IP, such as 10/minute,100/minute "
        "(per second, minute, hour or day)"
    )
