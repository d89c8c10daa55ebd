"""Examples of each alert, for promtool: series with which it fires, and those just below."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ubr.entrypoints.http.metrics.objectives import (
    API_AVAILABILITY,
    API_LATENCY,
    API_SECONDS,
    LOGIN,
    LOGIN_AVAILABILITY,
    LOGIN_LATENCY,
    LOGIN_SECONDS,
    OBJECTIVES,
    REVOCATION,
    Objective,
    Severity,
)

Series = tuple[tuple[str, str], ...]
Fires = tuple[tuple[Severity, dict[str, str]], ...]
JOB: Final = {"job": "ubr"}
A: Final = {"job": "ubr", "instance": "a"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An example of an alert: series by the minute, and the severities that fire `at` the end, with their labels."""

    alert: str
    example: str
    series: Series
    at: str
    fires: Fires = ()


# --- objectives -------------------------------------------------------------------------------------------------------

_EVENTS: Final = 1000
"""The events of each minute in the examples of objectives."""

_TICKET: Final[Fires] = (("ticket", JOB),)
_PAGE: Final[Fires] = (("page", JOB), ("ticket", JOB))


def _named(name: str, **labels: object) -> str:
    pairs = ",".join(f'{label}="{value}"' for label, value in {**A, **labels}.items())
    return f"{name}{{{pairs}}}"


def _counters(objective: Objective) -> tuple[str, str, bool]:
    """The counter of good or of all events, that of the failed or of the good ones, and if the latter are the good."""
    route = {"route": "/api/users", "method": "GET"}
    login = {"route": LOGIN, "method": "POST"}
    requests, durations = "ubr_http_requests_total", "ubr_http_request_duration_seconds"
    if objective is API_AVAILABILITY:
        return _named(requests, **route, status=200), _named(requests, **route, status=503), False
    if objective is LOGIN_AVAILABILITY:
        return _named(requests, **login, status=401), _named(requests, **login, status=500), False
    if objective is API_LATENCY:
        return _named(f"{durations}_count", **route), _named(f"{durations}_bucket", **route, le=API_SECONDS), True
    if objective is LOGIN_LATENCY:
        return _named(f"{durations}_count", **login), _named(f"{durations}_bucket", **login, le=LOGIN_SECONDS), True
    return _named("ubr_revocation_wait_seconds_count"), _named("ubr_revocation_bound_reached_total"), False


def _phases(*phases: tuple[int, float]) -> str:
    """A counter that grows by a number each minute, for a number of minutes, one phase after the other."""
    total, parts = 0.0, []
    for minutes, each in phases:
        parts.append(f"{total:g}+{each:g}x{minutes}")
        total += each * (minutes + 1)
    return " ".join(parts)


def _spent(objective: Objective, *phases: tuple[int, float], events: float = _EVENTS) -> Series:
    """Series that spend the budget at a multiple of the allowed speed, for a number of minutes each."""
    every, other, good = _counters(objective)
    failed = [(minutes, factor * objective.budget * events) for minutes, factor in phases]
    if good:
        some = [(minutes, events - count) for minutes, count in failed]
        return (every, _phases(*((minutes, events) for minutes, _ in phases))), (other, _phases(*some))
    if objective is REVOCATION:
        return (every, _phases(*((minutes, events) for minutes, _ in phases))), (other, _phases(*failed))
    some = [(minutes, events - count) for minutes, count in failed]
    return (every, _phases(*some)), (other, _phases(*failed))


def _objective(objective: Objective) -> Iterator[Case]:
    def case(example: str, at: str, *phases: tuple[int, float], fires: Fires = (), events: float = _EVENTS) -> Case:
        series = _spent(objective, *phases, events=events)
        return Case(alert=objective.alert, example=example, series=series, at=at, fires=fires)

    yield case("an hour at 15 times the budget pages", "6h", (298, 0), (62, 15), fires=_PAGE)
    yield case("an hour at 13.8 times does not page", "6h", (298, 0), (62, 13.8), fires=_TICKET)
    yield case("a page ends with its cause", "6h", (268, 0), (61, 40), (30, 0), fires=_TICKET)
    yield case("six hours at 6.3 times the budget page", "6h", (370, 6.3), fires=_PAGE)
    yield case("six hours at 5.7 times are a ticket", "6h", (370, 5.7), fires=_TICKET)
    yield case("six hours at 1.1 times are a ticket too", "6h", (370, 1.1), fires=_TICKET)
    yield case("six hours at 0.9 times are within the budget", "6h", (370, 0.9))
    few = 4 / (60 * 20 * objective.budget)
    yield case("four failures among few events are no trend", "1h", (70, 20), events=few * 0.95)
    yield case("no event at all is no failure", "1h", (70, 0), events=0)


