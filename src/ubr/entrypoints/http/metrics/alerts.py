"""The alerts: of each objective, and of the causes that operators can mend. They are data for Prometheus."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from ubr.entrypoints.http.metrics.objectives import BURNS, OBJECTIVES, Objective, Severity
from ubr.entrypoints.http.metrics.registry import (
    AUDIT_AGE,
    BUILD,
    CACHE_AGE,
    CONNECTIONS_AWAITED,
    HASH_DURATION,
    HASHES_RUNNING,
    HASHES_WAITING,
    HUNG_UP,
    JOB_FAILURES,
    JOB_SUCCESS_AGE,
    JOBS,
    KEY_AGE,
    MAIL_AGE,
    MAILS_DEAD,
    MEMORY,
    MEMORY_LIMIT,
    RATE_LIMITED,
    REQUESTS,
    REVOCATION_BOUND,
    REVOCATIONS_AT_BOUND,
    START_TIME,
    STORE_READABLE,
    WORKER_STARTS,
)

JOB: Final = "ubr"
"""The name of the scrape job in Prometheus."""

Kind = Literal["symptom", "cause"]
"""A symptom is noticed by users. A cause explains symptoms, so its page silences those of its job."""

_DAY: Final = 24 * 60 * 60
_JOB_LABEL: Final = JOBS.name


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A rule for Prometheus. `expr` is PromQL, `lasting` the time for which it has to be true."""

    name: str
    severity: Severity
    kind: Kind
    expr: str
    summary: str
    meaning: str
    lasting: str = "0m"
    slo: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    """Labels that the result of `expr` does not have."""

    @property
    def runbook(self) -> str:
        """The file with the instructions, in this repository."""
        return f"docs/runbooks/{self.name}.md"


def _burns(objective: Objective, severity: Severity) -> Alert:
    conditions = [burn.condition(objective) for burn in BURNS if burn.severity == severity]
    speed = "fast" if severity == "page" else "slowly"
    return Alert(
        name=objective.alert,
        severity=severity,
        kind="symptom",
        slo=objective.name,
        expr="\nor\n".join(conditions),
        summary=f"The error budget of the objective “{objective.title}” is being spent {speed}",
        meaning=f"{objective.target:.1%} are promised: {objective.meaning}",
    )


SYMPTOMS: Final = tuple(_burns(objective, severity) for objective in OBJECTIVES for severity in ("page", "ticket"))

