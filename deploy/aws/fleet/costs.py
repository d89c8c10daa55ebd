"""An estimate of the monthly cost of an environment, from its parameters.

The prices are list prices of eu-central-1 in US dollars, without taxes, written down by hand in June 2025 and not
compared with AWS since. Other regions cost up to a third more or less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deploy.aws.fleet.parameters import Parameters

DATE: Final = "June 2025"
_HOURS: Final = 730

_INSTANCES: Final = {"t4g.medium": 0.077, "m8g.large": 0.199}
"""RDS for PostgreSQL, one zone, per hour."""
_NODES: Final = {"cache.t4g.micro": 0.0152, "cache.t4g.small": 0.0304}
"""ElastiCache for Valkey, per hour."""
_CPU, _MEMORY = 0.04656, 0.00511
"""Fargate (x86), per hour, for a processor and a GiB."""


@dataclass(frozen=True, slots=True)
class Cost:
    part: str
    assumption: str
    dollars: float


def monthly(given: Parameters) -> list[Cost]:
    """The parts of the cost, the largest kinds first. Errors: `KeyError` for a size without a price here."""
    service, zones = given.service, given.network.endpoint_zones
    tasks = service.instances * (service.cpu / 1024 * _CPU + service.memory / 1024 * _MEMORY) * _HOURS
    endpoints = 4 if given.mail is None else 5
    nodes = given.cache.replicas + 1
    logs = 10 if given.name == "production" else 2
    return [
        Cost(
            "PostgreSQL", f"two {given.database.instance}, Multi-AZ", 2 * _INSTANCES[given.database.instance] * _HOURS
        ),
        Cost(
            "Storage of PostgreSQL",
            f"{given.database.storage_gib} GiB gp3, mirrored",
            given.database.storage_gib * 0.274,
        ),
        Cost(
            "Tasks",
            f"{service.instances} of {service.cpu / 1024:g} CPU, {service.memory / 1024:g} GiB, no scaling",
            tasks,
        ),
        Cost("Endpoints", f"{endpoints} interfaces in {zones} zones", endpoints * zones * 0.012 * _HOURS),
        Cost("Redis", f"{nodes} of {given.cache.node}", nodes * _NODES[given.cache.node] * _HOURS),
        Cost("Balancer", "one, and one capacity unit", (0.027 + 0.008) * _HOURS),
        Cost("Firewalls", "two lists, eight rules, 10 million requests", 2 * 5 + 8 * 1 + 6),
        Cost("Logs", f"{logs} GiB written, flow logs included", logs * 0.63),
        Cost("Metrics and alarms", "25 metrics, 25 alarms, one dashboard", 25 * 0.30 + 25 * 0.10 + 3),
        Cost("Keys and secrets", "six keys, three secrets", 6 * 1 + 3 * 0.40),
        Cost(
            "Backups",
            f"{given.backup.daily_days + given.backup.copy_days} days, a tenth of the storage in the first one",
            given.database.storage_gib * 0.1 * 2 * 0.095 * 2,
        ),
        Cost("Files", "CloudFront, S3 and images: below the free amounts, or cents", 2),
    ]


def table(*environments: Parameters) -> str:
    """The costs side by side, in Markdown."""
    names = [each.name for each in environments]
    columns = [monthly(each) for each in environments]
    lines = [
        "| part | " + " | ".join(f"{name}: assumption | USD" for name in names) + " |",
        "| --- |" + " --- | --- |" * len(names),
    ]
    for row in zip(*columns, strict=True):
        cells = " | ".join(f"{cost.assumption} | {cost.dollars:.0f}" for cost in row)
        lines.append(f"| {row[0].part} | {cells} |")
    sums = " | ".join(f"an estimate | **{sum(cost.dollars for cost in column):.0f}**" for column in columns)
    lines.append(f"| **a month** | {sums} |")
    return "\n".join(lines)