def _spared() -> Iterator[Case]:
    """Answers that are no failure of the service."""
    others = [
        (_named("ubr_http_requests_total", route=route, method="POST", status=status), "0+500x70")
        for route in ("/api/users", LOGIN)
        for status in (400, 401, 403, 404, 409, 422, 429, 499)
    ]
    outside = [
        (_named("ubr_http_requests_total", route=route, method="GET", status=503), "0+500x70")
        for route in ("/health/ready", "/metrics", "unmatched")
    ]
    for alert in (API_AVAILABILITY.alert, LOGIN_AVAILABILITY.alert):
        yield Case(alert=alert, example="refusals and hung-up clients are no failures", series=tuple(others), at="1h")
        yield Case(alert=alert, example="probes and unknown paths do not count", series=tuple(outside), at="1h")
    waits = (
        (_named("ubr_http_request_duration_seconds_count", route="/api/revocations", method="GET"), "0+500x70"),
        (_named("ubr_http_request_duration_seconds_bucket", route="/api/revocations", method="GET", le=0.25), "0x70"),
        (_named("ubr_http_request_duration_seconds_count", route="/api/auth/register", method="POST"), "0+500x70"),
        (
            _named("ubr_http_request_duration_seconds_bucket", route="/api/auth/register", method="POST", le=0.25),
            "0x70",
        ),
    )
    yield Case(alert=API_LATENCY.alert, example="waiting for news and hashing are not slow", series=waits, at="1h")


# --- causes -----------------------------------------------------------------------------------------------------------


def _gauge(alert: str, series: dict[str, str], *, above: float, below: float, at: str, fires: Fires) -> Iterator[Case]:
    """An alert whose gauge fires above and not below. `series` maps the gauge, and others that it needs, to values."""
    for value, firing in ((above, fires), (below, ())):
        filled = tuple((name, values.format(value=f"{value:g}")) for name, values in series.items())
        yield Case(alert=alert, example=f"{value:g}", series=filled, at=at, fires=firing)


