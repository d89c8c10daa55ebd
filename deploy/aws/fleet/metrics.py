"""The metrics of ubr in CloudWatch, and the alarms on them, made from the registry of ubr.

ubr writes its metrics to its log in the embedded metric format, from which CloudWatch makes metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from deploy.aws.fleet.parameters import Parameters
from ubr.entrypoints.http.metrics import registry
from ubr.entrypoints.http.metrics.registry import METRICS, Kind, Metric

NAMESPACE: Final = "ubr"
"""The namespace of every metric of ubr."""


def dimensions(parameters: Parameters) -> dict[str, str]:
    """The dimension that tells one installation from another: the issuer of its tokens, which is its public URL."""
    return {"issuer": f"https://{parameters.names.domain}"}


Statistic = Literal["Average", "Maximum", "Minimum", "Sum"]
Comparison = Literal["above", "below"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A condition on a metric of the registry that a person must look at.

    It holds in `minutes` successive minutes, where `statistic` combines the instances of the fleet.
    """

    name: str
    metric: Metric
    statistic: Statistic
    comparison: Comparison = "above"
    threshold: float
    minutes: int = 5
    missing: Literal["breaching", "notBreaching"] = "notBreaching"
    """What the absence of values means."""


def declared() -> tuple[Alert, ...]:
    """Every alert on a metric of ubr. Further declarations of the registry are added here, and nowhere else."""
    return (
        Alert(
            name="database-unreadable",
            metric=registry.STORE_READABLE,
            statistic="Minimum",
            comparison="below",
            threshold=1,
            minutes=3,
        ),
        Alert(name="session-cache-old", metric=registry.CACHE_AGE, statistic="Maximum", threshold=1, minutes=3),
        Alert(
            name="revocation-bound-reached",
            metric=registry.REVOCATIONS_AT_BOUND,
            statistic="Sum",
            threshold=0,
            minutes=3,
        ),
        Alert(name="audit-unsigned", metric=registry.AUDIT_AGE, statistic="Maximum", threshold=60),
        Alert(name="mail-late", metric=registry.MAIL_AGE, statistic="Maximum", threshold=600),
        Alert(name="mail-dead", metric=registry.MAILS_DEAD, statistic="Maximum", threshold=0),
        Alert(
            name="connections-awaited",
            metric=registry.CONNECTIONS_AWAITED,
            statistic="Maximum",
            threshold=0,
            minutes=10,
        ),
        Alert(name="hashes-waiting", metric=registry.HASHES_WAITING, statistic="Average", threshold=10),
        Alert(name="job-failing", metric=registry.JOB_FAILURES, statistic="Maximum", threshold=2),
        Alert(name="job-hanging", metric=registry.JOB_SUCCESS_AGE, statistic="Maximum", threshold=1800),
        Alert(name="signing-key-old", metric=registry.KEY_AGE, statistic="Maximum", threshold=31_536_000),
        Alert(name="passwords-guessed", metric=registry.RATE_LIMITED, statistic="Sum", threshold=100),
    )


def gauges() -> tuple[Metric, ...]:
    """The metrics of the dashboard that have one value at a time."""
    return tuple(metric for metric in METRICS if metric.kind is Kind.GAUGE and metric is not registry.BUILD)


def counters() -> tuple[Metric, ...]:
    return tuple(metric for metric in METRICS if metric.kind is Kind.COUNTER)


def histograms() -> tuple[Metric, ...]:
    return tuple(metric for metric in METRICS if metric.kind is Kind.HISTOGRAM)
