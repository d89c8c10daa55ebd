"""The service level objectives, and the alerts about their error budgets.

Source of the alerts: Google, The Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from ubr.entrypoints.http.metrics.registry import (
    HUNG_UP,
    REQUEST_DURATION,
    REQUESTS,
    REVOCATION_WAIT,
    REVOCATIONS_AT_BOUND,
)

Severity = Literal["page", "ticket"]
"""`page` needs a person now, `ticket` within days."""

PERIOD_DAYS: Final = 30
"""The period of every objective."""

MIN_FAILURES: Final = 5
"""Fewer failures within the long window of an alert do not start it: one of ten requests is not a trend."""

LOGIN: Final = "/api/auth/login"
HASHING: Final = (
    LOGIN,
    "/api/auth/email",
    "/api/auth/email/verify",
    "/api/auth/password",
    "/api/auth/password/reset",
    "/api/auth/register",
)
"""The routes of which most requests hash a password, which takes longer than all else."""
FEED: Final = "/api/revocations"
"""A request waits for news as long as its client asks for."""

_API: Final = "/api/.+"
_BAD: Final = "5.."


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """A share of good events, in 30 days. `failed` and `all` are counters as PromQL selects them.

    The failed events are `failed`, or with `good` the difference of `all` and `good`.
    """

    name: str
    """In the names of the recording rules, and the value of the label `slo`."""
    alert: str
    title: str
    target: float
    meaning: str
    all: str
    failed: str | None = None
    good: str | None = None

    @property
    def budget(self) -> float:
        """The share of events that may fail."""
        return round(1 - self.target, 6)

    def failures(self, window: str, function: Literal["rate", "increase"] = "rate") -> str:
        """PromQL: the failed events of a job; 0 if none has failed yet."""
        if self.good is not None:
            good = f"sum by (job) ({function}({self.good}[{window}]))"
            return f"sum by (job) ({function}({self.all}[{window}]))\n  - {good}"
        # A counter with labels appears with its first event.
        none = f"0 * sum by (job) ({function}({self.all}[{window}]))"
        return f"sum by (job) ({function}({self.failed}[{window}]))\n  or {none}"

    def ratio(self, window: str) -> str:
        """PromQL: the share of failed events of a job. NaN without any event, which is not greater than any number."""
        return f"(\n  {self.failures(window)}\n)\n/ sum by (job) (rate({self.all}[{window}]))"

    def ratio_record(self, window: str) -> str:
        """The name of the recording rule for `ratio`."""
        return f"job:ubr_{self.name}_failures:ratio_rate{window}"

    def count_record(self, window: str) -> str:
        """The name of the recording rule for the number of failures."""
        return f"job:ubr_{self.name}_failures:increase{window}"


def _requests(matchers: str) -> str:
    return f"{REQUESTS.name}{{{matchers}}}"


def _durations(suffix: str, matchers: str) -> str:
    return f"{REQUEST_DURATION.name}{suffix}{{{matchers}}}"


_LOGINS: Final = f'route="{LOGIN}",status!="{HUNG_UP}"'
_CALLS: Final = f'route=~"{_API}",route!="{LOGIN}",status!="{HUNG_UP}"'
_QUICK: Final = f'route=~"{_API}",route!~"{"|".join((*HASHING, FEED))}"'

API_SECONDS: Final = 0.25
LOGIN_SECONDS: Final = 0.5
"""Both are bounds of buckets, and not whole numbers: Prometheus 3 writes the bound 1 as `1.0`, Prometheus 2 as `1`."""

API_AVAILABILITY: Final = Objective(
    name="api_availability",
    alert="UbrApiFails",
    title="API availability",
    target=0.999,
    meaning="Requests to the API, without logins, that are not answered with a status of 500 or more.",
    failed=_requests(f'{_CALLS},status=~"{_BAD}"'),
    all=_requests(_CALLS),
)
API_LATENCY: Final = Objective(
    name="api_latency",
    alert="UbrApiSlow",
    title="API latency",
    target=0.99,
    meaning=f"Requests to the API that are answered within {API_SECONDS} s, without those that hash a password and "
    "those that wait for revocations.",
    good=_durations("_bucket", f'{_QUICK},le="{API_SECONDS}"'),
    all=_durations("_count", _QUICK),
)
LOGIN_AVAILABILITY: Final = Objective(
    name="login_availability",
    alert="UbrLoginFails",
    title="Login availability",
    target=0.999,
    meaning="Logins that are not answered with a status of 500 or more; a wrong password is not a failure.",
    failed=_requests(f'{_LOGINS},status=~"{_BAD}"'),
    all=_requests(_LOGINS),
)
LOGIN_LATENCY: Final = Objective(
    name="login_latency",
    alert="UbrLoginSlow",
    title="Login latency",
    target=0.99,
    meaning=f"Logins that are answered within {LOGIN_SECONDS} s, the wait for the hashing included.",
    good=_durations("_bucket", f'route="{LOGIN}",le="{LOGIN_SECONDS}"'),
    all=_durations("_count", f'route="{LOGIN}"'),
)
REVOCATION: Final = Objective(
    name="revocation",
    alert="UbrRevocationLate",
    title="Revocation",
    target=0.999,
    meaning="Revocations that every worker and every verifier acknowledges before `UBR_REVOCATION_BOUND`.",
    failed=REVOCATIONS_AT_BOUND.name,
    all=f"{REVOCATION_WAIT.name}_count",
)
OBJECTIVES: Final = (API_AVAILABILITY, API_LATENCY, LOGIN_AVAILABILITY, LOGIN_LATENCY, REVOCATION)


class Burn(msgspec.Struct, frozen=True, kw_only=True):
    """Budget is spent `factor` times as fast as the objective allows, in a long window and still in a short one."""

    severity: Severity
    long: str
    short: str
    factor: float

    def condition(self, objective: Objective) -> str:
        """PromQL: true for a job that spends the budget of an objective so fast."""
        limit = f"{self.factor:g} * {objective.budget:g}"
        return (
            f"(\n  {objective.ratio_record(self.long)} > {limit}\n"
            f"  and {objective.ratio_record(self.short)} > {limit}\n"
            f"  and {objective.count_record(self.long)} >= {MIN_FAILURES}\n)"
        )


BURNS: Final = (
    Burn(severity="page", long="1h", short="5m", factor=14.4),
    Burn(severity="page", long="6h", short="30m", factor=6),
    Burn(severity="ticket", long="1d", short="2h", factor=3),
    Burn(severity="ticket", long="3d", short="6h", factor=1),
)
"""At these factors, 2 % of the budget of 30 days are spent within an hour, 5 % within 6, 10 % within 1 or 3 days."""

LONG_WINDOWS: Final = tuple(burn.long for burn in BURNS)
WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