def _causes() -> Iterator[Case]:
    one: Fires = (("page", A),)
    ticket: Fires = (("ticket", A),)
    job_ticket: Fires = (("ticket", JOB),)

    down, up = 'up{job="ubr",instance="a"}', 'up{job="ubr",instance="b"}'
    yield Case(alert="UbrDown", example="no target", series=(), at="3m", fires=(("page", JOB),))
    yield Case(
        alert="UbrDown",
        example="no target answers",
        series=((down, "0x5"), (up, "0x5")),
        at="3m",
        fires=(("page", JOB),),
    )
    yield Case(alert="UbrDown", example="one of two answers", series=((down, "0x5"), (up, "1x5")), at="5m")
    yield Case(
        alert="UbrInstanceDown", example="one of two", series=((down, "0x9"), (up, "1x9")), at="6m", fires=ticket
    )
    yield Case(alert="UbrInstanceDown", example="for four minutes", series=((down, "0x3 1x9"), (up, "1x9")), at="6m")
    yield from _gauge(
        "UbrDatabaseUnreadable", {_named("ubr_database_readable"): "{value}x5"}, above=0, below=1, at="3m", fires=one
    )
    yield from _gauge(
        "UbrSessionCacheOld",
        {_named("ubr_session_cache_age_seconds"): "{value}x5", _named("ubr_revocation_bound_seconds"): "1x5"},
        above=1.1,
        below=0.9,
        at="2m",
        fires=one,
    )
    yield from _gauge(
        "UbrRevocationsAtBound",
        {_named("ubr_revocation_bound_reached_total"): "0x5 {value}x20"},
        above=5,
        below=2,
        at="16m",
        fires=job_ticket,
    )
    for alert, name, limit in (
        ("UbrAuditUnsigned", "ubr_audit_oldest_waiting_seconds", 60),
        ("UbrMailsLate", "ubr_mail_oldest_due_seconds", 600),
    ):
        series = {_named(name): "{value}x9"}
        yield from _gauge(alert, series, above=limit + 1, below=limit, at="6m", fires=job_ticket)
    yield from _gauge(
        "UbrMailsDead", {_named("ubr_mails_dead"): "2x60 {value}x60"}, above=3, below=2, at="65m", fires=job_ticket
    )
    yield Case(
        alert="UbrMailsDead", example="an hour later", series=((_named("ubr_mails_dead"), "2x10 3x90"),), at="90m"
    )
    yield from _gauge(
        "UbrHashQueueLong",
        {
            _named("ubr_password_hashes_waiting"): "{value}x9",
            _named("ubr_password_hashes_running"): "2x9",
            _named("ubr_password_hash_duration_seconds_sum"): "0+30x9",
            _named("ubr_password_hash_duration_seconds_count"): "0+600x9",
        },
        above=42,
        below=38,
        at="5m",
        fires=ticket,
    )
    yield from _gauge(
        "UbrConnectionsAwaited",
        {_named("ubr_database_connections_awaited", pool="requests"): "{value}x20"},
        above=1,
        below=0,
        at="7m",
        fires=(("ticket", {**A, "pool": "requests"}),),
    )
    yield Case(
        alert="UbrConnectionsAwaited",
        example="now and then",
        series=((_named("ubr_database_connections_awaited", pool="requests"), "5 5 0 5 5 5 0 5 5 5 0 5 5"),),
        at="12m",
    )
    work = {"background_job": "Sequencer"}
    yield from _gauge(
        "UbrJobFails",
        {_named("ubr_job_failures", **work): "{value}x9"},
        above=3,
        below=2,
        at="6m",
        fires=(("ticket", {**JOB, **work}),),
    )
    yield from _gauge(
        "UbrJobHangs",
        {_named("ubr_job_success_age_seconds", **work): "{value}x9"},
        above=1801,
        below=1800,
        at="6m",
        fires=(("ticket", {**JOB, **work}),),
    )
    yield from _gauge(
        "UbrSigningKeyOld",
        {_named("ubr_signing_key_age_seconds"): "{value}x70"},
        above=366 * 86400,
        below=364 * 86400,
        at="61m",
        fires=job_ticket,
    )
    starts, workers = _named("ubr_start_time_seconds"), _named("ubr_worker_starts_total")
    yield Case(
        alert="UbrRestarts",
        example="the third start",
        series=((starts, "1x5 2x5 3x5 4x5"), (workers, "2x30")),
        at="20m",
        fires=ticket,
    )
    yield Case(alert="UbrRestarts", example="two starts", series=((starts, "1x5 2x5 3x9"), (workers, "2x30")), at="20m")
    yield Case(
        alert="UbrRestarts",
        example="workers start again",
        series=((starts, "1x40"), (workers, "2x10 8x30")),
        at="30m",
        fires=ticket,
    )
    yield Case(
        alert="UbrRestarts", example="one reload of four", series=((starts, "1x40"), (workers, "4x10 8x30")), at="30m"
    )
    yield from _gauge(
        "UbrMemoryHigh",
        {_named("ubr_memory_bytes"): "{value}x15", _named("ubr_memory_limit_bytes"): "1000x15"},
        above=901,
        below=899,
        at="11m",
        fires=ticket,
    )
    versions = [_named("ubr_build_info", version=version, instance=version) for version in ("1.0.0", "1.1.0")]
    yield Case(
        alert="UbrMixedVersions",
        example="for an hour",
        series=tuple((series, "1x70") for series in versions),
        at="61m",
        fires=job_ticket,
    )
    yield Case(
        alert="UbrMixedVersions",
        example="an update that ends",
        series=((versions[0], "1x30"), (versions[1], "_x10 1x70")),
        at="61m",
    )
    requests = {"route": "/api/users", "method": "GET"}
    for example, hung, answered, fires in (
        ("6 %", 6, 94, job_ticket),
        ("4 %", 4, 96, ()),
        ("one a minute", 1, 1, ()),
    ):
        yield Case(
            alert="UbrClientsDisconnect",
            example=example,
            series=(
                (_named("ubr_http_requests_total", **requests, status=499), f"0+{hung}x20"),
                (_named("ubr_http_requests_total", **requests, status=200), f"0+{answered}x20"),
            ),
            at="16m",
            fires=fires,
        )
    yield from _gauge(
        "UbrPasswordsGuessed",
        {_named("ubr_rate_limited_total", limit="account"): "0+{value}x20"},
        above=7,
        below=6,
        at="16m",
        fires=job_ticket,
    )


CASES: Final = (
    *(case for objective in OBJECTIVES for case in _objective(objective)),
    *_spared(),
    *_causes(),
)