CAUSES: Final = (
    Alert(
        name="UbrDown",
        severity="page",
        kind="cause",
        expr=f'absent(up{{job="{JOB}"}} == 1)',
        lasting="2m",
        labels=(("job", JOB),),
        summary="No instance of ubr answers Prometheus",
        meaning="Every scrape fails, or no target is known.",
    ),
    Alert(
        name="UbrInstanceDown",
        severity="ticket",
        kind="cause",
        expr=f'up{{job="{JOB}"}} == 0',
        lasting="5m",
        summary="An instance of ubr does not answer Prometheus",
        meaning="Its scrapes fail: it does not run, is not reachable, or refuses the token.",
    ),
    Alert(
        name="UbrDatabaseUnreadable",
        severity="page",
        kind="cause",
        expr=f"{STORE_READABLE.name} == 0",
        lasting="2m",
        summary="An instance of ubr cannot read its database",
        meaning="The database did not answer any scrape within a second.",
    ),
    Alert(
        name="UbrSessionCacheOld",
        severity="page",
        kind="cause",
        expr=f"{CACHE_AGE.name} > {REVOCATION_BOUND.name}",
        lasting="1m",
        summary="A worker of ubr cannot read the change feed",
        meaning="Its session cache is older than `UBR_REVOCATION_BOUND`, so its requests wait.",
    ),
    Alert(
        name="UbrRevocationsAtBound",
        severity="ticket",
        kind="cause",
        expr=f"sum by (job) (increase({REVOCATIONS_AT_BOUND.name}[15m])) > 3",
        summary="Revocations wait for the whole bound",
        meaning="A worker or a verifier does not acknowledge, and every logout waits for it.",
    ),
    Alert(
        name="UbrAuditUnsigned",
        severity="ticket",
        kind="cause",
        expr=f"max by (job) ({AUDIT_AGE.name}) > 60",
        lasting="5m",
        summary="Audit log entries are not signed",
        meaning="The oldest unsigned entry is older than a minute; entries are normally signed twice a second.",
    ),
    Alert(
        name="UbrMailsLate",
        severity="ticket",
        kind="cause",
        expr=f"max by (job) ({MAIL_AGE.name}) > 600",
        lasting="5m",
        summary="Mails are not sent in time",
        meaning="A mail has been due for ten minutes, and no instance has tried to send it.",
    ),
    Alert(
        name="UbrMailsDead",
        severity="ticket",
        kind="cause",
        expr=f"max by (job) ({MAILS_DEAD.name} - min_over_time({MAILS_DEAD.name}[1h])) > 0",
        summary="Mails were given up",
        meaning="Every attempt to send a mail has failed, within the last hour.",
    ),
    Alert(
        name="UbrHashQueueLong",
        severity="ticket",
        kind="cause",
        expr=f"{HASHES_WAITING.name} / clamp_min({HASHES_RUNNING.name}, 1)\n"
        f"  * rate({HASH_DURATION.name}_sum[5m]) / rate({HASH_DURATION.name}_count[5m])\n"
        "> 1",
        lasting="2m",
        summary="Passwords wait to be hashed for more than a second",
        meaning="Logins take all the processors they may use.",
    ),
    Alert(
        name="UbrConnectionsAwaited",
        severity="ticket",
        kind="cause",
        expr=f"sum by (job, instance, pool) (min_over_time({CONNECTIONS_AWAITED.name}[5m])) > 0",
        lasting="1m",
        summary="Units of work wait for database connections all the time",
        meaning="`UBR_POOL_SIZE` is too small, or the database is slow.",
    ),
    Alert(
        name="UbrJobFails",
        severity="ticket",
        kind="cause",
        expr=f"max by (job, {_JOB_LABEL}) ({JOB_FAILURES.name}) > 2",
        lasting="5m",
        summary="A background job fails again and again",
        meaning="It has failed more than twice in a row. The log has the error.",
    ),
    Alert(
        name="UbrJobHangs",
        severity="ticket",
        kind="cause",
        expr=f"max by (job, {_JOB_LABEL}) ({JOB_SUCCESS_AGE.name}) > 1800",
        lasting="5m",
        summary="A background job has not succeeded for half an hour",
        meaning="Every job succeeds at least once a minute. This one hangs, fails, or its worker is frozen.",
    ),
    Alert(
        name="UbrSigningKeyOld",
        severity="ticket",
        kind="cause",
        expr=f"max by (job) ({KEY_AGE.name}) > {365 * _DAY}",
        lasting="1h",
        summary="The signing key is older than a year",
        meaning="ubr does not rotate signing keys by itself.",
    ),
    Alert(
        name="UbrRestarts",
        severity="ticket",
        kind="cause",
        expr=f"(\n  changes({START_TIME.name}[30m]) > 2\n  or increase({WORKER_STARTS.name}[30m]) > 5\n)",
        summary="An instance of ubr, or its workers, start again and again",
        meaning="The service started more than twice, or more than five workers did, within half an hour.",
    ),
    Alert(
        name="UbrMemoryHigh",
        severity="ticket",
        kind="cause",
        expr=f"{MEMORY.name} / {MEMORY_LIMIT.name} > 0.9",
        lasting="10m",
        summary="An instance of ubr uses more than 90 % of the memory it may have",
        meaning="At the limit, the kernel kills a worker.",
    ),
    Alert(
        name="UbrMixedVersions",
        severity="ticket",
        kind="cause",
        expr=f"count by (job) (count by (job, version) ({BUILD.name})) > 1",
        lasting="1h",
        summary="Instances of different versions run together",
        meaning="A rolling update has not ended within an hour.",
    ),
    Alert(
        name="UbrClientsDisconnect",
        severity="ticket",
        kind="symptom",
        expr=f'sum by (job) (increase({REQUESTS.name}{{status="{HUNG_UP}"}}[15m])) > 20\n'
        f'and sum by (job) (rate({REQUESTS.name}{{status="{HUNG_UP}"}}[15m]))\n'
        f"  / sum by (job) (rate({REQUESTS.name}[15m])) > 0.05",
        summary="More than 5 % of the requests are given up by their clients",
        meaning="They do not count for any objective, so this is the only sign of clients that do not wait.",
    ),
    Alert(
        name="UbrPasswordsGuessed",
        severity="ticket",
        kind="cause",
        expr=f'sum by (job) (increase({RATE_LIMITED.name}{{limit=~"account|login-ip"}}[15m])) > 100',
        summary="Many wrong passwords are refused",
        meaning="A person or a program guesses passwords, or a proxy is missing in `UBR_TRUSTED_PROXIES`.",
    ),
)

ALERTS: Final = (*SYMPTOMS, *CAUSES)
